"""Which commands are recognised, however they are called."""

from __future__ import annotations

import pytest

from notrack.packets.address import Family
from notrack.ruleset.nft.state import in_force
from notrack.ruleset.shell.actions import NftText, Other, RestoreText, XtablesCommand
from notrack.ruleset.shell.rulesets import as_rulesets, is_certain, lowered
from notrack.ruleset.xtables.tree import Command, Rule
from notrack.text.diagnostic import Severity
from tests.ruleset.shell.reading import messages, policies, ports, rules, script

RULE = "-A INPUT -p tcp --dport 1 -j ACCEPT"


@pytest.mark.parametrize(
    "call",
    [
        "iptables",
        "/sbin/iptables",
        "/usr/sbin/iptables -w",
        "iptables -w 5 -W 10",
        "iptables --wait=3",
        "sudo iptables",
        "sudo -n -u root -- /sbin/iptables",
        "command iptables",
        "env -i A=b iptables",
        "A=b B=c iptables",
        "nice iptables",
        "busybox iptables",
        "xtables-multi iptables",
        "exec iptables",
        "iptables -t filter",
        "iptables -tfilter",
        "iptables --table=filter",
        "iptables -v",
        "iptables -4",
        "sudo env X=y timeout -k 1 5 nohup iptables",
    ],
)
def test_iptables_by_many_names(call: str) -> None:
    (action,) = script(f"{call} {RULE}\n").actions
    assert isinstance(action, XtablesCommand)
    assert (action.family, action.table, action.backend) == (Family.IPV4, "filter", None)
    assert rules(f"{call} {RULE}\n") == ["-A INPUT -p tcp -m tcp --dport 1 -j ACCEPT"]


def test_the_name_tells_family_and_backend() -> None:
    names = ["ip6tables", "iptables-legacy", "ip6tables-nft", "xtables-nft-multi iptables", "ip46tables"]
    actions = [action for name in names for action in script(f"{name} {RULE}\n").actions]
    found = [(action.family, action.backend) for action in actions if isinstance(action, XtablesCommand)]
    assert found[:3] == [(Family.IPV6, None), (Family.IPV4, "legacy"), (Family.IPV6, "nft")]
    assert found[-2:] == [(Family.IPV4, None), (Family.IPV6, None)]


def test_flags_may_share_a_dash() -> None:
    for words in ("-nvL INPUT", "-nL", "-vnxL --line-numbers", "-L -n -v", "-S", "-nvL -t nat"):
        (action,) = script(f"iptables {words}\n").actions
        assert isinstance(action, XtablesCommand)
        assert isinstance(action.line, Command), words
        assert action.line.name in ("-L", "-S")


def test_what_matters_and_is_no_rule_is_kept() -> None:
    text = """modprobe nf_conntrack hashsize=1024
sysctl -w net.netfilter.nf_conntrack_max=100
conntrack -F
echo 5 > /proc/sys/net/netfilter/nf_conntrack_max
ipset create bad hash:ip
ipset add bad 192.0.2.1
service iptables save
ufw enable
ssh root@gw 'iptables -F'
ip netns exec blue iptables -F
nft list ruleset
"""
    found = [(action.kind, action.words) for action in script(text).actions if isinstance(action, Other)]
    assert found == [
        ("module", ("modprobe", "nf_conntrack", "hashsize=1024")),
        ("sysctl", ("sysctl", "-w", "net.netfilter.nf_conntrack_max=100")),
        ("conntrack", ("conntrack", "-F")),
        ("setting", ("/proc/sys/net/netfilter/nf_conntrack_max", "5")),
        ("ipset", ("ipset", "create", "bad", "hash:ip")),
        ("ipset", ("ipset", "add", "bad", "192.0.2.1")),
        ("service", ("service", "iptables", "save")),
        ("frontend", ("ufw", "enable")),
        ("elsewhere", ("ssh", "root@gw", "iptables -F")),
        ("elsewhere", ("ip", "netns", "exec", "blue", "iptables", "-F")),
        ("query", ("nft", "list", "ruleset")),
    ]
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('eval "iptables -F"', "not evaluated: `eval`"),
        ("run iptables -F", "not evaluated: what `run` does with a firewall command"),
        ("echo x | xargs iptables -F", "not evaluated: what `xargs` does with a firewall command"),
        ("firewall-cmd --reload", "not evaluated: what `firewall-cmd` does to the rules"),
        ("iptable -F INPUT", "no command `iptable`"),
        ("iptables-restore < /etc/none", "not evaluated: the text that this loads is not known"),
        ("nft -f /etc/none", "not evaluated: the text that this loads is not known"),
        ("iptables -A $CHAIN -j DROP", "not evaluated: which rule or chain this is about"),
        ("ssh h iptables -F", "not evaluated: `ssh` runs this elsewhere, not on this host's own tables"),
        ("iptables-apply /etc/x", "not evaluated: what `iptables-apply` loads"),
        ("[ a = b", "this `[` is never closed by `]`"),
    ],
)
def test_what_is_not_evaluated_is_a_warning(text: str, message: str) -> None:
    found = [one for one in script(text + "\n").diagnostics if one.message == message]
    assert len(found) == 1
    assert found[0].span is not None
    assert found[0].severity is (Severity.INFO if "eval`" in message else Severity.WARNING)


def test_harmless_commands_are_passed_in_silence() -> None:
    assert messages("sleep 1; logger x; mkdir -p /run/x; echo done; cd /; touch /run/x/y; rm -f z\n") == []
    assert messages("frobnicate\n") == [("not evaluated: `frobnicate`", "frobnicate")]


def test_a_rule_keeps_what_is_certain_beside_what_is_not() -> None:
    (line,) = rules("iptables -A INPUT -s $IP -p tcp --dport 22 $OPTS -m comment --comment x -j ACCEPT\n")
    assert line.startswith("-A INPUT -p tcp -m tcp --dport 22 -m comment --comment x -m shell ")
    assert line.endswith("-j ACCEPT")
    (outline,) = rules("iptables -A INPUT -p $PROTO --dport 22 -j ACCEPT\n")
    assert outline.startswith("-A INPUT -m shell ")
    assert outline.endswith("-j ACCEPT")
    (target,) = rules("iptables -A INPUT -p tcp -j $TARGET\n")
    assert target == "-A INPUT -p tcp -j $TARGET"
    (option,) = rules("iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to-source $IP\n", table="nat")
    assert option == "-A POSTROUTING -o eth0 -j $SNAT --to-source $IP"


def test_equal_unknowns_are_equal_and_others_are_not() -> None:
    text = "IP=$(cat x)\niptables -A INPUT -s $IP -j DROP\niptables -D INPUT -s $IP -j DROP\n"
    assert rules(text) == []
    again = text.replace("iptables -D", "IP=$(cat x)\niptables -D")
    assert len(rules(again)) == 1


def test_unknown_lines_of_a_restore_text() -> None:
    lines = "-A INPUT -s $IP --dport 1 -j DROP\n-A INPUT -s $IP -j DROP\n$MORE\n-A INPUT -j LOG\n"
    text = f"iptables-restore <<E\n*filter\n:INPUT DROP\n{lines}COMMIT\nE\n"
    (action,) = script(text).actions
    assert isinstance(action, RestoreText)
    assert not action.complete
    first, second, last = rules(text)
    assert first.startswith("-A INPUT -m shell ")
    assert second.startswith("-A INPUT -m shell -s ")
    assert last == "-A INPUT -j LOG"
    assert policies(text)["INPUT"] == "DROP"
    assert not [found for found in script(text).diagnostics if found.severity is Severity.ERROR]


def test_restore_options() -> None:
    body = "<<E\n*filter\n-A INPUT -p tcp --dport 2\nCOMMIT\nE\n"
    before = "iptables -A INPUT -p tcp --dport 1\n"
    assert ports(f"{before}iptables-restore {body}") == ["2"]
    for option in ("-n", "--noflush", "-cn", "-w 5 -n", "--noflush --counters"):
        assert ports(f"{before}iptables-restore {option} {body}") == ["1", "2"], option
    assert ports(f"{before}iptables-restore --test {body}") == ["1"]
    assert ports(f"{before}iptables-restore -T nat {body}") == ["1"]
    assert ports(f"{before}iptables-restore {body.replace('COMMIT', '')}") == ["1"]
    assert ports(f"{before}iptables-restore {body.replace('INPUT', 'NONE')}") == ["1"]


def test_files_that_the_loader_gives() -> None:
    files = {"/etc/v4": "*filter\n-A INPUT -p tcp --dport 2\nCOMMIT\n", "/etc/x.nft": "table ip x {\n}\n"}
    text = "iptables-restore /etc/v4\nnft -f /etc/x.nft\ncat /etc/v4 | iptables-restore -n\n"
    made = as_rulesets(script(text, files=files))
    assert len(list(made.of(Family.IPV4).rules())) == 2
    assert [state.name for state in in_force(made.nft)] == ["x"]


def test_nft_in_its_forms() -> None:
    text = """nft add table inet t
nft 'add chain inet t c { type filter hook input priority 0; policy drop; }; add rule inet t c accept'
nft -c add rule inet t c drop
nft -a -f - <<< "add rule inet t c counter"
nft bogus words here
if foo; then nft add rule inet t c drop; fi
"""
    made = script(text)
    faulty = [action.faulty for action in made.actions if isinstance(action, NftText)]
    assert faulty == [False, False, False, False, True, False]
    (state,) = in_force(as_rulesets(made).nft)
    assert len(state.rules["c"]) == 3
    core, _ = lowered(made)
    guards = [rule.guard for rule in core.tables[0].chains[0].rules]
    assert [len(guard) for guard in guards] == [0, 0, 1]


def test_a_flush_of_nft_that_may_run_makes_the_rest_uncertain() -> None:
    text = "nft add table ip t\nnft add chain ip t c\nnft add rule ip t c accept\nfoo && nft flush ruleset\n"
    (state,) = in_force(as_rulesets(script(text)).nft)
    (rule,) = state.rules["c"]
    assert len(rule.statements) == 2


def test_flush_ruleset_may_take_the_rules_of_iptables() -> None:
    text = "iptables -A INPUT -j DROP\nnft flush ruleset\n"
    found = as_rulesets(script(text))
    (rule,) = [line for _, line in found.of(Family.IPV4).rules()]
    assert isinstance(rule, Rule)
    assert not is_certain(rule)
    assert [one.message for one in found.diagnostics] == [
        "this removes the rules above where iptables is iptables-nft"
    ]
    legacy = as_rulesets(script(text.replace("iptables", "iptables-legacy")))
    assert all(is_certain(line) for _, line in legacy.of(Family.IPV4).rules())
    assert not as_rulesets(script(text.replace("iptables", "iptables-nft"))).of(Family.IPV4).tables


def test_both_backends_keep_their_own_tables() -> None:
    found = as_rulesets(script("iptables-nft -A INPUT -j DROP\niptables-legacy -A INPUT -j ACCEPT\n"))
    assert len(found.xtables) == 2
    core, _ = lowered(script("iptables-nft -A INPUT -j DROP\niptables-legacy -A INPUT -j ACCEPT\n"))
    assert len(core.tables) == 2


def test_conditions_are_equal_facts_in_the_core() -> None:
    text = "if foo; then iptables -A INPUT -j ACCEPT; else iptables -A INPUT -j DROP; fi\n"
    core, _ = lowered(script(text))
    chain = core.tables[0].chain("INPUT")
    assert chain is not None
    (one,), (other,) = chain.rules[0].guard, chain.rules[1].guard
    assert one != other
    assert str(one).replace("negated=False", "negated=True") == str(other)
