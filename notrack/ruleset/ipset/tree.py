"""The lines of an ipset text, in their order, and the sets that are there once all of them have run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from notrack.text.record import dataclass
from notrack.text.source import Source, Span

Settings = tuple[tuple[str, str], ...]  # the words of options; those without a value have an empty one


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a set: the key as it is written (`10.0.0.1,tcp:80`), and its options (`timeout 30`)."""

    key: str
    settings: Settings = ()
    span: Span | None = field(default=None, compare=False, repr=False)

    def setting(self, name: str) -> str | None:
        return next((value for known, value in self.settings if known == name), None)


@dataclass(frozen=True, slots=True)
class Set:
    """A set with its members: `type` is `hash:ip,port` and its kind."""

    name: str
    type: str
    settings: Settings = ()
    members: tuple[Member, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)

    def setting(self, name: str) -> str | None:
        return next((value for known, value in self.settings if known == name), None)


@dataclass(frozen=True, slots=True)
class Create:
    """`create NAME TYPE ...`; `set` has no members yet (in a listing: those that stand below it)."""

    set: Set
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """`add` or `del` of one member."""

    verb: str
    set: str
    member: Member
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """`flush`, `destroy`, `swap`, `rename` and whatever else concerns whole sets."""

    verb: str
    arguments: tuple[str, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Trivia:
    """A comment, an empty line, a line that was not understood (the diagnostics say so)."""

    text: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)


Line = Create | Change | Command | Trivia


@dataclass(frozen=True, slots=True)
class Collection:
    """A whole text."""

    lines: tuple[Line, ...] = ()
    source: Source | None = field(default=None, compare=False, repr=False)


def in_force(lines: Iterable[Line], before: Mapping[str, Set] | None = None) -> dict[str, Set]:
    """The sets after the lines have run one by one, with `before` to begin with. What ipset would refuse
    (an entry of a set that nobody made) changes nothing."""
    sets = dict(before or {})
    members = {name: dict(_named(found.members)) for name, found in sets.items()}
    for line in lines:
        match line:
            case Create(set=made):
                sets[made.name] = made
                members[made.name] = dict(_named(made.members))
            case Change(verb="add", set=name, member=member) if name in sets:
                members[name][member.key] = member
            case Change(verb="del", set=name, member=member) if name in sets:
                members[name].pop(member.key, None)
            case Command():
                _whole(line, sets, members)
    return {name: replace(found, members=tuple(members[name].values())) for name, found in sets.items()}


def _named(members: tuple[Member, ...]) -> Iterable[tuple[str, Member]]:
    return ((member.key, member) for member in members)


def _whole(line: Command, sets: dict[str, Set], members: dict[str, dict[str, Member]]) -> None:
    names = line.arguments
    match line.verb:
        case "flush":
            for name in names or tuple(sets):
                members[name] = {}
        case "destroy":
            for name in names or tuple(sets):
                sets.pop(name, None)
                members.pop(name, None)
        case "swap" if len(names) > 1 and names[0] in sets and names[1] in sets:
            first, second = names[:2]
            sets[first], sets[second] = replace(sets[second], name=first), replace(sets[first], name=second)
            members[first], members[second] = members[second], members[first]
        case "rename" if len(names) > 1 and names[0] in sets and names[1] not in sets:
            sets[names[1]] = replace(sets.pop(names[0]), name=names[1])
            members[names[1]] = members.pop(names[0])


def write(collection: Collection) -> str:
    """The text as `ipset restore` reads it."""
    return "".join(f"{text}\n" for line in collection.lines for text in _texts(line))


def _texts(line: Line) -> Iterable[str]:
    match line:
        case Create(set=made):
            yield " ".join(("create", made.name, made.type, *_words(made.settings)))
            for member in made.members:
                yield " ".join(("add", made.name, member.key, *_words(member.settings)))
        case Change():
            yield " ".join((line.verb, line.set, line.member.key, *_words(line.member.settings)))
        case Command():
            yield " ".join((line.verb, *line.arguments))
        case Trivia(text=text):
            yield text if not text or text.startswith("#") else f"# {text}"


def _words(settings: Settings) -> Iterable[str]:
    for name, value in settings:
        yield name
        if name == "comment" and value:
            yield f'"{value}"'
        elif value:
            yield value
