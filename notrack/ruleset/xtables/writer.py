"""Rulesets to text for iptables-restore, in the order and the spelling of iptables-save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import BASE_SPELLED, Extension, Kind, match_named, target_named
from notrack.ruleset.xtables.tree import (
    Broken,
    Chain,
    Command,
    Counters,
    Line,
    Match,
    Option,
    Rule,
    Ruleset,
    Table,
    Target,
    Trivia,
)
from notrack.ruleset.xtables.words import bare, guarded, named, prose, quoted
from notrack.text.source import Span

_SPELL: dict[Kind, Callable[[str], str]] = {Kind.TEXT: prose, Kind.QUOTED: quoted}
_FLAG = {Family.IPV4: "-4", Family.IPV6: "-6"}


def write(ruleset: Ruleset) -> str:
    """The whole ruleset printed anew; what is read from it is an equal tree."""
    return "".join(text + "\n" for section in ruleset.sections for text in _section_text(section))


def write_kept(ruleset: Ruleset) -> str:
    """The ruleset with the very text of every line that was read, line ending and all; only lines without
    a span are printed anew. A ruleset as the reader gave it comes back byte for byte."""
    return "".join(_kept_pieces(ruleset))


def rule_text(rule: Rule) -> str:
    """One rule as one line, without a line ending."""
    words = [f"[{rule.counters[0]}:{rule.counters[1]}]"] if rule.counters else []
    if rule.family is not None:
        words.append(_FLAG[rule.family])
    if rule.table is not None:
        words += ["-t", bare(rule.table)]
    words += [rule.command, bare(rule.chain)]
    if rule.number is not None:
        words.append(str(rule.number))
    words.extend(option_text(option) for option in rule.options)
    words.extend(_match_text(match) for match in rule.matches)
    if rule.target is not None:
        words.append(_target_text(rule.target))
    return " ".join(words)


# Long rulesets repeat their matches and targets.
@lru_cache(maxsize=4096)
def _match_text(match: Match) -> str:
    extension = match_named(match.name)
    options = (option_text(option, extension) for option in match.options)
    return " ".join(("-m", bare(match.name), *options))


@lru_cache(maxsize=4096)
def _target_text(target: Target) -> str:
    extension = target_named(target.name)
    options = (option_text(option, extension) for option in target.options)
    return " ".join(("-g" if target.goto else "-j", bare(target.name), *options))


def option_text(option: Option, extension: Extension | None = None) -> str:
    """One option with its sign and its values, quoted as iptables-save quotes those of the extension."""
    words = ["!"] if option.negated else []
    words.append(named(option.name))
    form = extension.option(option.name) if extension else BASE_SPELLED.get(option.name)
    for position, value in enumerate(option.values):
        kind = form.kinds[position] if form and position < len(form.kinds) else None
        words.append(guarded(value) if kind is None else _SPELL.get(kind, bare)(value))
    return " ".join(words)


def _section_text(section: Table | Trivia | Broken) -> Iterator[str]:
    if not isinstance(section, Table):
        yield section.text
        return
    yield "*" + section.name
    for line in section.lines:
        yield _line_text(line)
    if section.committed:
        yield "COMMIT"


def _line_text(line: Line) -> str:
    match line:
        case Rule():
            return rule_text(line)
        case Chain():
            counters = f" {_counters(line.counters)}" if line.counters else ""
            return f":{line.name} {line.policy or '-'}{counters}"
        case Command():
            return _command_text(line)
        case Trivia() | Broken():
            return line.text


def _command_text(command: Command) -> str:
    words = [_FLAG[command.family]] if command.family else []
    if command.table is not None:
        words += ["-t", bare(command.table)]
    return " ".join([*words, command.name, *(guarded(argument) for argument in command.arguments)])


def _counters(counters: Counters) -> str:
    return f"[{counters[0]}:{counters[1]}]"


def _kept_pieces(ruleset: Ruleset) -> Iterator[str]:
    for section in ruleset.sections:
        if not isinstance(section, Table):
            yield _kept(section.span, section.text)
            continue
        was_read = section.header is not None or any(line.span for line in section.lines)
        if section.header is not None or not was_read:
            yield _kept(section.header, "*" + section.name)
        for line in section.lines:
            yield _kept(line.span, "" if line.span else _line_text(line))
        if section.footer is not None or (section.committed and not was_read):
            yield _kept(section.footer, "COMMIT")


def _kept(span: Span | None, otherwise: str) -> str:
    """The whole line in which a span lies, with its line ending."""
    if span is None:
        return otherwise + "\n"
    text = span.source.text
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.end)
    return text[start:] if end < 0 else text[start : end + 1]
