"""NT405: another program translates addresses on this host, and rules here untrack by port."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import from_anyone, to_anyone
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.translators import Translator, translators
from notrack.lint.view import Untracking, View
from notrack.netfilter.ways import Way
from notrack.packets.fields import AddressType, Field
from notrack.packets.packet_set import PacketSet
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    said: set[str] = set()
    for view in subject.views:
        if not view.untracks:
            continue
        for program in translators(view):
            if program.name in said:
                continue
            careless = _careless(view, program)
            if careless and (fault := _fault(program, careless)) is not None:
                said.add(program.name)
                yield fault


def _fault(program: Translator, careless: list[tuple[Untracking, PacketSet]]) -> Fault | None:
    places = list(dict.fromkeys(one.visit.rule.origin.span for one, _ in careless))
    rules = [place for place in places if place is not None]
    if not rules:
        return None
    return Fault(
        program.place or rules[0],
        f"{program.name} translates on this host: what it publishes must not be untracked",
        "untrack by the host's own address as well (`-d`, mirrored `-s`, or `-m addrtype --dst-type LOCAL`), "
        f"and no port that {program.name} publishes",
        related=tuple(
            Related(place, "untracks by port alone") for place in rules if place != program.place
        )[:8] if program.place else (),
        witness=careless[0][1].witness(),
        notes=() if program.place else (f"what {program.name} translates is not among these rules",),
    )  # fmt: skip


def _careless(view: View, program: Translator) -> list[tuple[Untracking, PacketSet]]:
    """The rules of PREROUTING that untrack packets from anyone to anyone: of other hosts, or (where nobody
    sees what the program publishes) of this one."""
    made = view.translations
    found: list[tuple[Untracking, PacketSet]] = []
    seen: set[int] = set()
    for way in (Way.FORWARD, Way.LOCAL_IN):
        for one, packets in made.untracking(way):
            taken = packets
            if program.place is not None:
                other = PacketSet.where(packets.space, Field.DESTINATION_TYPE, AddressType.UNICAST)
                taken = packets & other
            wide = bool(taken) and from_anyone(taken) and to_anyone(taken)
            if wide and id(one.visit.rule) not in seen:
                seen.add(id(one.visit.rule))
                found.append((one, taken))
    return found


RULE = Rule(
    code="NT405",
    name="foreign-nat",
    severity=Severity.WARNING,
    summary="another program translates addresses on this host, and rules untrack by port",
    what="""
        Says that Docker, kube-proxy, IPVS, Cilium, Calico or another program of that kind translates on this
        host (its chains are among the rules, or the host's facts name it), where rules untrack packets by
        port and not by address.
    """,
    why="""
        Such a program adds and removes translations at any time, and none of them works for an untracked
        packet. A NOTRACK by port meets the ports that are published today or tomorrow, and what containers
        send to the same port of other hosts: they are not reached any more, or leave with inner addresses.
    """,
    limits="""
        Rules that name an address, and those for the host itself where the program's own rules are to be
        seen, are passed over; so is what such a program untracks itself. IPVS and eBPF leave no trace in
        rules: only the host's facts tell of them. A conflict that is certain is NT401.
    """,
    mending="There is no automatic fix: what the program publishes is not for this linter to know.",
    check=check,
    bad=(
        Example(
            "Docker, and a port untracked for everybody",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :DOCKER - [0:0]  ### NT405
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
            COMMIT
            """,
        ),
        Example(
            "IPVS, which only the host's facts tell of",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -m addrtype --dst-type LOCAL -j CT --notrack  ### NT405
            -A OUTPUT -p tcp --sport 443 -j CT --notrack
            COMMIT
            """,
            host='{"translators": ["ipvs"]}',
        ),
        Example(
            "kube-proxy's own table of nft",
            """
            table ip kube-proxy {
              chain services {  ### NT405
                ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.10:6443
              }
              chain nat-prerouting {
                type nat hook prerouting priority dstnat; policy accept;
                jump services
              }
            }
            table inet fast {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport 8472 notrack
              }
              chain out {
                type filter hook output priority raw; policy accept;
                udp dport 8472 notrack
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "Docker, and a service of the host's own address",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.1/32 -p udp --dport 53 -j CT --notrack
            -A OUTPUT -s 198.51.100.1/32 -p udp --sport 53 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :DOCKER - [0:0]
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "Docker's own rules in raw, and nothing else untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :DOCKER - [0:0]
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            COMMIT
            """,
        ),
        Example(
            "a DNS cache on a node of Kubernetes",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j CT --notrack
            -A OUTPUT -s 169.254.20.10/32 -p udp -m udp --sport 53 -j CT --notrack
            -A OUTPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :KUBE-SERVICES - [0:0]
            -A PREROUTING -j KUBE-SERVICES
            COMMIT
            """,
        ),
        Example(
            "Calico untracks what its policies say, and Docker is known to translate",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :cali-PREROUTING - [0:0]
            -A PREROUTING -j cali-PREROUTING
            -A cali-PREROUTING -p udp --dport 4789 -j CT --notrack
            COMMIT
            """,
            host='{"translators": ["docker"]}',
        ),
    ),
)
