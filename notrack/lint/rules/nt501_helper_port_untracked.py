"""NT501: the control connection of a protocol with a helper is untracked, so that nothing is ever RELATED."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.conntrack_helpers import Reliance, control, reliances, without_passive_range
from notrack.lint.finding import Fault
from notrack.lint.flows import Leg
from notrack.lint.rule import Example, Rule
from notrack.lint.shapes import shape
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, State
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Related, Severity

_PORTS = 65536
_HOOKS = {Way.LOCAL_IN: Hook.INPUT, Way.FORWARD: Hook.FORWARD}
_SERVING = (Way.LOCAL_IN, Way.FORWARD)
_ASKING = (*_SERVING, Way.LOCAL_OUT)


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if not view.untracks or not view.may_track:
            continue
        told: set[str] = set()
        for reliance in reliances(subject, view):
            if reliance.name in told:
                continue
            found = _untracked(view, reliance)
            if found is not None:
                told.add(reliance.name)
                yield from _fault(view, reliance, *found)


def _untracked(view: View, reliance: Reliance) -> tuple[Leg, PacketSet] | None:
    """The first rule that takes such a control connection out of tracking."""
    asked = reliance.packets if reliance.packets is not None else control(view, reliance.name)
    for leg in view.flows.legs:
        if reliance.hooks and leg.hook not in reliance.hooks:
            continue
        for way in _ASKING if reliance.sure else _SERVING:
            packets = leg.on(way) & asked
            if not packets or (reliance.packets is None and not _names_service(leg)):
                continue
            if reliance.sure or _waits_for_data(view, way, packets):
                return leg, packets
    return None


def _names_service(leg: Leg) -> bool:
    """Whether a rule names the ports that it is about at the other end, and not those of answers alone."""
    return shape(leg.written).destination_port.size() < _PORTS


def _waits_for_data(view: View, way: Way, packets: PacketSet) -> bool:
    """Whether the control connection is let through, and its data only as RELATED."""
    let = view.flows.verdicts.accepted(way, packets, State.UNTRACKED)
    return bool(let) and bool(without_passive_range(view, way, _HOOKS[way], let))


def _fault(view: View, reliance: Reliance, leg: Leg, packets: PacketSet) -> Iterator[Fault]:
    if leg.span is None:
        return
    name = "NetBIOS" if reliance.name == "netbios-ns" else reliance.name.upper()
    other = ", or open a fixed passive range" if reliance.name == "ftp" else ""
    related = [one for one in _places(view, reliance, leg, packets) if one.span != leg.span]
    yield Fault(
        leg.span,
        f"{name} control connections are untracked here: its helper sees none, and nothing is ever RELATED",
        f"leave {name}'s control port tracked, in both directions{other}",
        tuple(related),
        packets.witness(),
    )


def _places(view: View, reliance: Reliance, leg: Leg, packets: PacketSet) -> Iterator[Related]:
    if reliance.span is not None:
        why = "relies on the helper" if reliance.sure else "waits for RELATED connections"
        yield Related(reliance.span, why)
    answers = packets.exists((Field.IN, Field.OUT, Field.STATE, Field.FLAGS)).mirror()
    for other in view.flows.legs:
        if other is not leg and other.span is not None and not other.written.isdisjoint(answers):
            yield Related(other.span, "untracks the answers")
            return


RULE = Rule(
    code="NT501",
    name="helper-port-untracked",
    severity=Severity.ERROR,
    summary="the control connection of FTP or its kind is untracked: no data connection is ever RELATED",
    what="""
        Finds NOTRACK rules that take the control connection of a protocol with a helper (FTP, TFTP, SIP,
        PPTP, IRC, H.323, Amanda, SANE, NetBIOS) out of tracking, where the rules rely on that helper: one
        gives it, matches it or defines it, its module is loaded, or (for FTP) data connections are let in
        as RELATED alone and no passive range is open.
    """,
    why="""
        A helper reads the control connection and expects the connections that it announces; they are
        RELATED. It works on entries of the connection table. An untracked connection has none: logins work,
        and every listing or call hangs.
    """,
    limits="""
        Control ports are the usual ones, unless a rule gives the helper to others. An FTP server with a
        passive range that is open anyway needs no helper, and is passed over.
    """,
    mending="There is no automatic fix: either the port stays tracked, or a passive range is opened.",
    check=check,
    bad=(
        Example(
            "FTP among the web ports, data as RELATED alone",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 21,80,443 -j CT --notrack  ### NT501
            -A OUTPUT -p tcp -m multiport --sports 21,80,443 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 21,80,443 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a rule gives the helper, too late",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 1024: -j CT --notrack  ### NT501
            -A PREROUTING -p tcp --dport 2121 -j CT --helper ftp
            -A OUTPUT -p tcp --sport 1024: -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            COMMIT
            """,
        ),
        Example(
            "nft, a helper object, a client on the LAN",
            """
            table inet t {
              ct helper sip-5060 {
                type "sip" protocol udp;
              }
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                iifname "lan0" udp dport 5060 notrack  ### NT501
                iifname "wan0" udp sport 5060 notrack
              }
              chain forward {
                type filter hook forward priority filter; policy drop;
                udp dport 5060 ct helper set "sip-5060"
                ct state related,untracked accept
              }
            }
            """,
        ),
        Example(
            "a passive range that only a rule for everything untracked lets in",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --notrack  ### NT501
            -A PREROUTING -p tcp --dport 60000:60100 -j CT --notrack
            -A OUTPUT -p tcp --sport 21 -j CT --notrack
            -A OUTPUT -p tcp --sport 60000:60100 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -i eth4 -j ACCEPT
            -A INPUT -s 192.0.2.31 -j ACCEPT
            -A INPUT -m state --state ESTABLISHED,RELATED,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a script that loads the module",
            """
            #!/bin/sh
            modprobe ip_conntrack_ftp
            iptables -t raw -A PREROUTING -p tcp --dport 21 -j NOTRACK  ### NT501
            iptables -t raw -A OUTPUT -p tcp --sport 21 -j NOTRACK
            iptables -A INPUT -p tcp --dport 21 -j ACCEPT
            iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT
            iptables -P INPUT DROP
            """,
        ),
    ),
    good=(
        Example(
            "the control port stays tracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 21,80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "FTP with a passive range that is open anyway",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 21,50000:50100 -j CT --notrack
            -A OUTPUT -p tcp -m multiport --sports 21,50000:50100 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 21,50000:50100 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "answers of other services, to a host that may ask from any port",
            """
            table ip t {
              ct helper ftp-std {
                type "ftp" protocol tcp;
              }
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport 21 accept
                ip saddr 192.0.2.10 tcp dport 1024-65535 notrack
              }
              chain out {
                type filter hook output priority raw; policy accept;
                tcp sport 21 accept
                ip daddr 192.0.2.10 tcp sport 1024-65535 notrack
              }
              chain helpers {
                type filter hook prerouting priority filter; policy accept;
                tcp dport 21 ct helper set "ftp-std"
              }
            }
            """,
        ),
        Example(
            "a script that takes the module out",
            """
            #!/bin/sh
            rmmod nf_conntrack_ftp
            modprobe -r nf_nat_ftp nf_conntrack_ftp
            iptables -t raw -A PREROUTING -p tcp --dport 21 -j NOTRACK
            iptables -t raw -A OUTPUT -p tcp --sport 21 -j NOTRACK
            iptables -A INPUT -p tcp --dport 21 -j ACCEPT
            iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT
            iptables -P INPUT DROP
            """,
        ),
        Example(
            "a helper for what comes in, and the host's own questions untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
            -A PREROUTING -p tcp -m multiport --sports 21,80 -j CT --notrack
            -A OUTPUT -p tcp -m multiport --dports 21,80 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            COMMIT
            """,
        ),
        Example(
            "port 21 untracked in front of a drop; the helper's port in front of a wide NOTRACK",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 2121 -j CT --helper ftp
            -A PREROUTING -p tcp --dport 21 -j CT --notrack
            -A PREROUTING -p tcp --dport 2000:2999 -j CT --notrack
            -A OUTPUT -p tcp --sport 2121 -j ACCEPT
            -A OUTPUT -p tcp --sport 2000:2999 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 2000:2999 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
