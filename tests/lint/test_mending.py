"""Rules found where they are written, changed as text, and put into their chains."""

from __future__ import annotations

import pytest

from notrack.lint.fixes import edited
from notrack.lint.mending import (
    ACCEPT,
    NOTRACK,
    UNTRACKED,
    Body,
    Edits,
    Wording,
    Written,
    after,
    all_written,
    answered,
    appended,
    before,
    deleted,
    find,
    rewritten,
)
from notrack.lint.mending.arguments import Flavour
from notrack.lint.mending.nft_body import NftBody
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.packets.address import Family
from notrack.ruleset.core import Hook
from notrack.ruleset.formats import Reading, read_all
from notrack.text.source import Source


def restore(text: str) -> XtablesBody:
    return XtablesBody(text, Flavour.RESTORE, Family.IPV6 if "v6" in text else Family.IPV4)


def shell(text: str) -> XtablesBody:
    return XtablesBody(text, Flavour.SHELL, Family.IPV4)


def text_of(body: Body | None) -> str | None:
    return None if body is None else body.text


# Mirrors.


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("-A PREROUTING -p udp --dport 53 -j NOTRACK", "-A OUTPUT -p udp --sport 53 -j NOTRACK"),
        (
            "-A PREROUTING -s 10.0.0.0/8 ! -d 10.0.0.1  -i eth0 -p tcp -m tcp --dport 80:90 -j CT --notrack",
            "-A OUTPUT -d 10.0.0.0/8 ! -s 10.0.0.1  -o eth0 -p tcp -m tcp --sport 80:90 -j CT --notrack",
        ),
        (
            "-I PREROUTING --source=10.0.0.1 -p tcp --destination-port=80 --jump CT --notrack",
            "-I OUTPUT --destination=10.0.0.1 -p tcp --source-port=80 --jump CT --notrack",
        ),
        ("-A PREROUTING -s10.0.0.1 -j NOTRACK", "-A OUTPUT -d10.0.0.1 -j NOTRACK"),
        (
            '-A PREROUTING -p udp -m multiport --dports 53,123 -m comment --comment "a --dport" -j NOTRACK',
            '-A OUTPUT -p udp -m multiport --sports 53,123 -m comment --comment "a --dport" -j NOTRACK',
        ),
        (
            "-A PREROUTING -m set --match-set a src,dst,dst -m addrtype --dst-type LOCAL -j CT --notrack",
            "-A OUTPUT -m set --match-set a dst,src,src -m addrtype --src-type LOCAL -j CT --notrack",
        ),
        (
            "-A PREROUTING -p icmp -m icmp --icmp-type 8/0 -j NOTRACK",
            "-A OUTPUT -p icmp -m icmp --icmp-type 0/0 -j NOTRACK",
        ),
        (
            "-A PREROUTING -p icmpv6 --icmpv6-type echo-request -j NOTRACK",
            "-A OUTPUT -p icmpv6 --icmpv6-type echo-reply -j NOTRACK",
        ),
        (
            "-A PREROUTING -m iprange --src-range 10.0.0.1-10.0.0.9 -p udp -j NOTRACK",
            "-A OUTPUT -m iprange --dst-range 10.0.0.1-10.0.0.9 -p udp -j NOTRACK",
        ),
        (
            "-A INPUT -p udp --dport 53 -m conntrack --ctstate NEW,ESTABLISHED,UNTRACKED -j ACCEPT",
            "-A OUTPUT -p udp --sport 53 -m conntrack --ctstate ESTABLISHED,UNTRACKED -j ACCEPT",
        ),
    ],
)
def test_mirrors_of_iptables(rule: str, wanted: str) -> None:
    body = restore(rule)
    mirror = body.mirrored(Hook.OUTPUT)
    assert text_of(mirror) == wanted
    if mirror is not None and "NEW" not in rule:
        chain = body.rule.chain if body.rule else ""
        assert text_of(mirror.mirrored(Hook[chain])) == rule


@pytest.mark.parametrize(
    "rule",
    [
        "-A PREROUTING -p tcp --syn -j NOTRACK",
        "-A PREROUTING -p tcp --dport 80 -m limit --limit 5/s -j NOTRACK",
        "-A PREROUTING -m mac --mac-source 00:11:22:33:44:55 -j NOTRACK",
        "-A PREROUTING -m mark --mark 1 -j NOTRACK",
        "-A PREROUTING -p icmp --icmp-type destination-unreachable -j NOTRACK",
        "-A PREROUTING -p udp --dport 53 -j other",
        "-A PREROUTING -p udp --dport 53 -j CT --zone 1",
        "-A PREROUTING -m unheard --of 1 -j NOTRACK",
        "-I PREROUTING 3 -p udp --dport 53 -j NOTRACK",
        "-D PREROUTING -p udp --dport 53 -j NOTRACK",
        "-A PREROUTING -p udp --dport -j NOTRACK",
        "nothing at all",
    ],
)
def test_what_has_no_certain_mirror(rule: str) -> None:
    assert restore(rule).mirrored(Hook.OUTPUT) is None


def test_a_hook_that_does_not_know_the_interface() -> None:
    body = restore("-A PREROUTING -i eth0 -p udp --dport 53 -j NOTRACK")
    assert body.mirrored(Hook.PREROUTING) is None
    assert body.mirrored(Hook.OUTPUT) is not None
    assert restore("-A PREROUTING -s 10.0.0.1 -j NOTRACK").mirrored(Hook.PREROUTING) is not None


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            'sudo $IPT -w -t raw -A PREROUTING -s "$LAN" -p $proto --dport ${p} -j NOTRACK 2>/dev/null',
            'sudo $IPT -w -t raw -A OUTPUT -d "$LAN" -p $proto --sport ${p} -j NOTRACK 2>/dev/null',
        ),
        (
            "/sbin/iptables -t raw -A PREROUTING \\\n  -p udp --dport 53 \\\n  -j NOTRACK",
            "/sbin/iptables -t raw -A OUTPUT \\\n  -p udp --sport 53 \\\n  -j NOTRACK",
        ),
        ("iptables -t raw -A PREROUTING $OPTIONS -p udp --dport 53 -j NOTRACK", None),
        ("iptables -t raw -A PREROUTING -p udp $MORE --dport 53 -j NOTRACK", None),
    ],
)
def test_mirrors_in_scripts(rule: str, wanted: str | None) -> None:
    assert text_of(shell(rule).mirrored(Hook.OUTPUT)) == wanted


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("udp dport 53 notrack", "udp sport 53 notrack"),
        (
            'iifname "eth0" ip saddr { 10.0.0.1, $web } udp dport != 53 counter packets 3 bytes 4 notrack',
            'oifname "eth0" ip daddr { 10.0.0.1, $web } udp sport != 53 counter packets 3 bytes 4 notrack',
        ),
        (
            'ip6 daddr . tcp dport @pairs notrack comment "tcp dport"',
            'ip6 saddr . tcp sport @pairs notrack comment "tcp dport"',
        ),
        ("fib daddr . iif type local th dport 53 accept", "fib saddr . oif type local th sport 53 accept"),
        ("icmp type echo-request notrack", "icmp type echo-reply notrack"),
        ("meta l4proto { tcp, udp } th dport 53 notrack", "meta l4proto { tcp, udp } th sport 53 notrack"),
        (
            "tcp dport 80 ct state { new, untracked } accept",
            "tcp sport 80 ct state { established, untracked } accept",
        ),
        ("tcp dport vmap { 80 : accept, 81 : drop }", "tcp sport vmap { 80 : accept, 81 : drop }"),
        ("tcp flags syn tcp dport 80 notrack", None),
        ("udp dport 53 limit rate 5/second notrack", None),
        ("udp dport 53 jump other", None),
        ("meta mark 5 notrack", None),
        ("udp dport 53 unheard of", None),
    ],
)
def test_mirrors_of_nft(rule: str, wanted: str | None) -> None:
    assert text_of(NftBody(rule).mirrored(Hook.OUTPUT)) == wanted


# Changes.


def test_changes_of_iptables() -> None:
    body = restore('-A INPUT -j CT  --notrack -p udp --dport 53 -m comment --comment "a  b"')
    assert text_of(body.acting(ACCEPT)) == '-A INPUT -j ACCEPT -p udp --dport 53 -m comment --comment "a  b"'
    assert text_of(body.narrowed(UNTRACKED)) == f"{body.text} -m conntrack --ctstate UNTRACKED"
    body = restore("-A INPUT -p tcp -m conntrack --ctstate NEW,INVALID --ctdir ORIGINAL -j ACCEPT")
    states = Wording("--ctstate", "ct state")
    assert text_of(body.asking(states, Wording("NEW", "new"))) == body.text.replace("NEW,INVALID", "NEW")
    assert text_of(body.without(states)) == body.text.replace(" --ctstate NEW,INVALID", "")
    alone = restore("-A INPUT -m conntrack ! --ctstate NEW -j ACCEPT")
    assert text_of(alone.without(states)) == "-A INPUT -j ACCEPT"
    assert text_of(alone.moved("filter", "FORWARD")) == alone.text.replace("INPUT", "FORWARD")
    assert text_of(alone.instead(Wording("-p icmp -j DROP", None))) == "-A INPUT -p icmp -j DROP"
    assert alone.without(Wording("--dport", "tcp dport")) is None
    assert alone.acting(Wording(None, "accept")) is None


def test_changes_in_scripts() -> None:
    body = shell("$IPT -A INPUT -p udp --dport $p -j ACCEPT >> log")
    assert text_of(body.moved("raw", "PREROUTING")) == body.text.replace("-A INPUT", "-t raw -A PREROUTING")
    assert text_of(body.acting(NOTRACK)) == body.text.replace("-j ACCEPT", "-j CT --notrack")
    raw = shell("iptables -t raw -A PREROUTING -p udp --dport 53 -j NOTRACK")
    assert text_of(raw.moved("filter", "INPUT")) == raw.text.replace("raw -A PREROUTING", "filter -A INPUT")


def test_changes_of_nft() -> None:
    body = NftBody('udp dport 53 ct state new  counter packets 1 bytes 2 accept comment "x"')
    states = Wording("--ctstate", "ct state")
    assert text_of(body.acting(NOTRACK)) == body.text.replace("accept", "notrack")
    assert text_of(body.narrowed(Wording(None, "tcp flags syn"))) == body.text.replace(
        "new", "new tcp flags syn"
    )
    assert text_of(body.without(states)) == body.text.replace(" ct state new", "")
    assert text_of(body.asking(states, Wording(None, "{ new, untracked }"))) == body.text.replace(
        "state new", "state { new, untracked }"
    )
    assert body.fresh().text == body.text.replace(" packets 1 bytes 2", "")
    assert text_of(NftBody("accept").narrowed(UNTRACKED)) == "ct state untracked accept"
    assert NftBody("ct state new").without(states) is None, "a rule says something"
    assert text_of(NftBody("notrack accept").acting(Wording(None, "drop"))) == "drop"


# Places.


def written(text: str, part: str, name: str = "rules.v4") -> tuple[Reading, Written]:
    """The rule whose text holds `part`."""
    reading = read_all((Source(name, text),))
    (found,) = (
        one for document in reading.documents for one in all_written(document) if part in one.body.text
    )
    return reading, found


def applied(text: str, edits: Edits | None) -> str:
    assert edits is not None
    return edited(text, edits)


RAW = "*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"


def test_every_rule_of_the_core_is_found() -> None:
    text = (
        "#!/bin/sh\nfor p in 1 2; do iptables -A INPUT -p tcp --dport $p -j ACCEPT; done\n"
        "f() { iptables -A INPUT -p udp --dport $1 -j ACCEPT; }\nf 5\nf 6\n"
        "iptables-restore -n <<E\n*raw\n-A OUTPUT -p udp --sport 5 -j NOTRACK\nCOMMIT\nE\n"
        "nft -f - <<E\ntable ip t {\n chain c {\n  udp dport 7 accept\n }\n}\nE\n"
        "nft add rule ip t c udp dport 8 accept\n"
    )
    reading = read_all((Source("a.sh", text),))
    rules = [rule for table in reading.ruleset.tables for chain in table.chains for rule in chain.rules]
    assert len(rules) == 7
    found = [find(reading.documents, rule) for rule in rules]
    assert [one.body.text.count("5") for one in found if one] and None not in found
    assert len({one.span for one in found if one}) == 5


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mirror_on_the_next_line(end: str) -> None:
    text = RAW.format(rule="[3:180] -A PREROUTING -p udp --dport 53 -j NOTRACK").replace("\n", end)
    reading, rule = written(text, "PREROUTING")
    body = rule.body.mirrored(Hook.OUTPUT)
    assert body is not None
    made = applied(text, answered(reading.documents, rule, body, Hook.OUTPUT))
    line = f"[3:180] -A PREROUTING -p udp --dport 53 -j NOTRACK{end}"
    assert made == text.replace(line, f"{line}[0:0] -A OUTPUT -p udp --sport 53 -j NOTRACK{end}")


def test_beside_a_rule_in_the_order_in_which_packets_meet_them() -> None:
    for command, first in (("-A", False), ("-I", True)):
        line = f"{command} PREROUTING -p udp --dport 53 -j NOTRACK"
        text = RAW.format(rule=line)
        _, rule = written(text, "53")
        body = rule.body.instead(Wording("-j ACCEPT", None))
        assert body is not None
        new = f"{command} PREROUTING -j ACCEPT"
        above, below = text.replace(line, f"{new}\n{line}"), text.replace(line, f"{line}\n{new}")
        assert applied(text, after(rule, body)) == (above if first else below)
        assert applied(text, before(rule, body)) == (below if first else above)
        assert after(rule, restore("-A OTHER -j ACCEPT")) is None


def test_a_rule_at_the_end_of_a_chain() -> None:
    text = (
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n# x\n-A FORWARD -j DROP\nCOMMIT\n*raw\nCOMMIT"
    )
    reading, _ = written(text, "lo")
    (filtering, raw) = reading.ruleset.tables
    chain = filtering.chain("INPUT")
    output = raw.chain("OUTPUT")
    assert chain is not None and output is not None
    rule = Wording("-p icmp -j ACCEPT", "meta l4proto icmp accept")
    made = applied(text, appended(reading.documents, filtering, chain, rule))
    assert made == text.replace("lo -j ACCEPT\n", "lo -j ACCEPT\n-A INPUT -p icmp -j ACCEPT\n")
    made = applied(text, appended(reading.documents, raw, output, Wording("-j NOTRACK", None)))
    assert made == text.replace("*raw\n", "*raw\n-A OUTPUT -j NOTRACK\n")


NFT = """table inet raw {
  chain pre {
    type filter hook prerouting priority raw; policy accept;
    udp dport 53 notrack  # dns
  }
}
"""


def test_an_answer_in_a_new_chain_of_nft() -> None:
    reading, rule = written(NFT, "53", "a.nft")
    body = rule.body.mirrored(Hook.OUTPUT)
    assert body is not None
    made = applied(NFT, answered(reading.documents, rule, body, Hook.OUTPUT))
    assert made == NFT.replace(
        "  }\n}",
        "  }\n  chain output {\n    type filter hook output priority raw; policy accept;\n"
        "    udp sport 53 notrack\n  }\n}",
    )
    reading, rule = written(made, "dport", "a.nft")
    body = rule.body.mirrored(Hook.OUTPUT)
    assert body is not None
    again = applied(made, answered(reading.documents, rule, body, Hook.OUTPUT))
    assert again.count("udp sport 53 notrack\n") == 2 and again.count("chain") == 2


def test_rules_beside_rules_of_nft() -> None:
    _, rule = written(NFT, "53", "a.nft")
    new = NftBody("tcp dport 80 notrack")
    assert applied(NFT, after(rule, new)) == NFT.replace("# dns\n", "# dns\n    tcp dport 80 notrack\n")
    assert applied(NFT, before(rule, new)) == NFT.replace("    udp", "    tcp dport 80 notrack\n    udp")
    assert applied(NFT, deleted(rule)) == NFT.replace("udp dport 53 notrack  ", "")
    line = "table ip t { chain c { udp dport 53 accept; tcp dport 80 accept; }\n}\n"
    _, rule = written(line, "53", "a.nft")
    assert applied(line, after(rule, NftBody("drop"))) == line.replace("; tcp", "; drop; tcp")
    assert applied(line, before(rule, NftBody("drop"))) == line.replace("{ udp", "{ drop; udp")
    assert applied(line, deleted(rule)) == line.replace("udp dport 53 accept; ", "")


def test_commands_of_nft() -> None:
    text = "add table ip t\nadd chain ip t c { type filter hook input priority 0; }\n"
    text += "add rule ip t c udp dport 53 accept"
    _, rule = written(text, "53", "a.nft")
    assert applied(text, after(rule, NftBody("drop"))) == f"{text}\nadd rule ip t c drop"
    assert applied(text, deleted(rule)) == text[: text.rindex("\n")]
    text = text.replace("add rule", "insert rule")
    _, rule = written(text, "53", "a.nft")
    assert applied(text, before(rule, NftBody("drop"))) == f"{text}\ninsert rule ip t c drop"


SCRIPT = """#!/bin/sh
LAN=10.0.0.0/8
for p in 53 123; do
\tiptables -t raw -A PREROUTING -s $LAN -p udp --dport $p -j NOTRACK  # requests
done
iptables -A INPUT -p udp --dport 53 -j ACCEPT || exit 1
"""


def test_commands_of_scripts() -> None:
    reading, rule = written(SCRIPT, "raw", "a.sh")
    body = rule.body.mirrored(Hook.OUTPUT)
    assert body is not None
    mirror = "\tiptables -t raw -A OUTPUT -d $LAN -p udp --sport $p -j NOTRACK\n"
    made = applied(SCRIPT, answered(reading.documents, rule, body, Hook.OUTPUT))
    assert made == SCRIPT.replace("# requests\n", f"# requests\n{mirror}")
    assert deleted(rule) is None, "a loop needs a body"
    _, rule = written(SCRIPT, "INPUT", "a.sh")
    assert after(rule, rule.body) is None, "something hangs on its success"
    assert deleted(rule) is None
    changed = rule.body.acting(Wording("-j DROP", None))
    assert changed is not None
    assert applied(SCRIPT, rewritten(rule, changed)) == SCRIPT.replace("ACCEPT ||", "DROP ||")


def test_text_that_a_script_loads() -> None:
    text = (
        "#!/bin/sh\nLAN=10.0.0.0/8\niptables-restore <<E\n*raw\n"
        "-A PREROUTING -s $LAN -p udp --dport 53 -j NOTRACK\nCOMMIT\nE\n"
    )
    _, rule = written(text, "53", "a.sh")
    changed = rule.body.acting(NOTRACK)
    assert changed is not None
    assert applied(text, rewritten(rule, changed)) == text.replace("-j NOTRACK", "-j CT --notrack")
    assert applied(text, deleted(rule)) == text.replace(text[text.index("-A") : text.index("COMMIT")], "")
    body = rule.body.instead(Wording("-s $X -j ACCEPT", None))
    assert body is None or after(rule, body) is None, "the script would take it for a variable"


def test_nft_commands_of_a_script_are_changed_where_they_stand_alone() -> None:
    text = "#!/bin/sh\nnft add rule ip t c udp dport 53 accept\nnft 'add rule ip t c tcp dport 80 accept'\n"
    for port in ("53", "80"):
        _, rule = written(text, port, "a.sh")
        dropped = rule.body.acting(Wording(None, "drop"))
        quoted = rule.body.instead(Wording(None, 'iifname "lo" accept'))
        assert dropped is not None and quoted is not None
        assert applied(text, rewritten(rule, dropped)) == text.replace(f"{port} accept", f"{port} drop")
        assert rewritten(rule, quoted) is None
        assert after(rule, dropped) is None and before(rule, dropped) is None and deleted(rule) is None


def test_a_rule_at_the_end_of_a_chain_that_a_script_fills() -> None:
    text = "#!/bin/sh\niptables -A INPUT -i lo -j ACCEPT\n{}\niptables -A OUTPUT -j ACCEPT\n"
    rule = Wording("-p icmp -j ACCEPT", None)
    for last, line in (
        ("iptables -A INPUT -j DROP", "iptables -A INPUT -p icmp -j ACCEPT\n"),
        ("for p in 1 2; do iptables -A INPUT -p tcp --dport $p -j DROP; done", None),
        ("[ -e x ] && iptables -A INPUT -j DROP", None),
    ):
        script = text.format(last)
        reading, _ = written(script, "lo", "a.sh")
        (table,) = reading.ruleset.tables
        chain = table.chain("INPUT")
        assert chain is not None
        edits = appended(reading.documents, table, chain, rule)
        if line is None:
            assert edits is None
        else:
            assert applied(script, edits) == script.replace(f"{last}\n", f"{last}\n{line}")
