"""The readers of ipsets and of direct rules never fall over: mutations of real texts, and noise."""

from __future__ import annotations

import os
import random

from notrack.packets.address import Family
from notrack.ruleset.formats import document, in_force, read_all
from notrack.ruleset.ipset.reader import read as read_sets
from notrack.ruleset.ipset.tree import in_force as sets_in_force
from notrack.ruleset.ipset.tree import write
from notrack.ruleset.recognition import families, recognised
from notrack.ruleset.xtables.direct import read as read_direct
from notrack.text.render import render
from notrack.text.source import Source

SOAK = 10 if os.environ.get("NOTRACK_SOAK") == "1" else 1
INPUTS = 5_000 * SOAK
SEED = 20261121
SETS = """\
create bad hash:ip family inet hashsize 1024 maxelem 65536 timeout 300 netmask 24
add bad 192.0.2.1 timeout 20
create web hash:ip,port family inet6 counters comment
add web 2001:db8::1,tcp:80 packets 0 bytes 0 comment "the old one"
add web 2001:db8::1,icmpv6:128/0 timeout 0
create net hash:net,port
add net 10.0.0.0/8,udp:1-5 nomatch
create dev hash:net,iface
add dev 10.0.0.0/8,physdev:eth0 wildcard
create ports bitmap:port range 0-65535
add ports 80-90
create mac bitmap:ip,mac range 10.0.0.0/24
add mac 10.0.0.1,02:00:00:00:00:01
create all list:set size 8
add all bad
add all net
swap bad all
"""
LISTING = """\
Name: bad
Type: hash:net
Revision: 7
Header: family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x93f15aea
Size in memory: 256
References: 2
Number of entries: 1
Members:
192.0.2.0/24 nomatch
"""
DIRECT = """\
<?xml version="1.0" encoding="utf-8"?>
<direct>
  <chain ipv="ipv4" table="raw" chain="mine"/>
  <rule ipv="ipv4" table="raw" chain="PREROUTING" priority="0">-p udp --dport 53 -j NOTRACK</rule>
  <passthrough ipv="ipv6">-t filter -I INPUT -m comment --comment &quot;a b&quot; -j ACCEPT</passthrough>
</direct>
"""
LINES = "ipv4 raw PREROUTING 0 -p udp --dport 53 -j NOTRACK\neb filter INPUT 1 -j ACCEPT\n"
MATCHES = "".join(
    f"-A INPUT -m set {sign}--match-set {name} {sides} -j ACCEPT\n"
    for name in ("bad", "web", "net", "dev", "ports", "mac", "all", "nobody")
    for sides in ("src", "dst,src", "src,dst,dst")
    for sign in ("", "! ")
)
RULES = f"*filter\n{MATCHES}-A INPUT -j SET --add-set bad src\nCOMMIT\n"
_PLAIN = """
hash:ip hash: : bitmap:ip,mac,x list:set family inet6 timeout -1 0 99999999999 nomatch \" ' &lt; &#x; <rule />
</rule> ipv= $x é , - /0 /33 tcp: icmp: gre:0 ::/0 10.0.0.1-10.0.0.0 Members: Name: swap rename destroy flush
-exist [a-b]
"""
WORDS = [*_PLAIN.split(), "\t", "\n", "\0"]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        end = min(end, at + 40)
        match rng.randint(0, 3):
            case 0:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 1:
                text = text[:at] + text[end:]
            case 2:
                text = f"{text[:at]} {rng.choice(WORDS)} {text[end:]}"
            case _:
                text = text[:end] + text[at:]
    return text


def test_no_text_of_sets_brings_the_reader_down() -> None:
    rng = random.Random(SEED)
    rules = document(Source("rules", RULES), Family.IPV4)
    for _ in range(INPUTS):
        text = mutated(rng.choice((SETS, LISTING, SETS + LISTING)), rng)
        made, problems = read_sets(Source("sets", text))
        for problem in problems:
            assert render(problem)
        again, _ = read_sets(Source("again", write(made)))
        assert sets_in_force(again.lines) == sets_in_force(made.lines), text
        if rng.random() < 0.1:
            found = document(Source("sets", text))
            for family in Family:
                in_force((found, rules if family is Family.IPV4 else document(rules.source, family)))


def test_no_direct_rules_bring_the_reader_down() -> None:
    rng = random.Random(SEED)
    for _ in range(INPUTS):
        text = mutated(rng.choice((DIRECT, LINES)), rng)
        _, problems = read_direct(Source("direct.xml", text))
        for problem in problems:
            assert render(problem)
        if rng.random() < 0.1:
            read_all((Source("direct.xml", text),))


def test_no_text_brings_the_recognition_down() -> None:
    rng = random.Random(SEED)
    for _ in range(INPUTS):
        text = mutated(rng.choice((SETS, LISTING, DIRECT, LINES, RULES)), rng)
        recognised(text)
        families(text, "rules")
