"""What values mean, held to the kernel's own listing where the tool rewrites them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest

from notrack.packets.address import Family
from notrack.packets.fields import AddressType
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.names import ICMP_TYPES, SERVICES
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source

Load = Callable[[str, str, str], tuple[str | None, str]]


def spans(*pairs: tuple[int, int]) -> IntervalSet:
    return IntervalSet.of(pairs)


def test_addresses() -> None:
    ten = spans((0x0A000000, 0x0AFFFFFF))
    assert values.addresses("10/8", Family.IPV4) == ten
    assert values.addresses("10.9.8.7/255.0.0.0", Family.IPV4) == ten
    assert values.addresses("10.0.0.0/9,10.128.0.0/9", Family.IPV4) == ten
    assert values.addresses("nobody.knows/0", Family.IPV4) == Family.IPV4.whole
    assert values.addresses("localhost", Family.IPV4) is None
    assert values.addresses("10.0.0.1,localhost", Family.IPV4) is None
    assert values.addresses("::1", Family.IPV6) == spans((1, 1))
    assert values.addresses("10.0.0.5/255.0.0.255", Family.IPV4) is None
    assert values.addresses("10.0.0.5/255.255.254.255", Family.IPV4) == spans(
        (0x0A000005, 0x0A000005), (0x0A000105, 0x0A000105)
    )


def test_ports() -> None:
    assert values.ports("80") == spans((80, 80))
    assert values.ports("1024:") == spans((1024, 65535))
    assert values.ports(":ssh") == spans((0, 22))
    assert values.ports("nobody-knows") is None
    assert values.port_list("80,443,8000:8010") == spans((80, 80), (443, 443), (8000, 8010))
    assert values.port_list(",".join(["1:2"] * 7 + ["9"])) == spans((1, 2), (9, 9))
    with pytest.raises(values.Meaningless, match="more than 15"):
        values.port_list(",".join(["1:2"] * 8))


def test_states_and_flags() -> None:
    assert values.states("NEW,est") == {"NEW", "ESTABLISHED"}
    assert values.flags("FIN,SYN,RST,ACK") == 0b00010111
    assert values.flags("ALL") == 63
    assert values.flags("NONE") == 0


def test_icmp() -> None:
    every = spans((0, 255))
    assert values.icmp("any", Family.IPV4) == (every, every)
    assert values.icmp("fragmentation-needed", Family.IPV4) == (spans((3, 3)), spans((4, 4)))
    assert values.icmp("time-exc", Family.IPV4) == (spans((11, 11)), every)
    assert values.icmp("packet-too-big", Family.IPV6) == (spans((2, 2)), every)
    assert values.icmp("128/0", Family.IPV6) == (spans((128, 128)), spans((0, 0)))
    with pytest.raises(values.Meaningless, match="may be"):
        values.icmp("echo", Family.IPV4)


def test_small_ones() -> None:
    assert values.mark("0x10/0xff") == (16, 255)
    assert values.mark("010") == (8, 2**32 - 1)
    assert values.mac("00:11:22:33:44:5f") == 0x00112233445F
    assert values.interface("eth+") == ("eth", True)
    assert values.interface("eth0") == ("eth0", False)
    assert values.address_types("local,UNICAST") == {AddressType.LOCAL, AddressType.UNICAST}
    assert values.dscp("AF11") == 10
    assert values.tos("Minimize-Delay") == (16, 63)
    assert values.tos("0x10") == (16, 255)
    assert values.numbers("5:") == spans((5, 2**32 - 1))
    assert values.address_range("10.0.0.9-10.0.0.1", Family.IPV4) == IntervalSet()
    assert values.set_fields("src,dst") == ("src", "dst")


@pytest.mark.parametrize(
    ("meaning", "words"),
    [
        (values.port, ("65536", "-1", "", "80 ", "8²", "٣")),
        (values.protocol, ("256", "", "-", "²")),
        (values.mac, ("00:11:22:33:44", "00-11-22-33-44-55", "gg:11:22:33:44:55")),
        (values.mark, ("", "0x", "4294967296", "1/", "x", "-1")),
        (values.states, ("", "NEW,", "OLD")),
        (values.set_fields, ("", "src,", "src,dst,src,dst,src,dst,src")),
        (values.interface, ("", "sixteen-letters-")),
    ],
)
def test_what_means_nothing(meaning: Callable[[str], object], words: tuple[str, ...]) -> None:
    for word in words:
        with pytest.raises(values.Meaningless):
            meaning(word)


def test_every_icmp_name_is_the_number_that_the_tool_lists(load: Load) -> None:
    for family, tool, match, option in (
        (Family.IPV4, "iptables", "icmp", "--icmp-type"),
        (Family.IPV6, "ip6tables", "icmp6", "--icmpv6-type"),
    ):
        names = list(ICMP_TYPES[family])
        protocol = "icmp" if family is Family.IPV4 else "ipv6-icmp"
        rules = [f"-A INPUT -p {protocol} -m {match} {option} {name}" for name in names]
        listing, message = load("\n".join(("*filter", *rules, "COMMIT", "")), tool, "legacy")
        assert listing is not None, message
        ruleset, _ = read(Source("listing", listing), family)
        listed = [line.matches[0].options[0].values[0] for line in ruleset.tables[0].rules]
        assert [values.icmp(name, family) for name in names] == [values.icmp(word, family) for word in listed]


def test_services_have_the_numbers_that_this_machine_gives_them() -> None:
    found = {name: _service(name) for name in SERVICES}
    known = {name: ports for name, ports in found.items() if ports}
    assert not [name for name, ports in known.items() if ports != {SERVICES[name]}]
    if not known:
        pytest.skip("no /etc/services")
    assert len(known) > 100


def _service(name: str) -> set[int]:
    ports = set()
    for protocol in ("tcp", "udp"):
        with contextlib.suppress(OSError):
            ports.add(socket.getservbyname(name, protocol))
    return ports
