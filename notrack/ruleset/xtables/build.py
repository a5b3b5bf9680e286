"""Rules by hand, in one line each: `rule("INPUT", "-p tcp -m tcp --dport 80 -j ACCEPT", comment="web")`.

The text must be spelled as iptables-save spells it: short base options, an explicit `-m` before the options
of a match, `!` before the option. No catalogue is asked; text that people wrote goes through the reader.
"""

from __future__ import annotations

from notrack.ruleset.xtables.tree import Chain, Counters, Match, Option, Rule, Table, Target
from notrack.ruleset.xtables.words import split

ORDER = {name: rank for rank, name in enumerate(("-s", "-d", "-i", "-o", "-p", "-f"))}
COMMENT_MAXIMUM = 255  # the kernel's field holds 256 bytes, the ending zero byte among them


def chain(name: str, policy: str | None = None, counters: Counters | None = (0, 0)) -> Chain:
    """A built-in chain with its policy, or a user-defined one."""
    return Chain(name, policy, counters)


def table(name: str, chains: tuple[Chain, ...], rules: tuple[Rule, ...]) -> Table:
    """A table: its chains, then its rules in order."""
    return Table.of(name, chains, rules)


def options(text: str | tuple[str, ...]) -> tuple[Option, ...]:
    """Options from text (`"! --dport 80 --syn"`) or from words, where a value may hold blanks."""
    words = split(text).texts if isinstance(text, str) else text
    found: list[Option] = []
    negated = False
    for word in words:
        if word == "!" and not negated:
            negated = True
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            found.append(Option(word, (), negated))
            negated = False
        elif found:
            last = found[-1]
            found[-1] = Option(last.name, (*last.values, word), last.negated)
        else:
            raise ValueError(f"a value without an option: {word!r}")
    return tuple(found)


def match(name: str, text: str | tuple[str, ...] = "") -> Match:
    """`match("multiport", "--dports 53,80")`."""
    return Match(name, options(text))


def comment(text: str) -> Match:
    """A comment match, cut to what the kernel holds (bytes, not characters)."""
    kept = text.encode()[:COMMENT_MAXIMUM].decode(errors="ignore")
    return Match("comment", (Option("--comment", (kept,)),))


def target(name: str, text: str | tuple[str, ...] = "", goto: bool = False) -> Target:
    """`target("CT", "--notrack")`, `target("services")`, `target("services", goto=True)`."""
    return Target(name, options(text), goto)


def rule(chain: str, text: str = "", comment: str | None = None, command: str = "-A") -> Rule:
    """A rule from text as iptables-save spells it; `comment` becomes the last match. ValueError otherwise."""
    base: list[Option] = []
    matches: list[Match] = []
    aim: Target | None = None
    for option in options(text):
        if option.name == "-m":
            matches.append(Match(option.values[0]))
        elif option.name in ("-j", "-g"):
            aim = Target(option.values[0], (), option.name == "-g")
        elif option.name in ORDER:
            base.append(option)
        elif aim is not None:
            aim = Target(aim.name, (*aim.options, option), aim.goto)
        elif matches:
            matches[-1] = Match(matches[-1].name, (*matches[-1].options, option))
        else:
            raise ValueError(f"{option.name} needs a -m before it: {text!r}")
    if comment is not None:
        matches.append(_comment(comment))
    base.sort(key=lambda option: ORDER[option.name])
    return Rule(chain, tuple(base), tuple(matches), aim, command)


_comment = comment
