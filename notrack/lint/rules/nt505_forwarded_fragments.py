"""NT505: nothing puts fragments together, and later ones have no ports."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import ordinary
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.stopping import Decision, accepting, stopping
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.guards import guard_set
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Field, Fragment
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Related, Severity
from notrack.text.record import dataclass

_LOOKED_AT = 8
_PIECES = (Field.FRAGMENT, Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.FLAGS, Field.LENGTH)
_PROTOCOLS = {
    Way.FORWARD: IntervalSet.of(((6, 6), (17, 17), (132, 132))),
    Way.LOCAL_IN: IntervalSet.single(17),
}


@dataclass(frozen=True, slots=True)
class _Loss:
    """Later fragments that are stopped, and packets of which they are part."""

    whole: PacketSet
    later: PacketSet


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.model.reassembles or not view.is_whole or subject.host.tracking_elsewhere:
            continue
        for way, hook in _ways(view):
            loss = _loss(view, way)
            fault = _fault(view, way, hook, loss) if loss is not None else None
            if fault is not None:
                yield fault


def _ways(view: View) -> Iterator[tuple[Way, Hook]]:
    """Where fragments pass as they came: on the way through, and in IPv6 to the host as well."""
    known = view.host.forwards(view.family)
    if known or (known is None and view.flows.verdicts.filters(Hook.FORWARD)):
        yield Way.FORWARD, Hook.FORWARD
    if view.family is Family.IPV6 and view.flows.verdicts.filters(Hook.INPUT):
        yield Way.LOCAL_IN, Hook.INPUT


def _loss(view: View, way: Way) -> _Loss | None:
    space = view.model.space
    wanted = {
        Field.PROTOCOL: _PROTOCOLS[way],
        Field.FRAGMENT: IntervalSet.single(Fragment.FIRST),
        Field.DESTINATION_TYPE: IntervalSet(((AddressType.UNICAST, AddressType.LOCAL),)),
    }
    passage = view.passage(way)
    first = ordinary(passage.accepted(PacketSet(space, space.cube(wanted))))
    if not first:
        return None
    pieces = PacketSet(space, space.among(Field.FRAGMENT, Fragment.LATER)) & passage.packets
    pieces = pieces & first.exists(_PIECES)
    later = pieces - ordinary(passage.accepted(pieces))
    later = ordinary(later)
    return _Loss(first & later.exists(_PIECES), later) if later else None


def _fault(view: View, way: Way, hook: Hook, loss: _Loss) -> Fault | None:
    later = loss.later.witness()
    opened = _opening(view, way, hook, loss.whole)
    if later is None or opened is None or opened.span is None:
        return None
    stopped = stopping(view, way, later)
    what = "a forwarded" if way is Way.FORWARD else "an IPv6"
    return Fault(
        opened.span,
        f"only the first fragment of {what} packet has the port: this rule does not let the others pass",
        _help(view, opened),
        _related(stopped),
        later,
        notes=_notes(view, way),
    )


def _opening(view: View, way: Way, hook: Hook, packets: PacketSet) -> Decision | None:
    """The first of some rules in the text that let such packets through."""
    found: list[Decision] = []
    while len(found) < _LOOKED_AT and (witness := packets.witness()) is not None:
        one = accepting(view, way, witness, hook)
        if one is None or one.rule is None or one.span is None:
            break
        found.append(one)
        packets = packets - PacketSet(packets.space, guard_set(packets.space, one.rule.guard))
    return min(found, key=lambda one: one.span.start if one.span else 0, default=None)


def _help(view: View, opened: Decision) -> str:
    if view.family is Family.IPV4:
        line = "ip frag-off & 0x1fff != 0 accept" if " " in opened.step.table.name else _line(opened, "-f")
        return f"let later fragments pass: `{line}`"
    if " " in opened.step.table.name:
        return "let later fragments pass: `frag frag-off > 0 accept`"
    return "let later fragments pass: a chain `-m frag --fragfirst -j RETURN`, then `-j ACCEPT`"


def _line(opened: Decision, match: str) -> str:
    return f"-A {opened.step.chain.name} {match} -j ACCEPT"


def _related(stopped: Decision | None) -> tuple[Related, ...]:
    if stopped is None or stopped.span is None:
        return ()
    return (Related(stopped.span, "later fragments end here"),)


def _notes(view: View, way: Way) -> tuple[str, ...]:
    found = []
    if way is Way.FORWARD and view.host.forwards(view.family) is None:
        found.append("that the host forwards, as its rules for it say")
    if view.host.tracking_elsewhere is None:
        found.append("that nothing outside these rules keeps tracking on")
    return tuple(found)


RULE = Rule(
    code="NT505",
    name="forwarded-fragments",
    severity=Severity.WARNING,
    summary="rules by port, where fragments are not put together",
    what="""
        Finds rules that let packets through by their ports, on the way through the host (in IPv6 to the
        host as well), where no rule keeps tracking on and later fragments of such packets are stopped.
    """,
    why="""
        Connection tracking puts fragments together before any rule sees them. Without it, the rules of
        FORWARD see fragments as they came: the first has ports, the others have none, and a rule by port
        does not match them. Large datagrams (DNS answers, VPN, NFS) never arrive. IPv4 packets for the host
        itself are whole in INPUT all the same; in IPv6 they are not.
    """,
    limits="""
        Named once for each hook, at a rule that lets first fragments pass. In INPUT of IPv6 only UDP
        counts. A rule that makes the kernel reassemble without tracking (`-m socket`, TPROXY) is taken into
        account.
    """,
    mending="There is no automatic fix: the line to add stands in the finding.",
    check=check,
    bad=(
        Example(
            "a router without states",
            """
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD DROP [0:0]
            -A FORWARD -d 192.0.2.53 -p udp --dport 53 -j ACCEPT  ### NT505
            -A FORWARD -s 192.0.2.53 -p udp --sport 53 -j ACCEPT
            -A FORWARD -p icmp -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft, known to forward; and the host's own IPv6",
            """
            table inet t {
              chain forward {
                type filter hook forward priority filter; policy accept;
                ip daddr 192.0.2.0/24 tcp dport { 80, 443 } accept  ### NT505
                ip daddr 192.0.2.0/24 drop
              }
              chain input {
                type filter hook input priority filter; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, packet-too-big } accept
                udp dport 53 accept  ### NT505
              }
            }
            """,
            host='{"forwards_ipv4": true, "forwards_ipv6": false, "tracking_elsewhere": false}',
        ),
    ),
    good=(
        Example(
            "later fragments pass",
            """
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD DROP [0:0]
            -A FORWARD -f -j ACCEPT
            -A FORWARD -d 192.0.2.53 -p udp --dport 53 -j ACCEPT
            -A FORWARD -s 192.0.2.53 -p udp --sport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "IPv6, nft",
            """
            table ip6 t {
              chain input {
                type filter hook input priority filter; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, packet-too-big } accept
                frag frag-off > 0 accept
                udp dport 53 accept
              }
            }
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a state match puts them together",
            """
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD DROP [0:0]
            -A FORWARD -m conntrack --ctstate INVALID -j DROP
            -A FORWARD -d 192.0.2.53 -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a host that does not forward; IPv4 packets to the host itself are whole",
            """
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A FORWARD -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
            host='{"forwards_ipv4": false}',
        ),
        Example(
            "a policy of accept lets them pass",
            """
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD ACCEPT [0:0]
            -A FORWARD -p udp --dport 53 -j ACCEPT
            -A FORWARD -p udp --dport 161 -j DROP
            COMMIT
            """,
        ),
    ),
)
