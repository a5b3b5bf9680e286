"""NT402: answers to masqueraded flows look like packets that are untracked."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import TCP, UDP, ports
from notrack.lint.finding import Fault
from notrack.lint.owners import is_generated
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.translations import Conflict
from notrack.lint.view import View
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Nat
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        groups: dict[Span, list[Conflict]] = {}
        for found in view.translations.collisions:
            if (span := _place(found)) is not None:
                groups.setdefault(span, []).append(found)
        for span, group in groups.items():
            yield _fault(view, span, group)


def _place(found: Conflict) -> Span | None:
    """The rule that must change: the one that translates, unless a program wrote it."""
    visit = found.translator
    foreign = is_generated(visit.table, visit.chain)
    rule = found.untracking.visit.rule if foreign else visit.rule
    return rule.origin.span


def _fault(view: View, span: Span, group: list[Conflict]) -> Fault:
    first = group[0]
    related = {one.untracking.visit.rule.origin.span for one in group} - {None, span}
    taken = IntervalSet.of(span for one in group for span in _local(one))
    return Fault(
        span,
        "a flow that is translated here may get a port whose packets are untracked: its answers are never "
        "translated back, and the connection hangs now and then",
        _help(view, taken),
        related=tuple(
            Related(place, "takes such answers out of tracking")
            for place in sorted((one for one in related if one is not None), key=lambda one: one.start)
        ),
        witness=first.packets.witness(),
        notes=_notes(view, group),
    )


def _local(one: Conflict) -> IntervalSet:
    """The ports of this host that answers come to."""
    return ports(one.packets, Field.DESTINATION_PORT, TCP) | ports(one.packets, Field.DESTINATION_PORT, UDP)


def _help(view: View, taken: IntervalSet) -> str:
    free = IntervalSet(((1024, 65535),)) - taken
    if not free or free.size() < 4096:
        own = view.host.ephemeral
        low, high = own.widest() if own else (32768, 60999)
        return (
            f"let untracked answers ask for the ports of own connections (`--dport {low}:{high}`), and give "
            "translated flows others: `-p tcp -j MASQUERADE --to-ports 1024-32767`, the same for udp"
        )
    low, high = free.widest()
    return (
        f"give translated flows ports that nothing untracks: `-p tcp ... --to-ports {low}-{high}` (nft: "
        f"`masquerade to :{low}-{high}`), and the same for udp, before a rule for the other protocols"
    )


def _notes(view: View, group: list[Conflict]) -> tuple[str, ...]:
    if view.host.interfaces is not None or any(_is_told(one) for one in group):
        return ()
    if all(one.packets.project(Field.DESTINATION).size() <= 16 for one in group):
        return ("that the address of the untracked service is the one that translated flows get",)
    return ()


def _is_told(one: Conflict) -> bool:
    """Whether a rule names the address that it gives."""
    return any(isinstance(action, Nat) and action.addresses for action in one.translator.rule.actions)


RULE = Rule(
    code="NT402",
    name="masquerade-reply-collision",
    severity=Severity.ERROR,
    summary="answers to translated flows look like packets that are untracked",
    what="""
        Finds rules that translate the source of forwarded flows (MASQUERADE, SNAT) to ports whose packets
        another rule untracks: the port of an untracked service, or answers to the host's own untracked
        questions.
    """,
    why="""
        A masquerade keeps the client's source port where it can. With an untracked service on port 8080 of
        the gateway, a client that happens to use source port 8080 gets no answer: it comes back to port 8080
        of the gateway, is untracked and never translated back. Everybody else is served, so the fault looks
        random. Where the gateway's own questions to name servers are untracked by `--sport 53`, every
        question of the network behind it dies.
    """,
    limits="""
        A source port below 1024 is given only to a flow that comes from one: those that both ends of a
        protocol use (UDP 53, 123, 500) count, others do not. Where the address of the translation is not
        known, an untracked service of a public address is taken to be there, and one of a private address
        is not.
    """,
    mending="""
        There is no automatic fix: the rule becomes three, with `--to-ports` for tcp and udp, and which range
        is free is for the operator to say. The help names one.
    """,
    check=check,
    bad=(
        Example(
            "a service of the gateway itself",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp --sport 8080 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 192.168.1.0/24 -o eth0 -j MASQUERADE  ### NT402
            COMMIT
            """,
        ),
        Example(
            "the gateway's own questions to a name server",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -s 9.9.9.9/32 -p udp --sport 53 -j CT --notrack
            -A OUTPUT -d 9.9.9.9/32 -p udp --dport 53 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j SNAT --to-source 198.51.100.1  ### NT402
            COMMIT
            """,
        ),
        Example(
            "nft: a name server on the gateway, and name servers behind it that ask from port 53",
            """
            table ip gate {
              chain raw {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 fib daddr type local notrack
              }
              chain rawout {
                type filter hook output priority raw; policy accept;
                udp sport 53 notrack
              }
              chain post {
                type nat hook postrouting priority srcnat; policy accept;
                oifname "eth0" masquerade  ### NT402
              }
            }
            """,
        ),
        Example(
            "IPv6",
            {
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p udp --dport 4789 -j CT --notrack
                -A OUTPUT -p udp --dport 4789 -j CT --notrack
                -A PREROUTING -p udp --dport 51820 -m addrtype --dst-type LOCAL -j CT --notrack
                -A OUTPUT -p udp --sport 51820 -j CT --notrack
                COMMIT
                *nat
                :POSTROUTING ACCEPT [0:0]
                -A POSTROUTING -s fd00:5::/64 -o eth0 -j MASQUERADE  ### NT402
                COMMIT
                """
            },
        ),
    ),
    good=(
        Example(
            "the ports are kept apart",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp --sport 8080 -j CT --notrack
            -A PREROUTING -s 9.9.9.9/32 -p udp --sport 53 --dport 32768:60999 -j CT --notrack
            -A OUTPUT -d 9.9.9.9/32 -p udp --dport 53 --sport 32768:60999 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -p tcp -j MASQUERADE --to-ports 10000-32767
            -A POSTROUTING -o eth0 -p udp -j MASQUERADE --to-ports 1024-32767
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "low TCP ports, which no client has by itself",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 80,443 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp -m multiport --sports 80,443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 192.168.1.0/24 -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "another interface, another address",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i eth1 -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -o eth1 -p tcp --sport 8080 -j CT --notrack
            -A PREROUTING -d 198.51.100.9/32 -p tcp --dport 9000 -j CT --notrack
            -A OUTPUT -s 198.51.100.9/32 -p tcp --sport 9000 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 192.168.1.0/24 -o eth0 -j SNAT --to-source 198.51.100.1
            COMMIT
            """,
        ),
        Example(
            "a name server beside containers, which ask from high ports",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "the host forwards nothing",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 8080 -j CT --notrack
            -A OUTPUT -p tcp --sport 8080 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
            host='{"forwards_ipv4": false}',
        ),
    ),
)
