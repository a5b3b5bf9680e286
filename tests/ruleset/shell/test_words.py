"""How words are read and expanded: each as sh does it."""

from __future__ import annotations

import subprocess

import pytest

from tests.ruleset.shell.reading import messages, ports, rules

# Each prints its words in brackets when a real shell runs it; `show` stands for an iptables comment with us.
WORDS = {
    "single quotes": r"""show 'a  $b "c"'""",
    "double quotes": r"""show "a  \$b \"c\" \d 'e'" """,
    "escapes": r"""show a\ b\"c\'d""",
    "adjoining": r"""show "a"'b'c""",
    "empty": r"""show '' "" """,
    "continued": "show a\\\nb",
    "a hash in a word": "show a#b #c",
    "split": "X='a  b'; show $X",
    "not split": "X='a  b'; show \"$X\"",
    "split at the ends": "X=' b '; show a$X'c'",
    "nothing": "X=; show a $X b",
    "an empty word": 'X=; show a "$X" b',
    "other separators": "IFS=,; X=a,b,,c; show $X",
    "blank and other separators": "IFS=' ,'; X='a , b ,'; show $X",
    "no separators": "IFS=; X='a b'; show $X",
    "default": 'X=; show "${X:-d e}" ${X:-d e} "${X-f}" "${Y-g}"',
    "alternative": 'X=1; show "${X:+set}" ${X:+a b} ${Y:+none}',
    "assigned default": 'show "${X:=v w}" "$X"',
    "nested default": 'show "${X:-${Y:-z}}"',
    "all arguments": 'set -- "a b" c; show "$@" "x$@y" $# "$2" ${1}',
    "all arguments, joined": 'set -- "a b" c; show "$*"; IFS=,; show "$*"',
    "all arguments, split": 'set -- "a b" c; show $@ $*',
    "no arguments": 'set --; show a "$@" b',
    "shifted": "set -- a b c d; shift; shift 2; show $1",
    "a substitution": 'show "$(echo a b)" $(echo a b) `echo c`',
    "a substitution of lines": 'show "$(printf "%s\\n" a b "")"',
    "a substitution in quotes": 'show "x $(echo "y z") w"',
    "a function's output": 'f() { echo "<$1>"; }; show "$(f q)"',
    "a here-document": 'X=v; show "$(cat <<E\na $X \\$X `echo b` "c"\nE\n)"',
    "a quoted here-document": "X=v; show \"$(cat <<'E'\na $X \\$X\nE\n)\"",
    "a stripped here-document": 'show "$(cat <<-E\n\t\ta\n\t b\n\tE\n)"',
    "two here-documents": 'show "$(cat <<A; cat <<B\na\nA\nb\nB\n)"',
    "a file": 'echo a > f1; echo b >> f1; show "$(cat f1)"; rm f1',
    "appended": "X=a; X=$X-b; show $X",
    "locals": "X=1; f() { local X=2; Y=3; show $X; }; f; show $X $Y",
    "for one function": "f() { show $X; }; X=1; X=2 f; show $X",
    "subshell": "X=1; (X=2; show $X); show $X",
    "trimmed": 'X=a.b.c; show ${X%.*} ${X%%.*} ${X#*.} ${X##*.} "${X#z}" ${X%?}',
    "counted": "show $(seq 3) $(seq 2 4) $(seq 5 -2 1)",
    "printf": 'show "$(printf "%s-%s\\n" a b c)"',
    "a lone dollar": 'show $ "a$" $. ',
}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", WORDS)
def test_words_are_those_of_the_shell(name: str, shell: str, tmp_path: object) -> None:
    real = 'show() { for w; do printf "[%s]" "$w" | tr "\\n" "~"; done; echo; }\n'
    done = subprocess.run(
        [shell, "-c", real + WORDS[name]], capture_output=True, text=True, check=True, cwd=str(tmp_path)
    )
    ours = 'show() { for w; do iptables -A INPUT -m comment --comment "[$w]"; done; }\n'
    made = "".join(comment(line) for line in rules(ours + WORDS[name]))
    assert made == done.stdout.replace("\n", "").replace("~", " ")


def comment(line: str) -> str:
    text = line.split("--comment ", 1)[1]
    if text.startswith('"'):
        text = text[1:-1].replace('\\"', '"').replace("\\'", "'").replace("\\\\", "\\")
    return text


def test_bash_alone_expands_braces() -> None:
    text = "for p in {1..3} {8,9}; do iptables -A INPUT -p tcp --dport $p; done\n"
    assert ports("#!/bin/bash\n" + text) == ["1", "2", "3", "8", "9"]
    assert rules("#!/bin/sh\n" + text) == []


def test_arrays_of_bash() -> None:
    text = 'A=(1 "2")\nA+=(3)\nfor p in "${A[@]}" ${A[1]} $A; do iptables -A INPUT -p tcp --dport $p; done\n'
    assert ports("#!/bin/bash\n" + text) == ["1", "2", "3", "2", "1"]


def test_what_the_environment_may_hold_is_taken_to_be_unset_and_said() -> None:
    text = "iptables -A INPUT -p tcp --dport ${PORT:-22}\n"
    assert ports(text) == ["22"]
    assert ("`PORT` is taken to be unset by the environment", "${PORT:-22}") in messages(text)


def test_the_command_may_be_found_by_which() -> None:
    for way in ("$(which iptables)", "`which iptables`", '"$(command -v iptables)"', "$(type -p iptables)"):
        assert ports(f"IPT={way}\n$IPT -A INPUT -p tcp --dport 1\n") == ["1"], way


@pytest.mark.parametrize(
    "word", ["$(date +%s)", "$((1+1))", "${X^^}", "$NOBODY_SETS_THIS", "$!", "${#X}", "$(iptables-save)"]
)
def test_what_is_not_known_is_said_and_kept(word: str) -> None:
    text = f"X=1.2\niptables -A INPUT -p tcp --dport {word} -j ACCEPT\n"
    line = rules(text)[0]
    assert line.startswith("-A INPUT -p tcp -m tcp -m shell --dport ")
    assert line.endswith(" -j ACCEPT")
    assert any(message.startswith("not evaluated") and place == word for message, place in messages(text))


def test_a_blank_behind_the_backslash_is_said() -> None:
    text = "iptables -A INPUT -p tcp \\ \n  --dport 22 -j ACCEPT\n"
    assert rules(text) == ["-A INPUT -p tcp"]
    assert messages(text)[0] == ("the line does not go on: a blank follows the backslash", "\\ ")


def test_carriage_returns_are_told_once() -> None:
    text = "iptables -A INPUT -p tcp --dport 22 \\\r\n -j ACCEPT\r\niptables -A INPUT\r\n"
    assert ports(text.replace("iptables -A INPUT\r\n", "")) == ["22"]
    assert sum("carriage return" in message for message, _ in messages(text)) == 1


def test_bash_alone_replaces_text() -> None:
    text = "P=1,2,3\nfor p in ${P//,/ } ${P/,*/x}; do iptables -A INPUT -p tcp --dport $p; done\n"
    assert ports("#!/bin/bash\n" + text)[:3] == ["1", "2", "3"]


def test_arithmetic_that_sets_a_variable_makes_it_unknown() -> None:
    for setting in (
        "((i++))",
        "i=$((i+1))",
        ": $((i = 3))",
        "let i=i+1",
        "for ((i=0; i<2; i++)); do :; done",
    ):
        (line,) = rules(f"#!/bin/bash\ni=1\n{setting}\niptables -A INPUT -p tcp --dport $i\n")
        assert "-m shell" in line, setting
    assert ports("#!/bin/bash\ni=1\n((i == 2))\niptables -A INPUT -p tcp --dport $i\n") == ["1"]
    loop = "#!/bin/bash\ni=7\nfor ((i=0; i<2; i++)); do iptables -A INPUT -p tcp --dport $i; done\n"
    assert "-m shell" in rules(loop)[0]


def test_an_argument_of_unknown_words_hides_only_those_behind_it() -> None:
    text = "f() { iptables -A $1 -p tcp --dport $2 -j $3; }\nf INPUT $PORTS DROP\n"
    (line,) = rules(text)
    assert line.startswith("-A INPUT -p tcp -m tcp -m shell --dport $PORTS")
    assert line.endswith("-j $3")
