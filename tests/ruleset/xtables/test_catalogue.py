"""The catalogue against the manual that iptables prints, and the reader against what iptables takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import (
    Exactness,
    Extension,
    Kind,
    declared,
    match_named,
    matches,
    target_named,
    targets,
)
from notrack.ruleset.xtables.reader import read
from notrack.ruleset.xtables.rule_reader import WORDS_MAXIMUM
from notrack.ruleset.xtables.writer import write
from notrack.text.diagnostic import Severity
from notrack.text.source import Source

Load = Callable[[str, str, str], tuple[str | None, str]]

_TOOLS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_EVERY = [("-m", form) for form in matches()] + [("-j", form) for form in targets()]


def test_a_declaration_says_everything() -> None:
    form = declared("! ~ --match-set --set SET SETFIELDS")
    assert (form.name, form.spellings) == ("--match-set", ("--match-set", "--set"))
    assert form.kinds == (Kind.SET, Kind.SETFIELDS)
    assert form.negatable
    assert not form.exact
    with pytest.raises(ValueError, match="no option"):
        declared("PORTS")
    with pytest.raises(KeyError):
        declared("--dport PROTS")


def test_names_are_found_by_family_and_alias() -> None:
    assert match_named("icmpv6") is match_named("icmp6")
    assert match_named("icmp6", Family.IPV4) is None
    four, six = match_named("ah", Family.IPV4), match_named("ah", Family.IPV6)
    assert four is not None
    assert six is not None
    assert six.option("--ahres") is not None
    assert four.option("--ahres") is None
    assert target_named("INPUT") is None
    assert match_named("limit", Family.IPV4) == next(form for form in matches() if form.name == "limit")


@pytest.mark.parametrize(
    "name",
    [
        "limit",
        "recent",
        "hashlimit",
        "owner",
        "string",
        "time",
        "bpf",
        "statistic",
        "quota",
        "u32",
        "connbytes",
    ],
)
def test_what_no_header_tells_may_match(name: str) -> None:
    form = match_named(name)
    assert form is not None
    assert form.exactness is Exactness.MAYBE


@pytest.mark.parametrize("sign_and_form", _EVERY, ids=lambda found: f"{found[0]} {found[1].name}")
def test_every_option_of_the_manual_is_declared(sign_and_form: tuple[str, Extension]) -> None:
    if shutil.which("iptables") is None:
        pytest.skip("iptables is not installed")
    sign, form = sign_and_form
    for family in form.families:
        done = subprocess.run(
            [_TOOLS[family], sign, form.name, "--help"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:  # osf has no IPv6 side in the tool, though the kernel does
            assert (form.name, family) == ("osf", Family.IPV6)
            continue
        manual = done.stdout.partition("print package version")[2]
        options = set(re.findall(r"(?<![\w-])--[a-z0-9][\w-]*", manual))
        assert {option for option in options if form.option(option) is None} == set()


# What people write, and what the tool says about it: the reader must never refuse what the tool takes.
_LINES = """
-A INPUT -p tcp -m multiport ! --dport 80,81
-A INPUT -p tcp --sp 80
-A INPUT -m comment --comment a"b c" -p tcp
-A INPUT -m comment --comment "a\\"b\\\\c\\d"
-A INPUT -m comment --comment ""
-A INPUT --proto tcp --jump ACCEPT -c 3,4
-A INPUT -c 3 4 -j ACCEPT
-A INPUT -j ACCEPT -p tcp --dport ssh
-A INPUT -p tcp -m tcp --dport 80 -m tcp --sport 90
-A INPUT -s 192.0.2.1,192.0.2.2 -d 198.51.100.0/24,203.0.113.9 -j ACCEPT
-A INPUT -p TCP
-A INPUT -p all
-A INPUT -p 0
-A INPUT -p udplite -m multiport --ports 1
-A INPUT -m state --state new,established
-A INPUT -m conntrack --ctstate EST,REL
-A INPUT -m conntrack --ctstatus SEEN,ASS
-A INPUT -p tcp --dport 80:
-A INPUT -p tcp --dport :80
-A INPUT -p tcp --dport 0x50
-A INPUT -p icmp --icmp-type echo-req
-A INPUT -p icmp --icmp-type 3/4
-A INPUT -p icmp --icmp-type any
-A INPUT -p icmp --icmp-type 255
-A INPUT -s 10.0.0.0/255.0.255.0 -i eth+
-A INPUT -m mac --mac-source 0:1:2:3:4:5
-A INPUT -s 10.1/16
-A INPUT -s 10/8
-A INPUT -s 0/0
-A INPUT -s 010.0.0.1
-A INPUT -s 0xa.1.2.3
-A INPUT -s 10.1
-A INPUT -s 16909060
-A INPUT -s 10.1.2.3.4
-A INPUT -s any/0
-A INPUT -s 1.2.3.4/0xff
-A INPUT -s 1.2.3.4/255.0xff.0.0
-A INPUT -s 1.2.3.4/08
-A INPUT -s 1.2.3.4/
-A INPUT -s 1.2.3.4/255
-A INPUT -s localhost
-A INPUT -p tcp --tcp-flags all none
-A INPUT -p tcp --tcp-flags SYN,ack SYN
-A INPUT -m mark --mark 0x10/010
-A INPUT -m mark --mark 4294967295
-A INPUT -m addrtype --dst-type local,Broadcast
-A INPUT -m dscp --dscp-class af11
-A INPUT -m tos --tos minimize-delay
-A INPUT -m length --length :100
-A INPUT -m iprange --src-range 192.0.2.1
-A INPUT -m ttl --ttl 3
-A INPUT -m limit --limit 5/min --limit-burst 10
-A INPUT -f
-A INPUT ! -i +
-A INPUT -g INPUT2
-I INPUT -j ACCEPT
-I INPUT 1 -j ACCEPT
-D INPUT 1
-A INPUT -p tcp --dport 80 --dport 90
-A INPUT -j ACCEPT -j DROP
-A INPUT -p tcp --dport 90:80
-A INPUT -p tcp --dport 65536
-A INPUT -p 256
-A INPUT -s 10.0.0.0/33
-A INPUT -s 10.0.0.256
-A INPUT -s 2001:db8::1
-A INPUT -i averyveryverylongname
-A INPUT -m state --state NEWW
-A INPUT -p icmp --icmp-type nothing
-A INPUT -p tcp --tcp-flags SYN
-A INPUT -p tcp --tcp-flags SYN,ABC SYN
-A INPUT -m limit ! --limit 5/min
-A INPUT -m addrtype --dst-type here
-A INPUT -m iprange --src-range 192.0.2.9-192.0.2.1
-A INPUT -m mac --mac-source 00:11:22:33:44
-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
-A INPUT -j
-A INPUT # why
-A INPUT –p tcp
-A INPUT ! -j DROP
-A INPUT -m comment --comment 'a b'
-A INPUT --dport 80
-A INPUT -p tcp --src-range 192.0.2.1-192.0.2.2
"""


@pytest.mark.parametrize("line", _LINES.strip().splitlines())
def test_the_reader_refuses_what_iptables_refuses(line: str, load: Load) -> None:
    text = f"*filter\n:INPUT2 - [0:0]\n-A INPUT -m mark --mark 7\n{line}\nCOMMIT\n"
    ruleset, diagnostics = read(Source("line", text), Family.IPV4)
    refused = any(fault.severity is Severity.ERROR for fault in diagnostics)
    listing, message = load(text, "iptables", "legacy")
    assert refused == (listing is None), (message, diagnostics)
    if not refused:
        assert load(write(ruleset), "iptables", "legacy")[0] == listing


@pytest.mark.parametrize(("words", "refused"), [(WORDS_MAXIMUM, False), (WORDS_MAXIMUM + 1, True)])
def test_a_line_holds_so_many_words(words: int, refused: bool, load: Load) -> None:
    line = " ".join(["-A INPUT", *["-v"] * (words - 2)])
    text = f"*filter\n{line}\nCOMMIT\n"
    _, diagnostics = read(Source("line", text), Family.IPV4)
    assert [fault.severity for fault in diagnostics] == [Severity.ERROR] * refused
    assert (load(text, "iptables", "legacy")[0] is None) == refused
