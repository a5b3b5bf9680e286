"""What runs, what does not, and what may: certain flow is held to real shells."""

from __future__ import annotations

import subprocess

import pytest

from notrack.packets.address import Family
from notrack.ruleset.shell.actions import XtablesCommand
from notrack.ruleset.shell.reader import read, read_started, verbs
from notrack.ruleset.shell.rulesets import as_rulesets
from notrack.text.source import Source
from tests.ruleset.shell.reading import messages, policies, ports, rules, script

FLOW = {
    "and": "true && show 1; false && show 2; true && false && show 3; show 4",
    "or": "true || show 1; false || show 2; false || false || show 3",
    "and, or": "false && show 1 || show 2; true || show 3 && show 4",
    "not": "! true && show 1; ! false && show 2",
    "if": "if true; then show 1; fi; if false; then show 2; else show 3; fi",
    "elif": "if false; then show 1; elif [ a = a ]; then show 2; else show 3; fi",
    "test": '[ a = b ] || show 1; [ a != b ] && show 2; [ -z "" ] && show 3; [ x ] && show 4',
    "negated test": "[ ! x ] || show 5; [ ! a = b ] && show 6",
    "numbers": "[ 2 -gt 10 ] || show 1; test 2 -le 2 && show 2; [ 1 -ne 1 ] || show 3",
    "and in test": '[ a = a -a -n "" ] || show 1; [ a = b -o -n x ] && show 2',
    "case": "case abc in b*) show 1;; a|x) show 2;; a?[a-c]) show 3;; *) show 4;; esac",
    "case, quoted": 'case "a*" in "a*") show 1;; esac; case ab in "a*") show 2;; a"b") show 3;; esac',
    "case, no match": "case a in b) show 1;; esac; show 2",
    "for": "for i in 1 2 3; do show $i; done; show $i",
    "for, nothing": "for i in; do show 1; done; show 2",
    "for, break": "for i in 1 2 3; do show $i; [ $i = 2 ] && break; done; show 9",
    "for, continue": "for i in 1 2 3; do [ $i = 2 ] && continue; show $i; done",
    "for, two levels": "for i in 1 2; do for j in 3; do show $i; continue 2; show $j; done; done",
    "for, out of two": "for i in 1 2; do for j in 3 4; do show $j; break 2; done; done; show 5",
    "while false": "while false; do show 1; done; until true; do show 2; done; show 3",
    "function": "f() { show $1; return; show 9; }; f 1; f 2; show 3",
    "function's status": "f() { return $1; }; f 0 && show 1; f 1 || show 2; g() { false; }; g || show 3",
    "a function again": "f() { show 1; }; f; f() { show 2; }; f",
    "recursion": "f() { [ $# -eq 0 ] && return; show $1; shift; f $@; }; f 1 2 3",
    "exit": "show 1; exit; show 2",
    "exit in a function": "f() { exit 0; }; show 1; f; show 2",
    "exit in a subshell": "( show 1; exit 1; show 2 ) || show 3; show 4",
    "exit behind a pipe": "true | exit 1; show 2",
    "errexit": "set -e; true; false || show 1; if false; then :; fi; ! true; show 2",
    "group": "{ show 1; show 2; } && show 3",
    "exec": "show 1; exec true; show 2",
    "status": "false; [ $? -eq 0 ] || show 1; true; if [ $? -ne 0 ]; then show 2; else show 3; fi",
    "background": "show 1 & wait; show 2",
    "unset": 'X=1; unset X; [ -z "$X" ] && show 1',
    "set in a condition": "if X=1; then show $X; fi; [ 1 = 1 ] && X=2; show $X",
    "a loop's input": "for i in 1 2; do show $i; done < /dev/null > /dev/null",
}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", FLOW)
def test_flow_is_that_of_the_shell(name: str, shell: str) -> None:
    real = "show() { echo $1 >&2; }\n" + FLOW[name]
    done = subprocess.run([shell, "-c", real], capture_output=True, text=True, check=False)
    ours = "show() { iptables -A INPUT -p tcp --dport $1; }\n" + FLOW[name]
    assert ports(ours) == done.stderr.split()
    for action in script(ours).actions:
        assert all(guard.condition.action is not None for guard in action.when)


def marks(text: str) -> list[str]:
    """The rules, each as its port and the conditions on it."""
    found = []
    for line in rules(text):
        conditions = [part.split(" (line")[0].replace('"', "") for part in line.split(" -m shell ")[1:]]
        port = line.split("--dport ")[1].split()[0] if "--dport" in line else line.split("-j ")[1]
        found.append(" ".join([port, *conditions]))
    return found


RULE = "iptables -A INPUT -p tcp --dport"


def test_both_branches_are_kept_and_marked() -> None:
    text = f"if grep -q x /etc/y; then {RULE} 1; else {RULE} 2; fi; {RULE} 3\n"
    assert marks(text) == ["1 --if grep -q x /etc/y", "2 ! --if grep -q x /etc/y", "3"]
    assert ("not evaluated: whether `grep -q x /etc/y` succeeds", "grep -q x /etc/y") in messages(text)


def test_what_follows_an_unknown_success() -> None:
    assert marks(f"foo && {RULE} 1; foo || {RULE} 2\n") == ["1 --if foo", "2 ! --if foo"]


def test_cases_that_are_not_known_exclude_one_another() -> None:
    text = f"case $X in a) {RULE} 1;; b) {RULE} 2;; *) {RULE} 3;; esac\n"
    assert marks(text) == ["1 --if a", "2 ! --if a --if b", "3 ! --if a ! --if b"]


def test_a_variable_set_in_one_branch_is_not_known_afterwards() -> None:
    text = f"P=1; if foo; then P=2; fi; {RULE} $P\n"
    assert rules(text)[0].startswith("-A INPUT -p tcp -m tcp -m shell --dport $P")
    same = f"if foo; then P=2; else P=2; fi; {RULE} $P\n"
    assert ports(same) == ["2"]


def test_a_tool_found_in_one_of_two_places_is_that_tool() -> None:
    choice = "if [ -x /a ]; then T=/sbin/iptables; else T=/usr/sbin/iptables; fi"
    text = f"{choice}\n{RULE.replace('iptables', '$T')} 1\n"
    assert ports(text) == ["1"]
    other = text.replace("/usr/sbin/iptables", "/usr/sbin/ip6tables")
    assert rules(other) == []
    assert ("not evaluated: which command `$T` is", "$T -A INPUT -p tcp --dport 1") in messages(other)


def test_an_early_end_without_any_action_is_taken_not_to_happen() -> None:
    text = f"[ -x /sbin/iptables ] || exit 0\nif [ $(id -u) != 0 ]; then echo root; exit 1; fi\n{RULE} 1\n"
    assert marks(text) == ["1"]
    assert (
        sum(message == "the script may end here; it is taken to go on" for message, _ in messages(text)) == 2
    )


def test_an_early_end_with_actions_is_not_taken_away() -> None:
    text = f"if foo; then {RULE} 1; exit; fi; {RULE} 2\n"
    assert marks(text) == ["1 --if foo", "2 ! --if foo"]


def test_two_ends_leave_nothing() -> None:
    assert marks(f"if foo; then {RULE} 1; exit; else {RULE} 2; exit; fi; {RULE} 3\n") == [
        "1 --if foo",
        "2 ! --if foo",
    ]


def test_the_rest_of_a_round_and_of_a_function() -> None:
    loop = f"for i in 1 2; do foo && continue; {RULE} $i; done"
    text = f"{loop}; f() {{ bar && {{ {RULE} 3; return; }}; {RULE} 4; }}; f; {RULE} 5\n"
    assert marks(text) == ["1 ! --if foo", "2 ! --if foo", "3 --if bar", "4 ! --if bar", "5"]


def test_a_loop_that_cannot_be_counted_runs_once_and_forgets() -> None:
    text = f"P=1; while read x; do {RULE} $P; P=2; done; {RULE} $P; {RULE} 3\n"
    found = marks(text)
    assert len(found) == 3
    assert "--if" in found[0]
    assert "--if" not in found[1]
    assert found[2] == "3"


def test_unknown_words_of_a_loop_do_not_hide_the_known() -> None:
    assert [line.split()[0] for line in marks(f"for p in 1 $X 2; do {RULE} $p; done\n")][0::2] == ["1", "2"]


def test_policies_under_a_condition_are_a_last_rule() -> None:
    text = "iptables -P INPUT DROP\nif foo; then iptables -P INPUT ACCEPT; fi\niptables -A INPUT -j LOG\n"
    assert policies(text)["INPUT"] == "DROP"
    assert marks(text) == ["LOG", "ACCEPT --if foo"]
    assert marks(text + "iptables -P INPUT DROP\n") == ["LOG"]


def test_what_may_be_flushed_may_be_there() -> None:
    text = f"{RULE} 1\nif foo; then iptables -F; {RULE} 2; fi\n"
    assert marks(text) == ["1 ! --if foo", "2 --if foo"]
    assert marks(f"{RULE} 1\nfoo && iptables -D INPUT -p tcp --dport 1\n") == ["1 ! --if foo"]
    assert marks(f"{RULE} 1\nfoo && iptables -R INPUT 1 -p tcp --dport 2\n") == ["2 --if foo", "1 ! --if foo"]


def test_deleting_what_may_be_there_leaves_the_other_exactly_then() -> None:
    text = f"foo && {RULE} 1\n{RULE} 1\niptables -D INPUT -p tcp --dport 1\n"
    assert marks(text) == ["1 --if foo"]


def test_the_arguments_choose_the_case() -> None:
    text = f'case "$1" in start) {RULE} 1;; stop) iptables -F;; *) echo usage; exit 1;; esac\n'
    assert marks_of(text, "start") == ["1"]
    assert marks_of(text, "stop") == []
    source = Source("fw", text)
    assert verbs(source) == ("start", "stop")
    assert [action.certain for action in read_started(source).actions] == [True]
    assert [action.certain for action in read(source).actions] == [False, False]
    assert read_started(source).diagnostics[0].message == "read as if it were called with `start`"


def marks_of(text: str, *arguments: str) -> list[str]:
    return ports(text, *arguments)


def test_without_arguments_a_script_is_not_taken_to_be_started() -> None:
    source = Source("fw", f"{RULE} $1\n")
    action = read(source).actions[0]
    assert isinstance(action, XtablesCommand)
    assert read_started(source).actions == read(source).actions
    assert "not evaluated: `$1`, what the script is called with" in {
        found.message for found in read(source).diagnostics
    }


def test_errexit_ends_the_script_where_iptables_refuses() -> None:
    text = f"set -e\n{RULE} 1\niptables -A nosuch -j DROP\n{RULE} 2\n"
    assert ports(text) == ["1"]
    assert ports(text.replace("set -e\n", "")) == ["1", "2"]
    assert ports(text.replace("-j DROP", "-j DROP || true")) == ["1", "2"]
    told = [found.message for found in as_rulesets(script(text)).diagnostics]
    assert told == [
        "iptables refuses this: there is no chain nosuch in filter",
        "the script ends here under `set -e`",
    ]


def test_a_refused_command_decides_what_follows() -> None:
    text = f"iptables -A nosuch -j DROP || {{ {RULE} 1; exit 1; }}\n{RULE} 2\n"
    assert ports(text) == ["1"]
    assert ports(text.replace("nosuch", "INPUT -p tcp --dport 9")) == ["9", "2"]


def test_sourced_files_run_in_this_shell() -> None:
    text = f". /etc/fw.conf\nsource ./more.sh\n{RULE} $P\n"
    made = script(text, files={"/etc/fw.conf": "P=7\nreturn\nP=8", "./more.sh": f"{RULE} 6\n"})
    listed = [rule.option("-p") is not None for _, rule in as_rulesets(made).xtables[0].rules()]
    assert listed == [True, True]
    assert not [found for found in made.diagnostics if "not evaluated" in found.message]
    assert [
        place for message, place in messages(text) if message == "not evaluated: what '/etc/fw.conf' does"
    ]


def test_ends_after_each_command_cost_little_and_are_decided() -> None:
    text = 'ipt() { iptables "$@" || { echo failed; exit 1; }; }\n'
    text += "".join(f"ipt -A INPUT -p tcp --dport {port}\n" for port in range(1, 400))
    assert ports(text) == [str(port) for port in range(1, 400)]
    assert max(len(action.when) for action in script(text).actions) < 10
    broken = text + "ipt -A nosuch\nipt -A INPUT -p tcp --dport 500\n"
    assert ports(broken)[-1] == "399"


def test_an_end_inside_an_unknown_way_leaves_the_rest_open() -> None:
    text = f"if foo; then {RULE} 1 || exit 1; fi\n{RULE} 2\n"
    assert marks(text) == ["1 --if foo", "2"]
    broken = text.replace(f"{RULE} 1 ||", "iptables -A nosuch ||")
    assert marks(broken) == ["2 ! --if foo"]


def test_a_function_that_may_return_early_has_the_status_of_that_way() -> None:
    """`f -C ... || f -A ...`: what the function returns depends on its command, and so does what follows."""
    for body in ('iptables "$@" || return 1', 'iptables "$@" || return 1; return 0', 'iptables "$@"'):
        rule = "INPUT -p tcp --dport 1 -j DROP"
        text = f"f() {{ {body}; }}\nf -C {rule} || f -A {rule}\n"
        assert ports(text) == ["1"]
        assert ports(f"{RULE} 1 -j DROP\n{text}") == ["1"]


def test_several_early_ends_of_a_function_are_told_apart() -> None:
    text = 'both() { for t in iptables ip6tables; do $t "$@" || return 1; done; }\n'
    text += "both -C INPUT -j DROP || both -A INPUT -j DROP\n"
    assert rules(text) == ["-A INPUT -j DROP"]
    assert rules(text, family=Family.IPV6) == ["-A INPUT -j DROP"]


def test_a_function_that_returns_on_either_way_has_either_status() -> None:
    text = f"f() {{ if foo; then return 0; else return 1; fi; }}\nf && {RULE} 1\nf || {RULE} 2\n"
    assert marks(text) == ["1 --if foo", "2 ! --if foo"]


def test_what_leaves_a_function_and_what_ends_the_script_are_two_things() -> None:
    text = f"f() {{ if {RULE} 1; then return 0; else exit 1; fi; {RULE} 9; }}\nf\n{RULE} 2\n"
    assert ports(text) == ["1", "2"]
    assert ports(text.replace("INPUT", "nosuch", 1)) == []


@pytest.mark.parametrize("tail", ["<<EOF\n{}EOF\n", "<<-EOF\n{}EOF\n", "<<'EOF'\n{}EOF\n"])
def test_a_loop_over_the_lines_of_a_known_text_runs_for_each(tail: str) -> None:
    loop = 'while read proto port rest; do [ -z "$proto" ] && continue; '
    loop += 'iptables -A INPUT -p $proto --dport $port -m comment --comment "$rest" -j ACCEPT; done '
    text = loop + tail.format("udp 53 name server\n\ntcp 80\n  tcp   443\tweb  \n")
    assert rules(text) == [
        '-A INPUT -p udp -m udp --dport 53 -m comment --comment "name server" -j ACCEPT',
        '-A INPUT -p tcp -m tcp --dport 80 -m comment --comment "" -j ACCEPT',
        "-A INPUT -p tcp -m tcp --dport 443 -m comment --comment web -j ACCEPT",
    ]
    assert not [one for one in messages(text) if "not evaluated" in one[0]]


def test_what_parts_the_words_may_be_set() -> None:
    text = f'while IFS=: read -r name port; do {RULE} "$port"; done <<EOF\na:1\nb c:2\nEOF\n'
    assert ports(text) == ["1", "2"]
    assert ports(f'echo "5\n6" | while read p; do {RULE} $p; done\n') == ["5", "6"]


def test_lines_that_are_not_known_leave_the_rounds_open() -> None:
    for text in (
        f"while read p; do {RULE} 1; done < /etc/ports\n",
        f"while read p; do {RULE} 1; done <<EOF\n$(cat /etc/ports)\nEOF\n",
        f"while read p && true; do {RULE} 1; done <<EOF\n5\nEOF\n",
    ):
        assert [line.split(" --if")[0] for line in marks(text)] == ["1"]
        assert any("not evaluated" in message for message, _ in messages(text))


def test_a_round_may_end_the_loop() -> None:
    text = f"while read p; do [ $p = 2 ] && break; {RULE} $p; done <<EOF\n1\n2\n3\nEOF\n{RULE} 9\n"
    assert ports(text) == ["1", "9"]
