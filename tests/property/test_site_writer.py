"""What is written loads back to an equal site."""

from __future__ import annotations

import ipaddress

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.site import load_text
from notrack.site.writer import addresses_text, unplaced, write
from notrack.text.diagnostic import Rejected

_V4 = st.builds(
    lambda value, length: str(ipaddress.IPv4Network((value, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
_V6 = st.builds(lambda a, b: f"2001:db8:{a:x}:{b:x}::/64", st.integers(0, 65535), st.integers(0, 65535))
_ADDRESS = st.one_of(_V4, _V6, st.sampled_from(["any", "office", "lan-net", "192.0.2.1", "2001:db8::1"]))
_LIST = st.lists(_ADDRESS, min_size=1, max_size=3).map(", ".join)
_ADDRESSES = st.one_of(_LIST, st.builds("{} except {}".format, _LIST, _LIST))
_PORT = st.one_of(
    st.integers(1, 65535).map(str),
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda p: f"{min(p)}-{max(p)}"),
    st.sampled_from(["http", "domain", "web-ports", "any"]),
)
_PART = st.one_of(
    st.builds(
        "{} {}".format,
        st.sampled_from(["tcp", "udp", "sctp"]),
        st.lists(_PORT, min_size=1, max_size=3).map(", ".join),
    ),
    st.sampled_from(["proto gre", "proto 50, 112", "proto ipv6"]),
)
_TRAFFIC = st.lists(_PART, min_size=1, max_size=3).map("; ".join)
_NAMES = st.sampled_from(["wan", "lan", "wan, lan", "both", "lan, both"])
_LIMITS = [
    "limit 5/second",
    "limit 7/hour per source",
    "limit connections 5",
    "limit connections 6 per source",
]


def _clauses(**kinds: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some of these clauses, in any order."""
    each = [
        st.one_of(st.just(""), st.builds("{} {}".format, st.just(word.replace("_", " ").strip()), kind))
        for word, kind in kinds.items()
    ]
    return (
        st.tuples(*each)
        .flatmap(lambda found: st.permutations([clause for clause in found if clause]))
        .map(" ".join)
    )


_EXTRA = st.sampled_from(
    ["", "tracked", "untracked", "ipv4", "ipv6", "tracked ipv4", *_LIMITS, " ".join(_LIMITS[1:3])]
)
_PORT_CLAUSE = st.integers(1, 65535).map("port {}".format)
_LINE = st.one_of(
    st.builds(
        "service {{}} {} {} {}".format, _TRAFFIC, _clauses(from_=_ADDRESSES, at=_ADDRESSES, on=_NAMES), _EXTRA
    ),
    st.builds("client {{}} {} {}".format, _TRAFFIC, _clauses(to=_ADDRESSES, from__=_PORT_CLAUSE, out=_NAMES)),
    st.builds(
        "peer {{}} {} {} {}".format,
        _TRAFFIC,
        _clauses(
            with_=_ADDRESSES,
            at=st.sampled_from(["broadcast", "224.0.0.1", "192.0.2.80, ff02::1", "192.0.2.80"]),
            on=_NAMES,
        ),
        _EXTRA,
    ),
    st.builds(
        "route {{}} {} {} {}".format,
        st.one_of(st.just(""), _TRAFFIC),
        _clauses(from_=_ADDRESSES, to=_ADDRESSES, on=_NAMES, out=_NAMES, mss=st.just("pmtu")),
        _EXTRA,
    ),
    st.builds(
        "masquerade {{}} {} {}".format,
        _clauses(from_=_ADDRESSES, to=_ADDRESSES, out=_NAMES),
        st.sampled_from(["", "ipv4", "ipv6"]),
    ),
    st.builds(
        "snat {{}} {} as {}".format,
        _clauses(from_=_ADDRESSES, out=_NAMES),
        st.sampled_from(["192.0.2.80", "2001:db8::1"]),
    ),
    st.builds(
        "publish {{}} {} {} to {} {}".format,
        _TRAFFIC,
        _clauses(from_=_ADDRESSES, on=_NAMES),
        st.sampled_from(["10.0.0.1", "2001:db8::1"]),
        st.one_of(st.just(""), _PORT_CLAUSE),
    ),
    st.builds(
        "redirect {{}} {} {} to {} {}".format,
        _TRAFFIC,
        _clauses(from_=_ADDRESSES, on=_NAMES),
        _PORT_CLAUSE,
        st.sampled_from(["", "ipv4", "ipv6"]),
    ),
    st.builds(
        "{} {{}} {}".format, st.sampled_from(["trust", "block"]), _clauses(from_=_ADDRESSES, on=_NAMES)
    ),
    st.builds(
        "icmp {{}} {} {}".format,
        st.sampled_from(["echo-request", "echo-request, address-mask-request"]),
        _clauses(from_=_ADDRESSES, on=_NAMES),
    ),
    st.builds(
        "expect {} {} {}".format,
        st.sampled_from(["accept", "tracked drop", "untracked reject"]),
        st.sampled_from(["tcp", "udp", "icmp", "icmp echo-request", "proto gre"]),
        st.sampled_from(
            [
                "from 192.0.2.9 to host",
                "from host to 2001:db8::9",
                "from lan-net to any on wan",
                "from host to host",
            ]
        ),
    ),
    st.sampled_from(
        [
            "default input accept",
            "default output accept without replies",
            "log dropped 9/hour",
            "ephemeral 1000-2000",
            "tracking room 5 flows",
            "tracking timeout udp stream 3m",
            "tracking timeout tcp syn-sent 20s",
            "tracking off",
        ]
    ),
)
_HEAD = (
    "interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64\n"
    'interface lan = "site", "wg*"\ninterface both = eth0, eth7\n'
    "network office = 198.51.100.0/24, 2001:db8:51::/48\nnetwork lan-net = 10.8.0.0/24\n"
    "ports web-ports = 80, 443\n"
)


@settings(max_examples=300, deadline=None)
@given(_LINE)
def test_a_line_comes_back(line: str) -> None:
    try:
        site, _ = load_text(_HEAD + line.format("x"), "w.spec")
    except Rejected:
        assume(False)
    text = write(site)
    again, _ = load_text(text, "w.spec")
    assert unplaced(again) == unplaced(site), text
    assert write(again) == text


_INTERVALS = {
    family: st.lists(st.integers(0, 2**family.bits - 1), max_size=6).map(
        lambda ends: IntervalSet.of((min(p), max(p)) for p in zip(ends[::2], ends[1::2], strict=False))
    )
    for family in Family
}


@given(_INTERVALS[Family.IPV4], _INTERVALS[Family.IPV6])
def test_any_set_of_addresses_can_be_written(v4: IntervalSet, v6: IntervalSet) -> None:
    wanted = AddressSet(v4, v6)
    assume(bool(wanted))
    site, _ = load_text(f"network n = {addresses_text(wanted)}", "w.spec")
    assert site.networks == (("n", wanted),)
    assert addresses_text(ANY) == "any"
