"""What each sentence of the language means for the resolved site."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.site import load, load_text
from notrack.site.model import (
    ALL_PORTS,
    BOTH,
    Block,
    Client,
    ConnectionLimit,
    Declaration,
    Default,
    Icmp,
    Peer,
    Publish,
    Rate,
    Redirect,
    Route,
    Service,
    Site,
    SourceTranslation,
    Tracking,
    Traffic,
    Trust,
)
from notrack.site.writer import unplaced, write
from notrack.text.diagnostic import Diagnostic, Rejected, Severity

RIGHT = Path(__file__).parent / "right"
WAN = 'interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64\ninterface lan = eth1, "wg*"\n'


def site(text: str) -> Site:
    return load_text(text, "test.spec")[0]


def one(text: str) -> Declaration:
    found = site(text).declarations
    assert len(found) == 1
    return found[0]


def warnings(text: str) -> list[Diagnostic]:
    return list(load_text(text, "test.spec")[1])


def addresses(*texts: str) -> AddressSet:
    return AddressSet.of(ipaddress.ip_network(text) for text in texts)


def ports(*spans: tuple[int, int]) -> IntervalSet:
    return IntervalSet.of(spans)


class TestExample:
    """The example of the language document."""

    def test_loads_without_a_warning(self) -> None:
        found, warned = load(RIGHT / "edge.spec")
        assert found.name == "edge"
        assert warned == ()
        assert [d.origin.name for d in found.declarations] == [
            "web", "dns", "memcached", "ssh", "files", "metrics", "resolve", "updates", "overlay", "lan-out",
            "lan-net-out", "shop", "abuse", "ping", "backup",
        ]  # fmt: skip

    def test_web(self) -> None:
        web = load(RIGHT / "edge.spec")[0].declarations[0]
        assert isinstance(web, Service)
        assert web.traffic == (
            Traffic(6, ports((80, 80), (443, 443), (8000, 8010))),
            Traffic(17, ports((443, 443))),
        )
        assert (web.peers, web.own, web.devices, web.tracking) == (ANY, None, ("eth0",), Tracking.AUTO)

    def test_settings(self) -> None:
        found = load(RIGHT / "edge.spec")[0]
        assert (found.tracking.room, found.tracking.timeouts) == (200000, (("tcp_established", 10800),))
        assert found.defaults.input is Default.DROP
        assert found.ephemeral == ports((32768, 60999))

    def test_expectations(self) -> None:
        first, second, third = load(RIGHT / "edge.spec")[0].expectations
        assert (first.verdict, first.tracking, first.protocol, first.destination_port) == (
            "accept",
            "untracked",
            6,
            80,
        )
        assert (first.source, first.destination, first.device) == (addresses("203.0.113.9"), None, "eth0")
        assert second.tracking == "tracked"
        assert (third.verdict, third.tracking, third.source_port) == ("drop", None, 53)


class TestShape:
    def test_a_deeper_indented_line_goes_on(self) -> None:
        assert unplaced(
            one("service web\n  tcp 80\n      from 10.8.0.0/24\n  # more\n\n  tracked\n")
        ) == unplaced(one("service web tcp 80 from 10.8.0.0/24 tracked"))

    def test_a_whole_file_may_be_indented(self) -> None:
        assert len(site("  service a tcp 1\n  service b tcp 2\n").declarations) == 2

    def test_a_tab_counts_up_to_the_next_eighth_column(self) -> None:
        assert len(site("        service a tcp 1\n\tservice b tcp 2\n").declarations) == 2

    def test_a_comment_begins_anywhere_but_in_quotes(self, tmp_path: Path) -> None:
        (tmp_path / "a#b.txt").write_text("10.8.0.1 # one\n; two\n10.8.0.2;three\n")
        found, _ = load_text('network a = "a#b.txt"#comment\nservice x tcp 80 from a', base_dir=tmp_path)
        assert found.networks == (("a", addresses("10.8.0.1", "10.8.0.2")),)

    @pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "   \n\t\n", "\ufeff", "\r\n\r\n"])
    def test_a_file_without_a_declaration_is_an_error(self, text: str) -> None:
        """A file that was cut off on its way must not become rules that drop everything."""
        with pytest.raises(Rejected) as caught:
            site(text)
        assert [d.message for d in caught.value.diagnostics] == ["there is no declaration in this file"]

    @pytest.mark.parametrize("end", ["\n", "\r\n", ""])
    def test_line_ends(self, end: str) -> None:
        text = (
            end.join(["service a tcp 1", "service b tcp 2", ""])
            if end
            else "service a tcp 1\nservice b tcp 2"
        )
        assert [d.origin.span.line for d in site(text).declarations] == [1, 2]

    def test_clauses_come_in_any_order(self) -> None:
        first = one(
            WAN + "service a tcp 80 from 10.8.0.0/24 at 192.0.2.80 on wan limit 5/second tracked ipv4"
        )
        second = one(
            WAN + "service a tcp 80 ipv4 tracked limit 5/second on wan at 192.0.2.80 from 10.8.0.0/24"
        )
        assert unplaced(first) == unplaced(second)

    def test_a_name_may_be_used_before_its_line(self) -> None:
        early = one("service a tcp p from n on i\nnetwork n = 10.8.0.0/24\nports p = 80\ninterface i = eth0")
        assert isinstance(early, Service)
        assert (early.peers, early.devices) == (addresses("10.8.0.0/24"), ("eth0",))

    def test_very_long_lines(self) -> None:
        listed = ", ".join(f"10.{i // 256}.{i % 256}.0/24" for i in range(20000))
        assert site(f"network n = {listed}\nservice a tcp 80 from n").networks[0][1].v4.size() == 20000 * 256

    def test_the_name_of_a_site_without_a_site_line_is_that_of_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "Web Server_2.spec").write_text("service a tcp 1")
        assert load(tmp_path / "Web Server_2.spec")[0].name == "web-server-2"
        assert load_text("service a tcp 1", "-")[0].name == "site"


class TestAddresses:
    def test_families_mix_in_one_network(self) -> None:
        found = dict(site("network n = 10.8.0.0/24, 2001:db8::/32\nservice a tcp 1 from n").networks)
        assert found["n"] == addresses("10.8.0.0/24", "2001:db8::/32")

    def test_networks_nest(self) -> None:
        text = "network a = b, 10.1.0.0/16\nnetwork b = c\nnetwork c = 10.0.0.0/16\nservice x tcp 1 from a"
        assert dict(site(text).networks)["a"] == addresses("10.0.0.0/15")

    def test_any_except(self) -> None:
        found = dict(
            site("network n = any except 10.0.0.0/8, 2001:db8::/32\nservice x tcp 1 from n").networks
        )["n"]
        assert found == ANY - addresses("10.0.0.0/8", "2001:db8::/32")

    @pytest.mark.parametrize(
        ("line", "field"),
        [
            ("service x tcp 1 from {}", "peers"),
            ("client x tcp 1 to {}", "peers"),
            ("peer x udp 1 with {}", "peers"),
            ("route x from {}", "sources"),
            ("route x to {}", "destinations"),
            ("trust x from {}", "peers"),
            ("block x from {}", "peers"),
            ("icmp x echo-request from {}", "peers"),
            ("masquerade x from {} ipv4", "sources"),
            ("service x tcp 1 at {}", "own"),
        ],
    )
    def test_lists_names_and_except_wherever_addresses_go(self, line: str, field: str) -> None:
        text = "network n = 10.0.0.0/8\n" + line.format("n, 192.0.2.1 except 10.8.0.0/24, 10.9.0.1")
        wanted = addresses("10.0.0.0/8", "192.0.2.1") - addresses("10.8.0.0/24", "10.9.0.1")
        assert getattr(one(text), field) == wanted

    def test_a_file_holds_a_prefix_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "bad.txt").write_bytes(
            b"\xef\xbb\xbf# bad\r\n10.8.0.0/24\r\n2001:db8::1 # x\r\n\r\n"
        )
        (tmp_path / "a.spec").write_text('network n = "lists/bad.txt", 10.9.0.1\nblock b from n\n')
        assert load(tmp_path / "a.spec")[0].networks[0][1] == addresses(
            "10.8.0.0/24", "2001:db8::1", "10.9.0.1"
        )

    def test_ipv4_restricts_a_declaration(self) -> None:
        found = one("service x tcp 80 ipv4")
        assert isinstance(found, Service)
        assert (found.families, found.peers) == (frozenset({Family.IPV4}), ANY)
        assert one("service x tcp 80").families == BOTH


class TestPorts:
    def test_numbers_ranges_names_and_services(self) -> None:
        found = one("ports a = 80, b\nports b = 8000-8010, domain\nservice x tcp a, ssh, 81")
        assert found.traffic == (Traffic(6, ports((22, 22), (53, 53), (80, 81), (8000, 8010))),)

    def test_parts_of_one_protocol_are_one(self) -> None:
        assert one("service x tcp 80; udp 53; tcp 443").traffic == (
            Traffic(6, ports((80, 80), (443, 443))),
            Traffic(17, ports((53, 53))),
        )

    def test_other_protocols(self) -> None:
        assert [t.protocol for t in one("peer x proto gre, 50; proto vrrp; sctp 9").traffic] == [
            47,
            50,
            112,
            132,
        ]

    def test_ipv6_is_a_protocol_and_a_family(self) -> None:
        found = one("peer x proto ipv6 with 10.0.0.1 ipv4")
        assert (found.traffic[0].protocol, found.families) == (41, frozenset({Family.IPV4}))

    @pytest.mark.parametrize(
        "text", ["client x tcp", "route x tcp", "service x tcp any", "publish x tcp any to 10.0.0.1"]
    )
    def test_all_ports(self, text: str) -> None:
        assert one(text).traffic == (Traffic(6, ALL_PORTS),)

    def test_a_declared_name_comes_before_a_well_known_one(self) -> None:
        assert one("ports http = 8080\nservice x tcp http").traffic == (Traffic(6, ports((8080, 8080))),)

    def test_a_service_may_be_called_like_its_well_known_port(self) -> None:
        assert one("service ssh tcp ssh").traffic == (Traffic(6, ports((22, 22))),)


class TestInterfaces:
    def test_devices_patterns_and_addresses(self) -> None:
        wan, lan = site(WAN + "service x tcp 80 on lan").interfaces
        assert (lan.devices, lan.addresses) == (("eth1", "wg*"), AddressSet())
        assert wan.addresses == addresses("192.0.2.80", "2001:db8:80::1")
        assert wan.networks == addresses("192.0.2.0/24", "2001:db8:80::/64")

    def test_on_takes_several(self) -> None:
        found = one(WAN + "service x tcp 80 on lan, wan")
        assert isinstance(found, Service)
        assert found.devices == ("eth1", "wg*", "eth0")

    @pytest.mark.parametrize("device", ["eth0.100", "br_lan", "enp3s0f0np0", "Ethernet"])
    def test_device_names(self, device: str) -> None:
        assert site(f"interface i = {device}\nservice x tcp 80 on i").interfaces[0].devices == (device,)

    def test_point_to_point_addresses(self) -> None:
        found = site("interface i = eth0 address 10.0.0.0/31, 10.0.0.9, 2001:db8::/127").interfaces[0]
        assert found.networks == addresses("10.0.0.0/31", "10.0.0.9", "2001:db8::/127")


class TestDeclarations:
    def test_client(self) -> None:
        found = one(WAN + "client ntp udp 123 to 10.0.0.1 from port 123 out wan untracked")
        assert isinstance(found, Client)
        assert (found.peers, found.from_ports, found.out_devices) == (
            addresses("10.0.0.1"),
            ports((123, 123)),
            ("eth0",),
        )
        assert found.tracking is Tracking.UNTRACKED
        plain = one("client x tcp 443")
        assert isinstance(plain, Client)
        assert plain.from_ports is None

    def test_peer_at_a_group(self) -> None:
        found = one("peer v proto vrrp with 10.8.0.2 at 224.0.0.18")
        assert isinstance(found, Peer)
        assert (found.own, found.groups, found.broadcast) == (None, addresses("224.0.0.18"), False)

    def test_peer_at_broadcast(self) -> None:
        for text in ("peer d udp 67 at broadcast", "peer d udp 67 at 255.255.255.255"):
            found = one(text)
            assert isinstance(found, Peer)
            assert (found.own, found.groups, found.broadcast) == (None, AddressSet(), True)

    def test_peer_at_own_and_group(self) -> None:
        found = one(WAN + "peer d udp 5353 at 192.0.2.80, ff02::fb, broadcast")
        assert isinstance(found, Peer)
        assert (found.own, found.groups) == (addresses("192.0.2.80"), addresses("ff02::fb"))
        assert found.broadcast

    def test_route(self) -> None:
        found = one(WAN + "route r tcp 443 from 10.8.0.0/24 to any on lan out wan mss pmtu")
        assert isinstance(found, Route)
        assert (found.sources, found.destinations, found.clamp_mss) == (addresses("10.8.0.0/24"), ANY, True)
        assert (found.devices, found.out_devices) == (("eth1", "wg*"), ("eth0",))
        assert one("route r").traffic == ()

    def test_masquerade_of_ipv4(self) -> None:
        found = one(WAN + "masquerade m from 10.8.0.0/24 out wan")
        assert isinstance(found, SourceTranslation)
        assert (found.families, found.address, found.out_devices) == (
            frozenset({Family.IPV4}),
            None,
            ("eth0",),
        )

    @pytest.mark.parametrize("word", ["ipv4", "ipv6"])
    def test_masquerade_of_a_mixed_network_says_its_family(self, word: str) -> None:
        found = one(f"network n = 10.8.0.0/24, 2001:db8::/64\nmasquerade m from n {word}")
        assert found.families == frozenset({Family(word)})

    def test_a_way_out_of_one_family_decides_for_the_rest(self) -> None:
        found = one("network n = 10.8.0.0/24, 2001:db8::/64\nmasquerade m from n to 192.0.2.0/24")
        assert found.families == frozenset({Family.IPV4})

    def test_snat(self) -> None:
        found = one("snat s from 10.8.0.0/24 as 192.0.2.80")
        assert isinstance(found, SourceTranslation)
        assert (found.address, found.families) == (addresses("192.0.2.80"), frozenset({Family.IPV4}))

    def test_publish(self) -> None:
        found = one(WAN + "publish p tcp 8443 at 192.0.2.80 on wan to 10.8.0.5 port 443 from 203.0.113.0/24")
        assert isinstance(found, Publish)
        assert (found.target, found.port, found.own) == (addresses("10.8.0.5"), 443, addresses("192.0.2.80"))
        assert found.families == frozenset({Family.IPV4})
        assert found.peers == addresses("203.0.113.0/24")

    def test_publish_keeps_the_port(self) -> None:
        found = one("publish p tcp 80, 443 to 2001:db8::5")
        assert isinstance(found, Publish)
        assert (found.port, found.families) == (None, frozenset({Family.IPV6}))

    def test_publish_to_one_of_a_pair(self) -> None:
        found = one("network web = 10.8.0.5, 2001:db8::5\npublish p tcp 80 to web ipv6")
        assert isinstance(found, Publish)
        assert (found.target, found.families) == (addresses("2001:db8::5"), frozenset({Family.IPV6}))

    def test_redirect(self) -> None:
        found = one(WAN + "redirect r tcp 80 on lan to port 3128")
        assert isinstance(found, Redirect)
        assert (found.port, found.devices, found.families) == (3128, ("eth1", "wg*"), BOTH)

    def test_trust_and_block(self) -> None:
        trust, block = one(WAN + "trust t on lan"), one("block b from 192.0.2.66")
        assert isinstance(trust, Trust)
        assert isinstance(block, Block)
        assert (trust.peers, trust.devices, trust.traffic) == (ANY, ("eth1", "wg*"), ())
        assert block.peers == addresses("192.0.2.66")

    def test_icmp(self) -> None:
        found = one("icmp i echo-request, timestamp-request from any limit 20/second")
        assert isinstance(found, Icmp)
        assert [(t.name, t.v4, t.v6) for t in found.types] == [
            ("echo-request", 8, 128),
            ("timestamp-request", 13, None),
        ]
        assert found.rate == Rate(20, "second")

    @pytest.mark.parametrize(
        ("clause", "field", "value"),
        [
            ("tracked", "tracking", Tracking.TRACKED),
            ("untracked", "tracking", Tracking.UNTRACKED),
            ("limit 20/minute per source", "rate", Rate(20, "minute", True)),
            ("limit 10000/second", "rate", Rate(10000, "second")),
            ("limit 600000/minute", "rate", Rate(600000, "minute")),
            ("limit connections 5", "connections", ConnectionLimit(5)),
            ("limit connections 5 per source", "connections", ConnectionLimit(5, True)),
            ("helper ftp", "helper", "ftp"),
            ("helper q931", "helper", "Q.931"),
        ],
    )
    def test_clauses(self, clause: str, field: str, value: object) -> None:
        assert getattr(one(f"service x tcp 21 {clause}"), field) == value

    def test_both_limits_at_once(self) -> None:
        found = one("service x tcp 21 limit 5/second limit connections 3")
        assert (found.rate, found.connections) == (Rate(5, "second"), ConnectionLimit(3))

    def test_places_of_clauses(self) -> None:
        text = "service x tcp 21 from 10.8.0.0/24 untracked"
        clauses = one(text).origin.clauses
        assert {word: span.text for word, span in clauses.items()} == {
            "traffic": "tcp 21",
            "from": "from 10.8.0.0/24",
            "untracked": "untracked",
        }
        assert one(text).origin.span.text == "service x"


class TestSettings:
    def test_defaults_if_unsaid(self) -> None:
        found = site("service a tcp 1").defaults
        assert (found.input, found.forward, found.output) == (Default.DROP, Default.DROP, Default.ACCEPT)
        assert found.output_replies

    @pytest.mark.parametrize("word", ["drop", "reject", "accept", "leave"])
    @pytest.mark.parametrize("hook", ["input", "forward", "output"])
    def test_defaults(self, hook: str, word: str) -> None:
        found = site(f"default {hook} {word}").defaults
        assert getattr(found, hook).value == word
        assert found.origins[hook].span.text == f"default {hook}"

    def test_output_without_replies(self) -> None:
        found = site("default output accept without replies").defaults
        assert (found.output, found.output_replies) == (Default.ACCEPT, False)

    def test_log_ephemeral_tracking(self) -> None:
        found = site("log dropped 10/minute\nephemeral 1024-65535\ntracking off")
        assert (found.log, found.ephemeral) == (Rate(10, "minute"), ports((1024, 65535)))
        assert found.tracking.off is not None

    @pytest.mark.parametrize(
        ("text", "key", "seconds"),
        [
            ("udp 30s", "udp", 30),
            ("udp stream 2m", "udp_stream", 120),
            ("tcp time-wait 1m", "tcp_time_wait", 60),
            ("tcp syn sent 20s", "tcp_syn_sent", 20),
            ("tcp established 5d", "tcp_established", 432000),
            ("icmp 5s", "icmp", 5),
            ("generic 1h", "generic", 3600),
            ("sctp cookie-echoed 3s", "sctp_cookie_echoed", 3),
        ],
    )
    def test_timeouts(self, text: str, key: str, seconds: int) -> None:
        assert site(f"tracking timeout {text}").tracking.timeouts == ((key, seconds),)


class TestExpectations:
    def test_from_the_host(self) -> None:
        found = site(
            WAN + "expect accept udp from host port 1024 to 9.9.9.9 port domain out wan"
        ).expectations[0]
        assert (found.source, found.source_port, found.destination_port) == (None, 1024, 53)
        assert found.out_device == "eth0"

    def test_flags(self) -> None:
        found = site("expect drop tcp from 192.0.2.9 to host port 22 flags syn, ack").expectations[0]
        assert found.flags == {"syn", "ack"}

    def test_icmp(self) -> None:
        v4, v6, bare = site(
            "expect accept icmp echo-request from 192.0.2.9 to host\n"
            "expect accept icmp echo-request from 2001:db8::9 to host\n"
            "expect accept icmp from 192.0.2.9 to host\n"
        ).expectations
        assert (v4.protocol, v6.protocol, bare.icmp_type) == (1, 58, None)
        assert v4.icmp_type is not None
        assert v4.icmp_type.name == "echo-request"

    def test_other_protocol_on_a_continued_line(self) -> None:
        found = site("expect reject\n    proto gre from 192.0.2.9\n    to host").expectations[0]
        assert (found.protocol, found.verdict) == (47, "reject")
        assert len(site("expect drop\n    icmp from 192.0.2.9 to host").expectations) == 1


class TestIncludes:
    def test_is_relative_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "parts").mkdir()
        (tmp_path / "main.spec").write_text('include "parts/nets.spec"\nservice x tcp 80 from office\n')
        (tmp_path / "parts" / "nets.spec").write_text('network office = "office.txt"\n')
        (tmp_path / "parts" / "office.txt").write_text("10.8.0.0/24\n")
        found, warned = load(tmp_path / "main.spec")
        assert found.networks == (("office", addresses("10.8.0.0/24")),)
        assert warned == ()

    def test_declarations_stand_in_the_place_of_the_line(self, tmp_path: Path) -> None:
        (tmp_path / "main.spec").write_text('service a tcp 1\ninclude "b.spec"\nservice c tcp 3\n')
        (tmp_path / "b.spec").write_text("service b tcp 2\n")
        assert [d.origin.name for d in load(tmp_path / "main.spec")[0].declarations] == ["a", "b", "c"]

    def test_a_file_that_two_others_include_counts_once(self, tmp_path: Path) -> None:
        (tmp_path / "main.spec").write_text('include "a.spec"\ninclude "b.spec"\n')
        (tmp_path / "a.spec").write_text('include "nets.spec"\nservice a tcp 1 from n\n')
        (tmp_path / "b.spec").write_text('include "./nets.spec"\nservice b tcp 2 from n\n')
        (tmp_path / "nets.spec").write_text("network n = 10.8.0.0/24\n")
        assert load(tmp_path / "main.spec")[1] == ()

    def test_the_same_line_twice_is_a_warning(self, tmp_path: Path) -> None:
        (tmp_path / "main.spec").write_text('include "a.spec"\ninclude "a.spec"\n')
        (tmp_path / "a.spec").write_text("service a tcp 1\n")
        (warned,) = load(tmp_path / "main.spec")[1]
        assert "included twice" in warned.message

    def test_a_loop_shows_the_chain(self, tmp_path: Path) -> None:
        (tmp_path / "a.spec").write_text('include "b.spec"\n')
        (tmp_path / "b.spec").write_text('include "a.spec"\n')
        with pytest.raises(Rejected) as caught:
            load(tmp_path / "a.spec")
        (found,) = caught.value.diagnostics
        names = [
            Path(step).name for step in (found.help or "").removeprefix("take one step out: ").split(" -> ")
        ]
        assert names == ["a.spec", "b.spec", "a.spec"]


class TestWarnings:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("network n = 10.0.0.0/8", "network `n` is never used"),
            ("ports p = 80", "ports `p` is never used"),
            ("interface i = eth0", "interface `i` is never used"),
            ("service x tcp 80 from 10.0.0.0/8 except 192.0.2.1", "`except` takes nothing away"),
            ("publish p tcp 80, 443 to 10.8.0.5 port 80", "several ports all go to port 80"),
            (
                "interface i = eth0 address 192.0.2.1/24\nservice x tcp 80 at 192.0.2.2",
                "no interface declares",
            ),
            ("service x tcp 80 from 0.0.0.0", "one address, which nobody has"),
        ],
    )
    def test_warns(self, text: str, message: str) -> None:
        (found,) = warnings(text)
        assert message in found.message
        assert found.severity is Severity.WARNING
        assert found.span is not None

    @pytest.mark.parametrize(
        "text",
        [
            "interface i = eth0 address 192.0.2.1/24",  # its addresses are facts, used or not
            "network a = 10.0.0.0/8\nnetwork b = a\nservice x tcp 80 from b",
            "service dhcp udp 67 from 0.0.0.0",
            "interface i = eth0 address 192.0.2.1/24\nservice x tcp 80 at 192.0.2.1",
            "interface i = eth0 address 192.0.2.1/24\nservice x tcp 80 at 192.0.2.1, 2001:db8::1",
        ],
    )
    def test_does_not_warn(self, text: str) -> None:
        assert warnings(text) == []


class TestShadows:
    @pytest.mark.parametrize(
        "text",
        [
            "service a tcp 80\nservice b tcp 80 tracked",
            "service a tcp 80\nservice b tcp 80 limit 5/second",
            "service a tcp 80 limit connections 9\nservice b tcp 80",
            "service a tcp 21\nservice b tcp 21 helper ftp",
            "service a tcp 80\nservice b udp 80",
            "service a tcp 80, 443\nservice b tcp 443, 8443",
            "service a tcp 80 from 10.0.0.0/8\nservice b tcp 80 from 10.128.0.0/9, 192.0.2.0/24",
            "service a tcp 80 ipv4\nservice b tcp 80 ipv6",
            "service a tcp 80 at 192.0.2.1 ipv4\nservice b tcp 80 from 10.0.0.0/8",
            "interface i = eth0\ninterface j = eth1\nservice a tcp 80 on i\nservice b tcp 80 on j",
        ],
    )
    def test_is_none(self, text: str) -> None:
        assert len(site(text).declarations) == 2

    @pytest.mark.parametrize(
        "text",
        [
            "service a tcp 80; udp 53\nservice b udp 53",
            "service a tcp 1-1000\nservice b tcp 80, 443",
            "service a tcp 80 from any ipv4\nservice b tcp 80 from 10.0.0.0/8",
            "service a tcp 80 limit 5/second\nservice b tcp 80 from 10.0.0.0/8 limit 5/second",
            "service a tcp 80\nservice b tcp 80 at 192.0.2.1",
            "service b tcp 80\nservice a tcp 80, 443",
            "service b tcp 80 ipv4\nservice a tcp 80",
            "service b tcp 80 at 192.0.2.1\nservice a tcp 80",
        ],
    )
    def test_is_one(self, text: str) -> None:
        with pytest.raises(Rejected) as caught:
            site(text)
        (found,) = caught.value.diagnostics
        assert found.message == "every packet of `b` is already one of `a`"
        assert [r.span.text for r in found.related] == ["service a"]


class TestFiles:
    def rejected(self, path: Path) -> Diagnostic:
        with pytest.raises(Rejected) as caught:
            load(path)
        (found,) = caught.value.diagnostics
        return found

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.rejected(tmp_path / "none.spec").message

    def test_near_name(self, tmp_path: Path) -> None:
        (tmp_path / "site.spec").write_text("")
        assert self.rejected(tmp_path / "sitee.spec").help == "did you mean `site.spec`?"

    def test_directory(self, tmp_path: Path) -> None:
        assert "directory" in self.rejected(tmp_path).message

    def test_name_with_nul(self) -> None:
        assert "cannot read" in self.rejected(Path("a\0b")).message

    @pytest.mark.parametrize(
        ("data", "message", "line", "column"),
        [
            (b"service web tcp 80\nservice b\xe9 tcp 81\n", "byte 0xe9 is not UTF-8", 2, 10),
            ("# caf\u00e9\n".encode() + b"\xff", "byte 0xff is not UTF-8", 2, 1),
            (b"service web tcp 80\n\0\n", "a NUL character", 2, 1),
            ("service web tcp 80\n".encode("utf-16"), "UTF-16", 1, 1),
            (b"service a tcp 1\rservice b tcp 2\r", "CR alone", 1, 16),
        ],
    )
    def test_not_the_text_of_a_person(
        self, tmp_path: Path, data: bytes, message: str, line: int, column: int
    ) -> None:
        (tmp_path / "a.spec").write_bytes(data)
        found = self.rejected(tmp_path / "a.spec")
        assert message in found.message
        assert found.span is not None
        assert (found.span.line, found.span.column) == (line, column)

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / "a.spec").write_bytes(b"\xef\xbb\xbfservice a tcp 1\n")
        assert load(tmp_path / "a.spec")[0].declarations[0].origin.span.column == 1

    def test_many_errors_are_counted(self) -> None:
        with pytest.raises(Rejected) as caught:
            site("nonsense\n" * 1000)
        assert len(caught.value.diagnostics) == 201
        assert caught.value.diagnostics[-1].message == "800 more errors are not shown"

    def test_deep_nesting_is_an_error_and_no_crash(self) -> None:
        text = "\n".join(f"network n{i} = n{i + 1}" for i in range(3000)) + "\nnetwork n3000 = 10.0.0.0/8\n"
        with pytest.raises(Rejected) as caught:
            site(text)
        assert all("nested deeper" in d.message for d in caught.value.diagnostics)


class TestRelated:
    def test_a_second_declaration_shows_the_first(self) -> None:
        with pytest.raises(Rejected) as caught:
            site("service web tcp 80\nnetwork web = 10.0.0.0/8")
        (found,) = caught.value.diagnostics
        assert [(r.span.line, r.span.column) for r in found.related] == [(1, 9)]

    def test_an_error_in_a_file_shows_who_reads_it(self, tmp_path: Path) -> None:
        (tmp_path / "n.txt").write_text("10.0.0.1\n10.0.0.300\n")
        with pytest.raises(Rejected) as caught:
            load_text('network n = "n.txt"', base_dir=tmp_path)
        (found,) = caught.value.diagnostics
        assert found.span is not None
        assert (Path(found.span.source.name).name, found.span.line) == ("n.txt", 2)
        assert found.related[0].span.text == '"n.txt"'


class TestWriter:
    def test_the_example(self) -> None:
        found = load(RIGHT / "edge.spec")[0]
        assert unplaced(load_text(write(found))[0]) == unplaced(found)

    def test_addresses_on_neighbouring_prefixes(self) -> None:
        found = site("interface i = eth0 address 10.0.0.0/31, 10.0.0.3/31, 10.1.0.1/24, 10.1.1.1/24")
        assert unplaced(load_text(write(found), "test.spec")[0]) == unplaced(found)

    def test_a_device_called_like_a_keyword(self) -> None:
        found = site('interface i = "site", "ipv4", eth0.5\nservice x tcp 80 on i')
        assert unplaced(load_text(write(found), "test.spec")[0]) == unplaced(found)

    def test_what_the_language_cannot_say(self) -> None:
        found = site(WAN + "service x tcp 80 on wan")
        broken = Site(found.name, (), (), found.declarations)
        with pytest.raises(ValueError, match="eth0"):
            write(broken)
