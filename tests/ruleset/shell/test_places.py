"""Every part of what a script does has its places in the script: of use, and of writing."""

from __future__ import annotations

from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import NftText, RestoreText, XtablesCommand
from notrack.ruleset.shell.derived import located, relocated, value_place
from notrack.ruleset.shell.reader import read
from notrack.ruleset.shell.rulesets import as_rulesets, lowered
from notrack.ruleset.xtables.tree import Rule
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span
from tests.ruleset.shell.reading import messages, script


def only_rule(text: str) -> Rule:
    action = script(text).actions[-1]
    assert isinstance(action, XtablesCommand)
    assert isinstance(action.line, Rule)
    return action.line


def span_of(rule: Rule, name: str) -> Span:
    options = [*rule.options, *(option for match in rule.matches for option in match.options)]
    span = rule.span_of(next(option for option in options if option.name == name))
    assert span is not None
    return span


def test_a_literal_is_where_it_stands() -> None:
    text = "\n\n  iptables -w -A INPUT \\\n   -p tcp  --dport 'ssh' -j ACCEPT # x\n"
    rule = only_rule(text)
    assert located(span_of(rule, "--dport")).text == "--dport 'ssh'"
    assert located(span_of(rule, "-p")).text == "-p tcp"
    assert rule.target is not None
    target = rule.span_of(rule.target)
    assert target is not None
    place = located(target)
    assert (place.text, place.line) == ("-j ACCEPT", 4)
    assert value_place(span_of(rule, "-p")) is None


def test_a_value_is_where_it_is_used_and_where_it_was_assigned() -> None:
    text = 'PORTS="22 80"\nA="-p tcp"\nfor p in $PORTS; do\n  iptables -A INPUT $A --dport $p\ndone\n'
    rule = only_rule(text)
    span = span_of(rule, "--dport")
    assert located(span).text == "--dport $p"
    value = value_place(Span(span.source, span.end - 2, span.end))
    assert value is not None
    assert (value.text, value.line, value.column) == ("80", 1, 11)
    protocol = span_of(rule, "-p")
    assert located(protocol).text == "$A"


def test_a_faulty_value_is_told_at_both_places() -> None:
    made = script('P="99999"\niptables -A INPUT -p tcp --dport $P\n')
    (fault,) = [found for found in made.diagnostics if found.severity is Severity.ERROR]
    assert fault.span is not None
    assert fault.span.text == "$P"
    assert [(other.span.text, other.message) for other in fault.related] == [
        ("99999", "the value comes from here")
    ]


def test_arguments_of_a_function_lead_to_the_call() -> None:
    text = 'open() { iptables -A INPUT -p tcp --dport "$1"; }\nopen 80000\n'
    fault = script(text).diagnostics[0]
    assert fault.span is not None
    assert (fault.span.text, fault.span.line) == ("$1", 1)
    assert [(other.span.text, other.span.line) for other in fault.related] == [("80000", 2)]


def test_a_here_document_keeps_its_places() -> None:
    rules = "\t-A INPUT -p tcp --dport $P -j ACCEPT\n\t-A NONE -j X\n"
    made = script(f"P=99999\niptables-restore <<-E\n\t*filter\n{rules}\tCOMMIT\n\tE\n")
    assert isinstance(made.actions[0], RestoreText)
    assert made.actions[0].text is not None
    assert made.actions[0].text.text.startswith("*filter\n-A INPUT")
    places = [(found.span.text, found.span.line) for found in made.diagnostics if found.span]
    assert ("$P", 4) in places
    assert any(line == 5 for _, line in places)


def test_nft_text_keeps_its_places() -> None:
    chain = "C='{ type filter hook input priority 0; }'\nnft add chain ip x y $C\n"
    made = script(f"nft add table ip x\n{chain}nft add rule ip x y tcp dport nosuch! accept\n")
    assert isinstance(made.actions[1], NftText)
    ruleset = made.actions[1].ruleset
    assert ruleset is not None
    (declared,) = ruleset.commands
    assert isinstance(declared, nft.Declare)
    assert declared.span is not None
    assert located(declared.span).text == "add chain ip x y $C"
    faults = [found for found in made.diagnostics if found.severity is Severity.ERROR]
    assert faults
    assert all(found.span is not None and found.span.line == 4 for found in faults)


def test_a_file_that_is_loaded_is_its_own_place() -> None:
    made = script("iptables-restore < rules.v4\n", files={"rules.v4": "*filter\n-A INPUT --nosuch\nCOMMIT\n"})
    (fault,) = [found for found in made.diagnostics if found.severity is Severity.ERROR]
    assert fault.span is not None
    assert (fault.span.source.name, fault.span.line) == ("rules.v4", 2)


def test_the_core_knows_the_script() -> None:
    text = "P=22\niptables -A INPUT -p tcp --dport $P -j ACCEPT\n"
    core, diagnostics = lowered(script(text))
    assert not diagnostics
    chain = core.tables[0].chain("INPUT")
    assert chain is not None
    origin = chain.rules[0].origin
    assert origin.span is not None
    assert origin.span.source.name == "fw.sh"
    assert origin.span.text == "-A INPUT -p tcp --dport $P -j ACCEPT"
    assert origin.text == "-A INPUT -p tcp --dport 22 -j ACCEPT"


def test_a_diagnostic_about_no_script_stays_as_it_is() -> None:
    plain = Diagnostic(Severity.INFO, "x", Span(Source("a", "b"), 0, 1))
    assert relocated(plain) is plain
    nowhere = Diagnostic(Severity.INFO, "x", None)
    assert relocated(nowhere) is nowhere


def test_typographic_dashes_are_told_at_the_dash() -> None:
    text = "iptables –t raw –A PREROUTING -p udp —-dport 53 –j NOTRACK\n"
    made = script(text)
    faults = [(found.span.text, found.help) for found in made.diagnostics if found.span]
    assert faults == [
        ("–", "write `-t`"),
        ("–", "write `-A`"),
        ("—-", "write `--dport`"),
        ("–", "write `-j`"),
    ]
    action = made.actions[0]
    assert isinstance(action, XtablesCommand)
    assert action.table == "raw"
    assert isinstance(action.meant, Rule)
    assert (action.meant.chain, action.meant.target and action.meant.target.name) == ("PREROUTING", "NOTRACK")
    assert not as_rulesets(made).xtables[0].tables


def test_typographic_quotes_are_told_and_what_was_meant_is_kept() -> None:
    text = "iptables -A INPUT -m comment --comment “secure shell” -j ACCEPT\n"
    action = script(text).actions[0]
    assert isinstance(action, XtablesCommand)
    assert isinstance(action.meant, Rule)
    assert action.meant.comment == "secure shell"
    assert [place for _, place in messages(text)] == ["“", "”"]
    joined = "iptables -A INPUT -m comment --comment “ssh” -j ACCEPT\n"
    assert only_rule(joined).comment == "“ssh”"
    assert not messages('iptables -A INPUT -m comment --comment "it’s – “fine” here" -j ACCEPT\n')


def test_read_says_things_in_the_order_of_the_text() -> None:
    made = read(Source("x", "fi\niptables -A INPUT --nosuch\nfoo $X\niptables -A\n"))
    starts = [found.span.start for found in made.diagnostics if found.span]
    assert starts == sorted(starts)
    assert len(starts) > 3


def test_what_a_function_passes_on_stands_in_its_call() -> None:
    text = (
        'LAN=10.0.0.0/8\nipt() { iptables -w "$@"; }\nipt -A INPUT -s $LAN -j ACCEPT\nipt -A INPUT -j DROP\n'
    )
    core, diagnostics = lowered(script(text))
    assert not diagnostics
    chain = core.tables[0].chain("INPUT")
    assert chain is not None
    places = [rule.origin.span for rule in chain.rules]
    assert [span.text for span in places if span] == ["-A INPUT -s $LAN -j ACCEPT", "-A INPUT -j DROP"]


def test_a_fault_in_what_a_function_passes_on_is_told_in_its_call() -> None:
    text = 'ipt() { iptables "$@"; }\nipt -A INPUT 10.0.0.1 –j ACCEPT\n'
    told = [found.span for found in script(text).diagnostics if found.severity is Severity.ERROR]
    assert {(span.line, span.text) for span in told if span} == {(2, "–")}


def test_what_a_function_adds_itself_stands_there() -> None:
    text = 'accept() { iptables -A INPUT "$@" -j ACCEPT; }\naccept -p tcp\n'
    core, _ = lowered(script(text))
    chain = core.tables[0].chain("INPUT")
    assert chain is not None and chain.rules[0].origin.span is not None
    assert chain.rules[0].origin.span.line == 1


def test_a_chain_stands_where_its_policy_was_set_or_where_it_was_made() -> None:
    made, _ = lowered(script("iptables -P INPUT ACCEPT\niptables -N web\niptables -P INPUT DROP\n"))
    places = {chain.name: chain.origin.span for chain in made.tables[0].chains}
    assert {name: span.text for name, span in places.items() if span} == {
        "INPUT": "-P INPUT DROP",
        "web": "-N web",
    }
