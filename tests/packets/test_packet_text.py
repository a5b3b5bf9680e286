"""The packet text of the command line."""

from __future__ import annotations

import pytest

from notrack.packets.address import Family
from notrack.packets.fields import Fragment, State
from notrack.packets.packet import Packet
from notrack.packets.packet_text import parse_packet
from notrack.text.diagnostic import Rejected

A, B = 0xCB007109, 0xC6336401  # 203.0.113.9, 198.51.100.1


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        (
            "tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0 flags syn",
            Packet(Family.IPV4, 6, A, B, 40000, 80, 2, in_interface="eth0"),
        ),
        ("tcp 203.0.113.9 > 198.51.100.1:80", Packet(Family.IPV4, 6, A, B, 40000, 80, 2)),
        ("tcp 203.0.113.9>198.51.100.1:80 flags none", Packet(Family.IPV4, 6, A, B, 40000, 80, 0)),
        ("udp 203.0.113.9:53 > 198.51.100.1:161 to host", Packet(Family.IPV4, 17, A, B, 53, 161, local=True)),
        (
            "udp [2001:db8::1]:53 > [2001:db8::2]:9 out wg0",
            Packet(Family.IPV6, 17, 0x20010DB8 << 96 | 1, 0x20010DB8 << 96 | 2, 53, 9, out_interface="wg0"),
        ),
        (
            "udp 203.0.113.9 > 198.51.100.1:9 state established",
            Packet(Family.IPV4, 17, A, B, 40000, 9, state=State.ESTABLISHED),
        ),
        ("icmp echo-request 203.0.113.9 > 198.51.100.1", Packet(Family.IPV4, 1, A, B, icmp_type=8)),
        ("icmp ping 203.0.113.9 > 198.51.100.1", Packet(Family.IPV4, 1, A, B, icmp_type=8)),
        ("icmp 3/4 203.0.113.9 > 198.51.100.1", Packet(Family.IPV4, 1, A, B, icmp_type=3, icmp_code=4)),
        (
            "icmp fragmentation-needed 203.0.113.9 > 198.51.100.1",
            Packet(Family.IPV4, 1, A, B, icmp_type=3, icmp_code=4),
        ),
        ("icmp neighbor-solicitation ::1 > ::2", Packet(Family.IPV6, 58, 1, 2, icmp_type=135)),
        ("proto gre 203.0.113.9 > 198.51.100.1", Packet(Family.IPV4, 47, A, B)),
        ("proto 254 203.0.113.9 > 198.51.100.1 ttl 1", Packet(Family.IPV4, 254, A, B, ttl=1)),
        (
            "udp 203.0.113.9 > 198.51.100.1 fragment later mark 0x10 mac 2:0:0:0:0:a",
            Packet(Family.IPV4, 17, A, B, fragment=Fragment.LATER, mark=16, mac=0x02000000000A),
        ),
    ],
)
def test_packets_are_read(text: str, packet: Packet) -> None:
    assert parse_packet(text) == packet


@pytest.mark.parametrize(
    ("text", "marked", "message", "hint"),
    [
        ("", "", "expected a protocol", "tcp 203.0.113.9"),
        ("tpc 1.2.3.4:5 > 1.2.3.5:6", "tpc", "begins with its protocol", "`tcp`"),
        ("gre 1.2.3.4 > 1.2.3.5", "gre", "begins with its protocol", "proto gre"),
        ("tcp 1.2.3.4:5 -> 1.2.3.5:6", "-", "expected `>`", "write it as"),
        ("tcp 1.2.3.4:5 1.2.3.5:6", "1.2.3.5:6", "expected `>`", "write it as"),
        ("tcp 1.2.3.4:5 >", "", "expected a destination address", "write it as"),
        ("tcp 1.2.3.4:5 > 1.2.3.5", "1.2.3.5", "needs a destination port", "1.2.3.5:80"),
        ("udp ::1 > ::2", "::2", "needs a destination port", "[::2]:80"),
        ("tcp 1.2.3.4:5 > [::1]:6", "[::1]:6", "different address families", None),
        ("tcp 1.2.3.400:5 > 1.2.3.5:6", "1.2.3.400:5", "is no address", "not a name"),
        ("tcp www.example.org:5 > 1.2.3.5:6", "www.example.org:5", "is no address", "not a name"),
        ("tcp 1.2.3.4:70000 > 1.2.3.5:6", "1.2.3.4:70000", "`70000` is no port", "0 to 65535"),
        ("tcp 1.2.3.4:http > 1.2.3.5:6", "1.2.3.4:http", "`http` is no port", "0 to 65535"),
        ("tcp 1.2.3.4: > 1.2.3.5:6", "1.2.3.4:", "`` is no port", "0 to 65535"),
        ("proto gre 1.2.3.4:5 > 1.2.3.5", "1.2.3.4:5", "gre has no ports", "leave the port out"),
        ("proto grr 1.2.3.4 > 1.2.3.5", "grr", "unknown protocol", "`gre`"),
        ("proto 256 1.2.3.4 > 1.2.3.5", "256", "unknown protocol", None),
        ("proto ² 1.2.3.4 > 1.2.3.5", "²", "unknown protocol", None),
        ("icmp echo-requst 1.2.3.4 > 1.2.3.5", "echo-requst", "unknown ICMP type", "`echo-request`"),
        ("icmp 300 1.2.3.4 > 1.2.3.5", "300", "is no ICMP type", "0 to 255"),
        ("icmp ² 1.2.3.4 > 1.2.3.5", "²", "no ICMP type", None),
        ("udp 1.2.3.4:5 > 1.2.3.5:6 flags syn", "syn", "only tcp has flags", None),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 flags sym", "sym", "unknown flag", "`syn`"),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 inn eth0", "inn", "says nothing about a packet", "`in`"),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 in eth0 in eth1", "in", "said twice", None),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 in", "", "expected a value for `in`", None),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 in interface-too-long", "interface-too-long", "too long", "15"),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 to nobody", "nobody", "`to nobody`", "`to host`"),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 fragment middle", "middle", "no fragment", "later"),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 mac 1:2", "1:2", "no MAC address", None),
        ("tcp 1.2.3.4:5 > 1.2.3.5:6 mark 0x1ffffffff", "0x1ffffffff", "no mark", None),
        ("udp 1.2.3.4:5 > 1.2.3.5:6 state untracked", "untracked", "no state of a flow", "established"),
        ("udp fe80::1%eth0 > [fe80::2]:5", "fe80::1%eth0", "no scope", "`in`"),
        ("udp [::1:5 > [fe80::2]:5", "[::1:5", "no address with a port", "[2001:db8::1]:443"),
        ("udp ::1:5 > [fe80::2]:x", "[fe80::2]:x", "is no port", None),
    ],
)  # fmt: skip
def test_a_wrong_packet_is_refused_at_its_place(
    text: str, marked: str, message: str, hint: str | None
) -> None:
    with pytest.raises(Rejected) as caught:
        parse_packet(text)
    (fault,) = caught.value.diagnostics
    assert fault.span is not None
    assert fault.span.text == marked
    assert message in fault.message
    if hint is not None:
        assert hint in (fault.help or "")


def test_json_names_what_findings_need() -> None:
    packet = parse_packet("tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0 flags syn,ack")
    assert packet.to_json() == {
        "family": "ipv4",
        "protocol": "tcp",
        "source": "203.0.113.9",
        "source_port": 40000,
        "destination": "198.51.100.1",
        "destination_port": 80,
        "in": "eth0",
        "out": None,
        "flags": ["syn", "ack"],
    }
