"""The ipsets that a script makes, command by command; what is not known of one makes it a doubtful one."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from notrack.ruleset.ipset.reader import command, read
from notrack.ruleset.ipset.tree import Change, Command, Create, Line, Set, in_force
from notrack.ruleset.shell.actions import Other
from notrack.text.record import dataclass

_UNKNOWN: Final = "$"  # what a script does not tell is written like a variable
_RESTORES: Final = frozenset(("restore", "-R", "--restore"))
_EXIST: Final = frozenset(("-exist", "--exist", "-!"))
_QUIET: Final = frozenset(("-q", "-quiet", "--quiet"))


@dataclass(slots=True)
class IpSets:
    """The sets so far. `doubtful` names those of which not everything is known; None stands for all."""

    sets: dict[str, Set] = field(default_factory=dict)
    doubtful: set[str | None] = field(default_factory=set)

    def run(self, action: Other, certain: bool) -> bool | None:
        """One command, as far as it is known to run; the answer is True, done, False, refused, or None."""
        words = [word for word in action.words[1:] if word not in _QUIET]
        if any(word in _RESTORES for word in words):
            return self._restore(action, certain)
        line, complaint = command(words, action.span)
        if line is None:
            return False if complaint and not any(_UNKNOWN in word for word in words) else self._doubt(None)
        if not certain or complaint or any(_UNKNOWN in word for word in words):
            return self._doubt(*_names(line))
        answer = self._answer(line, forgiving=any(word in _EXIST for word in words))
        if answer is not False:
            self.sets = in_force((line,), self.sets)
        return answer

    def known(self) -> dict[str, Set]:
        """The sets of which everything is known."""
        if None in self.doubtful:
            return {}
        return {name: found for name, found in self.sets.items() if name not in self.doubtful}

    def _restore(self, action: Other, certain: bool) -> bool | None:
        text = action.text
        if text is None or not all(piece.known for piece in text.pieces):
            return self._doubt(None)
        collection, diagnostics = read(text)
        if diagnostics or not certain:
            return self._doubt(*(name for line in collection.lines for name in _names(line)))
        self.sets = in_force(collection.lines, self.sets)
        return None

    def _doubt(self, *names: str | None) -> bool | None:
        self.doubtful |= {None if name is not None and _UNKNOWN in name else name for name in names}
        return None

    def _answer(self, line: Line, forgiving: bool) -> bool | None:
        if self.doubtful & {None, *_names(line)}:
            return None
        match line:
            case Create(set=made):
                return made.name not in self.sets or forgiving or False
            case Change(set=name):
                return None if name in self.sets else False
            case Command(arguments=names):
                return all(name in self.sets for name in names[:1]) and (None if names else True)
        return None


def _names(line: Line) -> tuple[str | None, ...]:
    """The sets that a command changes."""
    match line:
        case Create(set=made):
            return (made.name,)
        case Change(set=name):
            return (name,)
        case Command(arguments=names):
            return names or (None,)
    return ()
