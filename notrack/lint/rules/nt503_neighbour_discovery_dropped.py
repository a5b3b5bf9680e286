"""NT503: IPv6 neighbour discovery is dropped, and with it everything else."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Edit, Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import causes
from notrack.lint.stopping import Decision, stopping
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import PORT_PROTOCOLS, Field, Fragment
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.text.diagnostic import Severity

_NEEDED = (135, 136)  # without these no neighbour is found; 133 and 134 only where routers configure the host
_NAMES = {135: "solicitations", 136: "advertisements"}
_KINDS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert"
_WAYS = ((Way.LOCAL_IN, "come in"), (Way.LOCAL_OUT, "leave"))


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.family is Family.IPV6 and subject.host.addresses(Family.IPV6) != IntervalSet():
            for way, word in _WAYS:
                yield from _lost(subject, view, way, word)


def _lost(subject: Subject, view: View, way: Way, word: str) -> Iterator[Fault]:
    kinds = [kind for kind in _NEEDED if not _passes(view, way, kind)]
    if not kinds or not _in_use(view, way):
        return
    witness = _discovery(view, way, kinds[0]).witness()
    decision = stopping(view, way, witness) if witness is not None else None
    if decision is None or decision.span is None:
        return
    names = " and ".join(_NAMES[kind] for kind in kinds)
    yield Fault(
        decision.span,
        f"neighbour {names} cannot {word}: without them no IPv6 packet finds its way",
        _help(decision),
        witness=witness,
        fix=_fix(subject, decision),
        causes=causes(subject, _discovery(view, way, kinds[0])),
    )


def _fix(subject: Subject, decision: Decision) -> Fix | None:
    """The rules put in front of what stops the messages, or at the end of the chain whose policy does."""
    from notrack.lint.mending import Wording, appended, before, find

    step = decision.step
    if " " in step.table.name:
        lines = [Wording(None, f"icmpv6 type {{ {_KINDS} }} accept")]
    else:
        lines = [Wording(f"-p ipv6-icmp --icmpv6-type {kind} -j ACCEPT", None) for kind in range(133, 137)]
    made: list[Edit] = []
    for line in lines:
        edits = None
        if decision.rule is None:
            edits = appended(subject.documents, step.table, step.chain, line)
        elif (written := find(subject.documents, decision.rule)) is not None:
            body = written.body.instead(line)
            edits = before(written, body) if body is not None else None
        if not edits:
            return None
        made += edits
    return Fix("let neighbour discovery through", tuple(made))


def _discovery(view: View, way: Way, kind: int) -> PacketSet:
    space = view.model.space
    cube = {
        Field.PROTOCOL: IntervalSet.single(58),
        Field.ICMP_TYPE: IntervalSet.single(kind),
        Field.ICMP_CODE: IntervalSet.single(0),
        Field.TTL: IntervalSet.single(255),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
    }
    return PacketSet(space, space.cube(cube)) & view.passage(way).packets


def _passes(view: View, way: Way, kind: int) -> bool:
    """Whether any such message gets through, or may."""
    return bool(view.passage(way).accepted(_discovery(view, way, kind)))


def _in_use(view: View, way: Way) -> bool:
    """Whether anything else of IPv6 gets through, or may: a host that lets nothing in wants none of it."""
    space = view.model.space
    return bool(view.passage(way).accepted(PacketSet(space, space.among(Field.PROTOCOL, PORT_PROTOCOLS))))


def _help(decision: Decision) -> str:
    if " " in decision.step.table.name:
        return f"accept it first, whatever its state: `icmpv6 type {{ {_KINDS} }} accept`"
    line = f"-A {decision.step.chain.name} -p ipv6-icmp --icmpv6-type 135 -j ACCEPT"
    return f"accept it first, whatever its state: `{line}`, and the same for 136, 133 and 134"


RULE = Rule(
    code="NT503",
    name="neighbour-discovery-dropped",
    severity=Severity.ERROR,
    summary="IPv6 neighbour discovery does not get through",
    what="""
        Finds what stops neighbour solicitations or advertisements (ICMPv6 types 135 and 136) on their way
        to the host, or from it, where other IPv6 traffic is let through.
    """,
    why="""
        What ARP is to IPv4, neighbour discovery is to IPv6, and it passes the firewall. Its messages are
        UNTRACKED without any NOTRACK rule: neither NEW nor ESTABLISHED nor RELATED lets them in. If they
        are dropped, the host cannot be reached as soon as its neighbours' tables forget it, which takes
        seconds.
    """,
    limits="""
        Silent where some of these messages get through: from link-local addresses, on one interface, by a
        rate. Router messages (133, 134) are not asked for, since many hosts have fixed addresses. A table
        that lets no IPv6 in at all is taken for a host without IPv6, and so is a host whose facts name no
        address of it.
    """,
    mending="""
        The fix lets the four kinds of discovery messages through, in front of the rule that stops them or
        at the end of the chain whose policy does. It is safe: nothing else changes.
    """,
    check=check,
    yields_to=("NT306", "NT603", "NT604"),
    bad=(
        Example(
            "a drop policy and states alone",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]  ### NT503
                :OUTPUT ACCEPT [0:0]
                -A INPUT -i lo -j ACCEPT
                -A INPUT -m conntrack --ctstate NEW,RELATED,ESTABLISHED -p ipv6-icmp -j ACCEPT
                -A INPUT -p tcp --dport 22 -j ACCEPT
                COMMIT
                """
            },
        ),
        Example(
            "one table for both families, with ICMP of IPv4 in mind; nothing may leave",
            """
            table inet t {
              chain input {
                type filter hook input priority filter; policy drop;
                ct state established,related accept
                meta l4proto icmp accept
                icmpv6 type { echo-request, packet-too-big } accept
                tcp dport 22 accept
                reject  ### NT503
              }
              chain output {  ### NT503
                type filter hook output priority filter; policy drop;
                ct state established,related,new accept
              }
            }
            """,
        ),
        Example(
            "a script that sets the policy",
            """
            #!/bin/sh
            for ipt in iptables ip6tables; do
              $ipt -P INPUT DROP  ### NT503
              $ipt -A INPUT -i lo -j ACCEPT
              $ipt -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
              $ipt -A INPUT -p tcp --dport 22 -j ACCEPT
            done
            """,
        ),
        Example(
            "advertisements were forgotten",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]  ### NT503
                -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
                -A INPUT -p tcp --dport 22 -j ACCEPT
                COMMIT
                """
            },
        ),
    ),
    good=(
        Example(
            "discovery first",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
                -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A INPUT -p tcp --dport 22 -j ACCEPT
                COMMIT
                """
            },
        ),
    ),
    looks_wrong=(
        Example(
            "IPv6 is closed on purpose",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                :FORWARD DROP [0:0]
                :OUTPUT DROP [0:0]
                -A INPUT -i lo -j ACCEPT
                -A OUTPUT -o lo -j ACCEPT
                COMMIT
                """
            },
        ),
        Example(
            "one table for both families, on a host without any address of IPv6",
            """
            table inet t {
              chain input {
                type filter hook input priority filter; policy drop;
                tcp dport 22 accept
              }
            }
            """,
            host='{"interfaces": [{"name": "eth0", "addresses": ["192.0.2.1/24"]}]}',
        ),
        Example(
            "UNTRACKED lets discovery in; a drop policy of IPv4 needs none",
            """
            table ip6 t {
              chain input {
                type filter hook input priority filter; policy drop;
                ct state established,related,untracked accept
                tcp dport 22 accept
              }
            }
            table ip u {
              chain input {
                type filter hook input priority filter; policy drop;
                tcp dport 22 accept
              }
            }
            """,
        ),
        Example(
            "from link-local addresses alone, and by a rate",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -s fe80::/10 -p ipv6-icmp -m limit --limit 900/min -j ACCEPT
                -A INPUT -p tcp --dport 22 -j ACCEPT
                COMMIT
                """
            },
        ),
    ),
)
