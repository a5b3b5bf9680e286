"""What the test bench is told, what it says, and packets as octets."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import pytest

from notrack.host.bench import MARK as BENCH_MARK
from notrack.host.bench import layers, quotes
from notrack.host.kernel import Device, KernelRefused, Load, Shot, shoot
from notrack.host.system import Ran, Twin
from notrack.host.wire import MARK, octets
from notrack.packets.packet_text import parse_packet


class Answering(Twin):
    """A twin that answers every program alike, and keeps what it was told."""

    def __init__(self, ran: Ran) -> None:
        super().__init__()
        self.answer = ran
        self.told: list[str] = []

    def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        self.told.append(stdin)
        return self.answer


def shots(*texts: str) -> list[Shot]:
    ways = {"in": "local in", "out": "local out"}
    return [Shot(parse_packet(text), ways["in" if " in " in text else "out"]) for text in texts]


def test_the_request_names_devices_rules_and_packets() -> None:
    system = Answering(Ran(0, json.dumps({"probes": [{"seen": "accept", "entries": 1}]})))
    found = shoot(
        system,
        [Device("eth0", ("192.0.2.80/24",))],
        [Load(("nft", "-f", "-"), "table")],
        shots("tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 to host"),
    )
    assert (found[0].verdict, found[0].entries) == ("accept", 1)
    request = json.loads(system.told[0])
    assert request["devices"] == [{"name": "eth0", "addresses": ["192.0.2.80/24"]}]
    assert request["load"] == [{"words": ["nft", "-f", "-"], "input": "table"}]
    (probe,) = request["probes"]
    assert probe["links"] == [["203.0.113.9", "eth0"]] and probe["own"] == [["192.0.2.80/32", "eth0"]]
    assert probe["ports"] == [4000, 80] and probe["served"] == 80


@pytest.mark.parametrize(
    ("ran", "words", "missing"),
    [
        (Ran(1, json.dumps({"error": "nft is not installed", "stage": "tools"})), "a tool is missing", True),
        (Ran(1, json.dumps({"error": "x", "stage": "namespaces"})), "nobody but root", False),
        (Ran(1, json.dumps({"error": "x", "stage": "rules"})), "refuses the rules", False),
        (Ran(1, "", "Traceback\nValueError: odd\n"), "test bench failed: ValueError: odd", False),
        (Ran(137), "exit status 137", False),
    ],
)
def test_what_refuses_is_named(ran: Ran, words: str, missing: bool) -> None:
    with pytest.raises(KernelRefused, match=words) as told:
        shoot(Answering(ran), [], [], [])
    assert told.value.missing is missing


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    "text",
    [
        "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 to host",
        "udp 203.0.113.9:4000 > 192.0.2.80:53 in eth0 to host",
        "icmp echo-request 203.0.113.9 > 192.0.2.80 in eth0 to host",
        "proto gre 203.0.113.9 > 192.0.2.80 in eth0 to host",
        "proto sctp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 to host",
        "tcp [2001:db8::9]:4000 > [2001:db8::1]:80 in eth0 to host",
        "udp [2001:db8::9]:4000 > [2001:db8::1]:53 in eth0 to host",
        "icmp echo-request 2001:db8::9 > 2001:db8::1 in eth0 to host",
    ],
)
def test_packets_have_right_lengths_and_checksums(text: str) -> None:
    packet = parse_packet(text.replace("proto sctp", "sctp"))
    data = octets(packet, 7)
    number, inner = layers(data)
    assert number == packet.protocol and MARK + struct.pack(">I", 7) in data
    if data[0] >> 4 == 4:
        assert struct.unpack(">H", data[2:4])[0] == len(data) and checksum(data[:20]) == 0xFFFF
        pseudo = data[12:20] + struct.pack(">BBH", 0, number, len(inner))
    else:
        assert struct.unpack(">H", data[4:6])[0] == len(inner)
        pseudo = data[8:40] + struct.pack(">IHBB", len(inner), 0, 0, number)
    if number in (6, 17, 58):
        assert checksum(pseudo + inner) == 0xFFFF
    if number == 1:
        assert checksum(inner) == 0xFFFF


def test_an_error_that_quotes_a_probe_is_told_from_the_probe() -> None:
    mark = BENCH_MARK + struct.pack(">I", 3)
    assert BENCH_MARK == MARK
    ping = octets(parse_packet("icmp echo-request 203.0.113.9 > 192.0.2.80 in eth0 to host"), 3)
    error = bytes([0x45]) + bytes(8) + bytes([1]) + bytes(10) + bytes([3, 3]) + bytes(6) + ping
    assert quotes(error, mark) and not quotes(ping, mark) and not quotes(error, BENCH_MARK + b"\0\0\0\4")
