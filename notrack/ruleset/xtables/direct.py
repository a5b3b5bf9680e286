"""The direct rules of firewalld: its direct.xml, and what `firewall-cmd --direct --get-all-rules` says.

Each rule is one of iptables, put into a chain by its priority. What firewalld itself puts before and behind
them (its zones) does not stand in the file.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

from notrack.packets.address import Family
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.reader import BUILTIN
from notrack.ruleset.xtables.rule_reader import LineReader
from notrack.ruleset.xtables.scope import Scope
from notrack.ruleset.xtables.tree import Broken, Chain, Command, Line, Rule, Ruleset, Table, Target
from notrack.ruleset.xtables.words import Words
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_FAMILIES = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}
_ELEMENT = re.compile(r"<(rule|chain|passthrough)\b([^>]*?)(?:/>|>(.*?)</\1\s*>)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_LINE = re.compile(r"(ipv4|ipv6|eb)[ \t]+(\w+)[ \t]+(\S+)[ \t]+(-?\d+)[ \t]+(.*\S)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Part:
    """One element: what it says, and where it stands."""

    kind: str
    family: str
    table: str
    chain: str
    priority: int
    words: tuple[str, ...]
    span: Span


def read(source: Source) -> tuple[Ruleset, tuple[Diagnostic, ...]]:
    """The rules as tables of iptables, each of one family, in the order in which firewalld puts them in
    force: passed-through commands first, then rules by priority. Never raises.

    The parts of a rule have no places of their own: their text may be escaped.
    """
    reader = _Reader(source)
    parts = list(reader.parts())
    known = sorted({(part.family, part.table) for part in parts if part.family in _FAMILIES}, key=_order)
    sections = tuple(reader.table(_FAMILIES[family], table, parts) for family, table in known)
    return Ruleset(None, sections, source), tuple(sorted(reader.diagnostics, key=_place))


def _order(key: tuple[str, str]) -> tuple[str, int, str]:
    tables = ("raw", "mangle", "nat", "filter")
    return key[0], tables.index(key[1]) if key[1] in tables else len(tables), key[1]


def _place(diagnostic: Diagnostic) -> int:
    return diagnostic.span.start if diagnostic.span else -1


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.checks = Checks()

    def parts(self) -> Iterator[_Part]:
        text = _COMMENT.sub(lambda found: " " * len(found[0]), self.source.text)
        if "<" not in text:
            for found in _LINE.finditer(text):
                family, table, chain, priority, words = found.groups()
                span = Span(self.source, found.start(), found.end())
                yield self._part("rule", family, table, chain, priority, words, span)
            self._strange_lines(text)
            return
        for found in _ELEMENT.finditer(text):
            said = {name: html.unescape(a or b or "") for name, a, b in _ATTRIBUTE.findall(found[2])}
            span = Span(self.source, found.start(), found.end())
            words = html.unescape(found[3] or "")
            yield self._part(
                found[1], said.get("ipv", ""), said.get("table", "filter"), said.get("chain", ""),
                said.get("priority", "0"), words, span,
            )  # fmt: skip
        self._unread(text)

    def _part(
        self, kind: str, family: str, table: str, chain: str, priority: str, text: str, span: Span
    ) -> _Part:
        try:
            words = tuple(shlex.split(text))
        except ValueError:
            words = tuple(text.split())
            self._say(Severity.ERROR, "a quote is not closed here", span)
        if family not in _FAMILIES:
            other = "it is about bridged frames" if family == "eb" else f"no family {family!r}"
            severity = Severity.INFO if family == "eb" else Severity.ERROR
            self._say(severity, f"not read: {other}", span)
        elif table not in BUILTIN and kind != "passthrough":
            self._say(Severity.ERROR, f"no table {table!r}", span)
        number = int(priority) if re.fullmatch(r"-?\d{1,9}", priority) else 0
        if kind == "passthrough":
            table, words = _table_of(words)
        return _Part(kind, family, table, chain, number, words, span)

    def _unread(self, text: str) -> None:
        """Elements of a kind that is not known, and those that never end."""
        rest = _ELEMENT.sub(lambda found: " " * len(found[0]), text)
        for found in re.finditer(r"<(?!/?direct\b|\?)[^>]*>?", rest):
            span = Span(self.source, found.start(), found.end())
            self._say(Severity.WARNING, "this element is not understood", span)

    def _strange_lines(self, text: str) -> None:
        offset = 0
        for raw in text.split("\n"):
            line = raw.strip()
            if line and not line.startswith("#") and not _LINE.match(line):
                start = offset + raw.index(line)
                span = Span(self.source, start, start + len(line))
                hint = "one is written `ipv4 TABLE CHAIN PRIORITY ARGUMENTS`"
                self._say(Severity.ERROR, "this is no direct rule", span, hint)
            offset += len(raw) + 1

    def _say(self, severity: Severity, message: str, span: Span, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(severity, message, span, help))

    # One table.

    def table(self, family: Family, name: str, parts: list[_Part]) -> Table:
        own = [part for part in parts if _FAMILIES.get(part.family) is family and part.table == name]
        declared = {part.chain for part in own if part.kind == "chain"}
        lines: list[Line] = [Chain(chain, None, (0, 0)) for chain in sorted(declared)]
        for part in own:
            if part.kind == "passthrough":
                lines.append(self._line(part, family, part.words))
        rules = sorted((part for part in own if part.kind == "rule"), key=lambda part: part.priority)
        for part in rules:
            chain = part.chain if part.chain in declared else part.chain.removesuffix("_direct")
            lines.append(self._line(part, family, ("-A", chain, *part.words)))
        return Table(name, tuple(lines), family=family)

    def _line(self, part: _Part, family: Family, words: tuple[str, ...]) -> Line:
        scope = Scope(family)
        reader = LineReader(Words(list(words)), scope, lambda _: scope, self.checks)
        made = reader.result(part.span)
        for problem in reader.problems:
            self._say(problem.severity, problem.message, part.span, problem.help)
        if isinstance(made, Rule):
            return _unplaced(made)
        return made if isinstance(made, Command) else Broken(" ".join(words), part.span)


def _table_of(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The table of a command that is passed through, and the words of the command without it."""
    for at, word in enumerate(words[:-1]):
        if word in ("-t", "--table"):
            return words[at + 1], words[:at] + words[at + 2 :]
    return "filter", words


def _unplaced(rule: Rule) -> Rule:
    """The rule with the place of its whole element for every part."""
    options = tuple(replace(option, at=None) for option in rule.options)
    matches = tuple(
        replace(match, at=None, options=tuple(replace(option, at=None) for option in match.options))
        for match in rule.matches
    )
    target: Target | None = rule.target
    if target is not None:
        target = replace(target, at=None, options=tuple(replace(one, at=None) for one in target.options))
    return replace(rule, options=options, matches=matches, target=target, table=None)
