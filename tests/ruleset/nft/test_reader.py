# ruff: noqa: E101
"""Whole texts: blocks, commands, defines, includes, and what is said about faulty ones."""

from __future__ import annotations

import subprocess
import textwrap
from fnmatch import fnmatch

import pytest

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.reader import read
from notrack.ruleset.nft.writer import write
from notrack.text.diagnostic import Severity
from notrack.text.source import Source

WHOLE = """\
#!/usr/sbin/nft -f
# a host, as people write it
flush ruleset

define wan = eth0
define web = { 80, 443, 8000-8100 }
define prio = -10

table inet filter {
	comment "the host"
	set blocked {
		type ipv4_addr
		flags interval, timeout
		timeout 1h30m
		gc-interval 10s
		auto-merge
		elements = { 10.0.0.0/8, 192.168.1.1-192.168.1.9 timeout 30m comment "a range",
			     172.16.0.1 }  # trailing
	}
	set pairs {
		typeof ip saddr . tcp dport
		size 1024
		counter
	}
	map verdicts {
		type inet_service : verdict
		policy memory
		elements = { 22 : accept, 23 : jump other, 25 : goto other }
	}
	map twins {
		type ipv4_addr : interval ipv4_addr . inet_service
		flags interval
		elements = { 10.0.0.0/24 : 192.168.2.2-192.168.2.4 . 80 }
	}
	counter hits {
		packets 0 bytes 0
	}
	ct helper ftp {
		type "ftp" protocol tcp
		l3proto ip;
	}
	ct timeout short {
		protocol tcp;
		l3proto ip;
		policy = { established : 100, close : 4 }
	}
	chain other {
		# says nothing
		return
	}
	chain input {
		type filter hook input priority filter + 10
		policy accept

		iif lo accept; ct state { established, related } accept
		ct state vmap { invalid : drop,
			new : jump other }
		iifname $wan tcp dport $web counter packets 3 bytes 180 accept comment "web"
		ip saddr . \\
			tcp dport @pairs drop
		udp dport 53 limit rate 20/second burst 5 packets accept
	}
	chain pre { type filter hook prerouting priority raw - 5; policy accept;
		udp dport 53 notrack
	}
	chain early {
		type filter hook prerouting priority $prio; policy drop;
	}
}
table netdev edge {
	chain in {
		type filter hook ingress device lo priority -500;
	}
	chain ins {
		type filter hook ingress devices = { lo } priority -501;
	}
}
table arp a { chain x { type filter hook input priority 0; }; }
table bridge b {
	chain x {
		type filter hook prerouting priority dstnat;
		ether type ip6 drop
	}
}
add table ip x
delete table ip x
add table ip x
add chain ip x y { type nat hook postrouting priority srcnat; policy accept; }
create set ip x s { type ipv4_addr; flags dynamic; }
add element ip x s { 10.0.0.1, 10.0.0.2 }
add rule ip x y ip saddr @s masquerade
insert rule x y index 0 oifname "lo" accept
delete element ip x s { 10.0.0.1 }
flush chain ip x y
undefine web
"""


def test_a_whole_file_is_understood_and_survives_writing() -> None:
    tree, found = read(WHOLE)
    assert [f"{fault.span}: {fault.message}" for fault in found] == []
    assert read(write(tree)) == (tree, ())
    assert not any(isinstance(node, t.UnknownItem) for node in tree.commands)


def test_a_whole_file_lists_the_same_when_written_back(lab) -> None:
    original = lab.listing(WHOLE)
    assert "chain early" in original
    assert lab.listing(write(read(WHOLE)[0])) == original


def test_the_parts_of_a_table_can_be_asked_for() -> None:
    table = read(WHOLE)[0].tables[0]
    assert (table.family, table.name, table.comment) == ("inet", "filter", "the host")
    blocked, pairs, verdicts, twins = table.sets
    assert blocked.flags == ("interval", "timeout") and blocked.timeout == "1h30m" and blocked.auto_merge
    assert [element.comment for element in blocked.elements] == [None, "a range", None]
    assert isinstance(pairs.key, t.Typeof) and pairs.statements == (t.Counter(),)
    assert isinstance(verdicts, t.Map) and verdicts.data == t.Type(("verdict",))
    assert verdicts.elements[1].data == t.Verdict("jump", t.Value("other"))
    assert isinstance(twins, t.Map) and twins.data == t.Type(("ipv4_addr", "inet_service"), interval=True)
    chains = {chain.name: chain for chain in table.chains}
    base = chains["input"].base
    assert base is not None and base.priority == t.Priority(10, "filter")
    assert chains["pre"].base.priority == t.Priority(-5, "raw")
    assert chains["early"].base.priority == t.Priority(0, None, "prio")
    assert len(chains["input"].rules) == 6
    assert chains["input"].rules[3].comment == "web"
    assert chains["input"].rules[3].statements[2] == t.Counter(3, 180)


def test_every_rule_knows_its_place() -> None:
    tree, _ = read(Source("host.nft", WHOLE))
    rule = {chain.name: chain for chain in tree.tables[0].chains}["input"].rules[3]
    assert str(rule.span).startswith("host.nft:58:3")
    assert rule.span.text.startswith("iifname $wan") and rule.span.text.endswith('comment "web"')
    match = rule.statements[1]
    assert match.span.text == "tcp dport $web" and match.right.span.text == "$web"


def test_iptables_nft_tables_are_marked() -> None:
    text = """\
    # Warning: table ip raw is managed by iptables-nft, do not touch!
    table ip raw {
    	chain PREROUTING {
    		type filter hook prerouting priority raw; policy accept;
    		meta l4proto udp udp dport 53 counter packets 0 bytes 0 # xt_CT
    		udp dport 54 counter packets 0 bytes 0 xt target "CT"
    		# xt_CT
    	}
    }
    table ip mine {
    }
    """
    tree, found = read(textwrap.dedent(text))
    assert found == ()
    assert [table.owner for table in tree.tables] == ["iptables-nft", None]
    rules = tree.tables[0].chains[0].rules
    assert [rule.statements[-1] for rule in rules] == [t.Xt("target", "CT")] * 3
    assert read(write(tree)) == (tree, ())


def test_a_rule_goes_on_behind_the_warning_about_a_missing_extension() -> None:
    text = (
        "table ip nat {\n\tchain web {\n"
        "\t\tip protocol tcp counter packets 3 bytes 180 # Warning: XT target DNAT not found\n"
        'xt target "DNAT"\n'
        "\t\t# Warning: XT match owner not found\n"
        'xt match "owner" counter packets 0 bytes 0 return\n'
        "\t\tudp dport 53 return # Warning: not a rule\n"
        "\t\tudp dport 54 return\n"
        "\t}\n}\n"
    )
    tree, found = read(Source("host.nft", text))
    assert found == ()
    rules = tree.tables[0].chains[0].rules
    assert [len(rule.statements) for rule in rules] == [3, 3, 2, 2]
    assert rules[0].statements[-1] == t.Xt("target", "DNAT")
    assert rules[1].statements[0] == t.Xt("match", "owner")


def test_an_extension_of_which_only_the_name_is_listed_is_a_match_if_it_is_in_small_letters() -> None:
    text = (
        "table ip nat {\n\tchain web {\n\t\t# xt_addrtype counter jump local\n\t}\n\tchain local {\n\t}\n}\n"
    )
    tree, found = read(Source("host.nft", text))
    assert found == ()
    assert tree.tables[0].chains[0].rules[0].statements[0] == t.Xt("match", "addrtype")


def test_what_iptables_nft_makes_is_read_as_nft_lists_it(lab) -> None:
    script = (
        "iptables-nft -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack && "
        "iptables-nft -t raw -A OUTPUT -p udp --sport 53 -m string --string x --algo bm "
        "-j CT --zone 5 && nft list ruleset"
    )
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip("no iptables-nft here")
    tree, found = read(done.stdout)
    assert found == ()
    assert [table.owner for table in tree.tables] == ["iptables-nft"]


def test_flowtables_and_renamed_chains_are_understood() -> None:
    text = """\
    table inet x {
    	flowtable fast {
    		hook ingress priority filter; devices = { lo, $wan }
    		flags offload; counter
    	}
    }
    rename chain inet x y z
    delete flowtable inet x fast
    add flowtable ip x f { hook ingress priority 0; devices = { lo }; }
    """
    tree, found = read(textwrap.dedent(text))
    assert found == ()
    fast = tree.tables[0].items[0]
    assert isinstance(fast, t.Flowtable) and fast.counter and fast.flags == ("offload",)
    assert tree.commands[1] == t.Rename("x", "y", "z", "inet")
    assert tree.commands[2] == t.Remove("flowtable", "inet", "x", "fast")
    assert read(write(tree)) == (tree, ())


def test_handles_are_read() -> None:
    text = "table ip x { # handle 3\n\tchain y { # handle 1\n\t\taccept # handle 7\n\t}\n}\n"
    table = read(text)[0].tables[0]
    assert (table.handle, table.chains[0].handle, table.chains[0].rules[0].handle) == (3, 1, 7)


def test_remarks_stay_where_they_are_and_comments_are_found() -> None:
    text = "# one\ntable ip x {\n\t# two\n\tchain y {\n\t\t# three\n\t\taccept # four\n\t}\n}\n"
    tree, _ = read(text)
    assert [remark.text for remark in tree.comments] == ["one", "two", "three", "four"]
    assert tree.commands[0] == t.Remark("one")
    assert tree.tables[0].chains[0].items[0] == t.Remark("three")


def test_windows_line_ends_are_read() -> None:
    tree, found = read(WHOLE.replace("\n", "\r\n"))
    assert found == () and tree == read(WHOLE)[0]


FILES = {
    "defs.nft": "define ports = { 22 }\n",
    "rules/a.nft": "tcp dport $ports accept\n",
    "rules/b.nft": "drop\n",
}


class TestIncludes:
    def load(self, pattern: str) -> tuple[Source, ...] | None:
        names = sorted(name for name in FILES if fnmatch(name, pattern))
        if not names and "*" not in pattern:
            return None
        return tuple(Source(name, FILES[name]) for name in names)

    def test_included_files_are_read_where_they_stand(self) -> None:
        text = 'include "defs.nft"\ntable ip x {\n\tchain y {\n\t\tinclude "rules/*.nft"\n\t}\n}\n'
        tree, found = read(text, self.load)
        assert found == ()
        chain = tree.tables[0].chains[0]
        assert [str(rule.span) for rule in chain.rules] == ["rules/a.nft:1:1", "rules/b.nft:1:1"]
        assert write(tree) == text

    def test_a_missing_file_is_an_error_and_an_empty_glob_is_none(self) -> None:
        _, found = read('include "no.nft"\ninclude "no*"\n', self.load)
        assert [(fault.severity, fault.span.text) for fault in found] == [(Severity.ERROR, '"no.nft"')]

    def test_without_a_loader_an_include_is_kept_with_a_warning(self) -> None:
        tree, found = read('include "defs.nft"\n')
        assert tree.commands == (t.Include("defs.nft"),)
        assert [fault.severity for fault in found] == [Severity.WARNING]

    def test_a_file_that_includes_itself_ends(self) -> None:
        _, found = read('include "x"\n', lambda pattern: (Source("x", 'include "x"\n'),))
        assert any("nested" in fault.message for fault in found)


# The text, then each fault as (line, column, its text, words of the message, words of the help).
FAULTS = {
    "unknown word": ("\t\tacept\n", [(3, 3, "acept", "unknown statement `acept`", "did you mean `accept`?")]),
    "unknown field": ("\t\ttcp dprot 80\n", [(3, 7, "dprot", "`tcp` has no field `dprot`", "dport")]),
    "no value": ("\t\ttcp dport\n", [(3, 12, "", "a value is missing", "tcp dport VALUE")]),
    "no value before a verdict": ("\t\ttcp dport accept\n", [(3, 13, "accept", "expected a value", None)]),
    "open set": (
        "\t\ttcp dport { 22, 80 accept\n\t\tdrop\n\t\tudp dprot 5\n",
        [(3, 22, "accept", "expected `,` or `}`", None), (5, 7, "dprot", "no field", "dport")],
    ),
    "two faults": (
        "\t\tacept\n\t\ttcp dport accept\n",
        [(3, 3, "acept", "unknown statement", "accept"), (4, 13, "accept", "expected a value", None)],
    ),
    "bad priority": (
        "\t\ttype filter hook input priority row; policy accept;\n",
        [(3, 35, "row", "expected a priority", "did you mean `raw`?")],
    ),
    "dense priority": (
        "\t\ttype filter hook input priority raw-5; policy accept;\n",
        [(3, 35, "raw-5", "blanks are missing", "write `raw - N`")],
    ),
    "bad hook": ("\t\ttype filter hook inptu priority 0;\n", [(3, 20, "inptu", "expected a hook", "input")]),
    "bad policy": ("\t\tpolicy reject\n", [(3, 10, "reject", "expected `accept` or `drop`", None)]),
    "brace on the line": ("\t\taccept }\n", [(3, 10, "}", "nft 1.0.6 wants a line end", None)]),
    "open quote": ('\t\taccept comment "x\n', [(3, 18, '"x', "expected a comment", None)]),
    "constant": ("\t\t[c] < new\n", [(3, 3, "[c]", "expected a field of the packet", None)]),
    "bad rate": ("\t\tlimit rate 5/fortnight\n", [(3, 16, "fortnight", "expected second", None)]),
    "after the comment": (
        '\t\taccept comment "x" drop\n',
        [(3, 22, "drop", "expected the end of the rule", None)],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_place_and_a_hint(name: str) -> None:
    body, expected = FAULTS[name]
    closing = "\t}\n}\n" if "}" not in body else "}\n"
    tree, found = read(f"table ip x {{\n\tchain y {{\n{body}{closing}")
    assert [(fault.span.line, fault.span.column, fault.span.text) for fault in found] == [
        fault[:3] for fault in expected
    ]
    for fault, (_, _, _, message, help) in zip(found, expected, strict=True):
        assert message in fault.message
        assert help is None or (fault.help is not None and help in fault.help)
    assert read(write(tree))[0] == tree


def test_an_open_block_is_told_at_its_brace() -> None:
    tree, found = read("table ip x {\n\tchain y {\n\t\taccept\n")
    assert {(fault.span.line, fault.span.text) for fault in found} == {(1, "{"), (2, "{")}
    assert tree.tables[0].chains[0].rules[0].statements == (t.Verdict("accept"),)


def test_a_stray_brace_hides_nothing_behind_it() -> None:
    tree, found = read("}\ntable ip x {\n}\n}\ntable ip y {\n}\n")
    assert [fault.span.line for fault in found] == [1, 4]
    assert [table.name for table in tree.tables] == ["x", "y"]


def test_what_is_unknown_is_kept_as_text() -> None:
    gizmo, frob = "gizmo g {\n\t\tspeed 5\n\t}", "frob { 1,\n 2 } drop"
    text = f"table ip x {{\n\t{gizmo}\n\tchain y {{\n\t\tudp dport 5 {frob}\n\t}}\n}}\n"
    tree, found = read(text)
    assert [fault.severity for fault in found] == [Severity.WARNING] * 2
    assert tree.tables[0].items[0] == t.UnknownItem(gizmo)
    assert tree.tables[0].chains[0].rules[0].statements[-1] == t.Unknown(frob)
    assert read(write(tree))[0] == tree


def test_deep_nesting_is_a_fault_and_no_traceback() -> None:
    _, found = read("table ip x {\nchain y {\ntcp dport " + "{ " * 5000 + "\n")
    assert any("deep" in fault.message for fault in found)


@pytest.mark.parametrize(
    ("hook", "priority", "told"),
    [
        ("output", "dstnat", True),
        ("input", "srcnat + 5", True),
        ("prerouting", "dstnat - 5", False),
        ("postrouting", "srcnat", False),
        ("output", "mangle", False),
    ],
)
def test_a_priority_by_name_may_belong_to_another_hook(hook: str, priority: str, told: bool) -> None:
    text = f"table ip x {{\nchain c {{\ntype filter hook {hook} priority {priority};\n}}\n}}\n"
    messages = [one.message for one in read(text)[1]]
    assert bool(messages) is told and all("alone" in message for message in messages)
