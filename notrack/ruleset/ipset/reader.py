"""Reads what `ipset save` prints and `ipset restore` takes, also as of old, and what `ipset list` shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from notrack.ruleset.collection import uncollected
from notrack.ruleset.ipset.tree import (
    Change,
    Collection,
    Command,
    Create,
    Line,
    Member,
    Set,
    Settings,
    Trivia,
)
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.nearest import nearest
from notrack.text.source import Source, Span

_VERBS: Final = {
    **dict.fromkeys(("create", "new", "n", "-N", "--create"), "create"),
    **dict.fromkeys(("add", "-A", "--add"), "add"),
    **dict.fromkeys(("del", "-D", "--del"), "del"),
    **dict.fromkeys(("flush", "-F", "--flush"), "flush"),
    **dict.fromkeys(("destroy", "x", "-X", "--destroy"), "destroy"),
    **dict.fromkeys(("swap", "w", "-W", "--swap"), "swap"),
    **dict.fromkeys(("rename", "e", "-E", "--rename"), "rename"),
    **dict.fromkeys(("test", "-T", "--test", "list", "-L", "--list", "save", "-S", "--save", "version",
                     "quit", "COMMIT", "-o", "-output"), "none"),
}  # fmt: skip
_TYPES: Final = {  # as ipset 4 called them
    "ipmap": "bitmap:ip", "macipmap": "bitmap:ip,mac", "portmap": "bitmap:port", "iphash": "hash:ip",
    "nethash": "hash:net", "ipporthash": "hash:ip,port", "ipportiphash": "hash:ip,port,ip",
    "ipportnethash": "hash:ip,port,net", "setlist": "list:set", "iptree": "hash:ip", "iptreemap": "hash:ip",
}  # fmt: skip
_SHORT: Final = {"-!": "", "-exist": "", "--exist": ""}
_FLAGS: Final = frozenset(
    ("counters", "comment", "skbinfo", "forceadd", "nomatch", "wildcard", "noset", "probabilistic")
)
_VALUES: Final = frozenset(
    ("family", "hashsize", "maxelem", "netmask", "bitmask", "markmask", "range", "timeout", "size", "probes",
     "resize", "bucketsize", "initval", "packets", "bytes", "skbmark", "skbprio", "skbqueue", "before",
     "after", "from", "to", "network", "gc")
)  # fmt: skip
_TYPE: Final = re.compile(r"(?:hash|bitmap|list):[a-z,]+")
_WORD: Final = re.compile(r'"[^"]*"|\S+')
_HEADINGS: Final = re.compile(
    r"(Name|Type|Revision|Header|Size in memory|References|Number of entries|Members):"
)


def read(source: Source) -> tuple[Collection, tuple[Diagnostic, ...]]:
    """The lines of a text, and what is wrong or not known in it. Never raises.

    An ERROR is a line that ipset refuses, a WARNING an option that nothing explains: an entry with one is
    taken to be there or not.
    """
    with uncollected():
        reader = _Reader(source)
        reader.read()
        return Collection(tuple(reader.lines), source), tuple(reader.diagnostics)


def command(words: Sequence[str], span: Span | None) -> tuple[Line | None, str]:
    """One command of ipset from its words, and a complaint; None instead of what ipset refuses."""
    words = [word for word in words if word not in _SHORT]
    verb = _VERBS.get(words[0]) if words else None
    if verb is None:
        return None, f"no command {words[0]!r}" if words else "no command"
    rest = words[1:]
    if verb == "none":
        return Trivia(" ".join(words), span), ""
    if verb == "create":
        return _created(rest, span)
    if verb in ("add", "del"):
        if len(rest) < 2:
            return None, f"{verb} needs a set and an entry"
        settings, strange = _settings(rest[2:])
        return Change(verb, rest[0], Member(rest[1], settings, span), span), strange
    return Command(verb, tuple(rest), span), ""


def _created(words: Sequence[str], span: Span | None) -> tuple[Line | None, str]:
    if len(words) < 2:
        return None, "create needs a name and a type"
    kind = _TYPES.get(words[1], words[1])
    if not _TYPE.fullmatch(kind):
        return None, f"no type {words[1]!r}"
    settings, strange = _settings(words[2:])
    return Create(Set(words[0], kind, settings, (), span), span), strange


def _settings(words: Sequence[str]) -> tuple[Settings, str]:
    """Options by name and value, and a complaint about the first that is not known."""
    words = [word for word in words if word not in _SHORT]
    found: list[tuple[str, str]] = []
    strange = ""
    index = 0
    while index < len(words):
        name = _option(words[index])
        after = words[index + 1] if index + 1 < len(words) else None
        index += 1
        if name in ("inet", "inet6"):
            found.append(("family", name))
        elif name == "comment" and after is not None and after.startswith('"'):
            found.append((name, after.strip('"')))
            index += 1
        elif name in _FLAGS:
            found.append((name, ""))
        elif name in _VALUES and after is not None:
            found.append((name, after))
            index += 1
        else:
            found.append((name, ""))
            strange = strange or f"no option {name!r}"
    return tuple(found), strange


def _option(word: str) -> str:
    """An option without the dashes that old texts put before it; any other word as it is."""
    bare = word.lstrip("-")
    known = bare in _FLAGS or bare in _VALUES or bare in ("inet", "inet6", "comment")
    return bare if known else word


class _Reader:
    """Reads a source line by line; one instance, one read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines: list[Line] = []
        self.diagnostics: list[Diagnostic] = []
        self.shown: dict[str, str] = {}  # of the set that a listing shows now
        self.members: list[Member] | None = None
        self.place: Span | None = None

    def read(self) -> None:
        offset = 0
        for raw in self.source.text.split("\n"):
            line = raw.strip()
            start = offset + len(raw) - len(raw.lstrip())
            if line or offset < len(self.source.text):
                self._line(line, Span(self.source, start, start + len(line)))
            offset += len(raw) + 1
        self._listed()

    def _line(self, line: str, span: Span) -> None:
        if not line or line.startswith("#"):
            self._listed() if not line and self.members is not None else None
            self.lines.append(Trivia(line, span))
            return
        heading = _HEADINGS.match(line)
        if heading and (heading[1] == "Name" or self.shown):
            self._heading(heading[1], line[heading.end() :].strip(), span)
            return
        words = _WORD.findall(line) if '"' in line else line.split()
        if self.members is not None:
            settings, strange = _settings(words[1:])
            self._strange(strange, span)
            self.members.append(Member(words[0], settings, span))
            return
        self._command(words, span)

    def _command(self, words: Sequence[str], span: Span) -> None:
        made, complaint = command(words, span)
        if made is None:
            near = nearest(words[0], tuple(verb for verb in _VERBS if verb.isalpha()))
            hint = f"did you mean `{near}`?" if near and near != words[0] else None
            self.diagnostics.append(Diagnostic(Severity.ERROR, complaint, span, hint))
            made = Trivia(" ".join(words), span)
        else:
            self._strange(complaint, span)
        self.lines.append(made)

    def _strange(self, complaint: str, span: Span) -> None:
        if complaint:
            self.diagnostics.append(Diagnostic(Severity.WARNING, complaint, span))

    # A listing.

    def _heading(self, name: str, value: str, span: Span) -> None:
        if name == "Name":
            self._listed()
            self.place = span
            value = (value.split() or [""])[0]
        self.shown[name] = value
        if name == "Members":
            self.members = []

    def _listed(self) -> None:
        """Ends the set that a listing shows."""
        shown, self.shown = self.shown, {}
        members, self.members = self.members, None
        if not shown:
            return
        kind = shown.get("Type", "")
        if not _TYPE.fullmatch(kind) or not shown["Name"]:
            message = f"the set {shown['Name']} is listed without a type"
            self.diagnostics.append(Diagnostic(Severity.ERROR, message, self.place))
            return
        if members is None:
            message = f"the set {shown['Name']} is listed without its members"
            self.diagnostics.append(
                Diagnostic(Severity.ERROR, message, self.place, "list it without -t, or use `ipset save`")
            )
            return
        settings, strange = _settings(shown.get("Header", "").split())
        if strange and self.place:
            self._strange(strange, self.place)
        made = Set(shown["Name"], kind, settings, tuple(members), self.place)
        self.lines.append(Create(made, self.place))


def known(sets: Mapping[str, Set]) -> str:
    """The names of sets, for a message."""
    return ", ".join(sorted(sets)) or "none"
