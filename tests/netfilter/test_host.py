"""Facts about a host: JSON in and out, and what follows from them about addresses."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notrack.netfilter.host import UNKNOWN_HOST, Host, HostInterface, address_types, host_json, read_host
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Rejected

FULL = Host(
    interfaces=(
        HostInterface("lo", (ipaddress.ip_interface("127.0.0.1/8"), ipaddress.ip_interface("::1/128"))),
        HostInterface(
            "eth0", (ipaddress.ip_interface("198.51.100.1/24"), ipaddress.ip_interface("2001:db8::1/64"))
        ),
        HostInterface("ppp0", (ipaddress.ip_interface("203.0.113.1/32"),)),
        HostInterface("dummy0"),
    ),
    forwards_ipv4=True,
    forwards_ipv6=False,
    ephemeral=IntervalSet(((32768, 60999),)),
    tcp_loose=False,
    translators=("docker",),
    tracking_elsewhere=False,
)


@pytest.mark.parametrize("host", [FULL, UNKNOWN_HOST, Host(interfaces=()), Host(translators=())])
def test_facts_survive_json(host: Host) -> None:
    assert read_host(host_json(host)) == host
    assert json.loads(host_json(host))["schema_version"] == 1


def test_what_is_left_out_is_not_known() -> None:
    assert read_host("{}") == UNKNOWN_HOST
    assert UNKNOWN_HOST.addresses(Family.IPV4) is None
    assert UNKNOWN_HOST.networks() is None


def test_own_addresses_and_broadcasts() -> None:
    assert FULL.addresses(Family.IPV4) == IntervalSet.of(((0xC6336401,) * 2, (0xCB007101,) * 2))
    assert FULL.broadcasts(Family.IPV4) == IntervalSet.single(0xC63364FF)
    assert FULL.addresses(Family.IPV6) == IntervalSet.single(int(ipaddress.ip_address("2001:db8::1")))
    assert not FULL.broadcasts(Family.IPV6)
    assert (FULL.forwards(Family.IPV4), FULL.forwards(Family.IPV6)) == (True, False)


def test_kinds_of_addresses_known_and_not() -> None:
    local, maybe, broadcast, maybe_broadcast = address_types(FULL, Family.IPV4)
    assert local == maybe
    assert 0x7F000001 in local
    assert 0xC63364FF in broadcast
    assert broadcast == maybe_broadcast
    local, maybe, broadcast, maybe_broadcast = address_types(UNKNOWN_HOST, Family.IPV4)
    assert 0xC6336401 in maybe - local
    assert 0xC63364FF in maybe_broadcast - broadcast
    assert 0xE0000001 not in maybe | maybe_broadcast


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[1", "no JSON"),
        ("[]", "are an object"),
        ('{"schema_version": 2}', "only schema_version 1"),
        ('{"forward_ipv4": true}', "unknown fact `forward_ipv4`"),
        ('{"forwards_ipv4": "yes"}', "`forwards_ipv4` has a value"),
        ('{"forwards_ipv4": 1}', "`forwards_ipv4` has a value"),
        ('{"interfaces": [{"addresses": []}]}', "`interfaces` has a value"),
        ('{"interfaces": [{"name": "eth0", "addresses": ["eth0"]}]}', "`interfaces` has a value"),
        ('{"interfaces": ["eth0"]}', "`interfaces` has a value"),
        ('{"interfaces": 7}', "`interfaces` has a value"),
        ('{"ephemeral": [[60999, 32768]]}', "`ephemeral` has a value"),
        ('{"ephemeral": [32768, 60999]}', "`ephemeral` has a value"),
        ('{"translators": "docker"}', "`translators` has a value"),
    ],
)
def test_wrong_facts_are_refused(text: str, message: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_host(text)
    (fault,) = caught.value.diagnostics
    assert message in fault.message
    assert fault.span is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "addresses", "x"]), inner)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*json.loads(host_json(UNKNOWN_HOST)), "other"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, JSON))
def test_no_facts_give_a_traceback(facts: dict[str, object]) -> None:
    try:
        read_host(json.dumps(facts))
    except Rejected as fault:
        assert fault.diagnostics
