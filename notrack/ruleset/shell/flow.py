"""What a running shell keeps of where it is: what can be left, and who reads the output."""

from __future__ import annotations

from dataclasses import field

from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.derived import Piece, Pieces
from notrack.ruleset.shell.state import Status, Variable
from notrack.text.record import dataclass
from notrack.text.source import Span


@dataclass(slots=True, eq=False)
class Frame:
    """A shell, function or loop that runs. `base`: the guards of the branch in which it began.

    `left`: the guard of each way that left it before its end, and with which status. `closed` are guards for
    all that still follows in it, since a way that may be taken has left it; `round_closed` those for the rest
    of one round.
    """

    kind: str  # shell, function, loop
    base: int
    closed: list[Guard] = field(default_factory=list)
    round_closed: list[Guard] = field(default_factory=list)
    locals: dict[str, Variable | None] = field(default_factory=dict)
    name: str = ""  # of a function
    left: list[tuple[Guard, Status]] = field(default_factory=list)  # by ways that may be taken

    @property
    def all_closed(self) -> list[Guard]:
        return self.closed + self.round_closed


class Leave(Exception):
    """Inside the interpreter only: the commands up to the end of a frame (or of a round of it) do not run."""

    def __init__(self, frame: Frame, kind: str, status: Status, span: Span) -> None:
        super().__init__(kind)
        self.frame = frame
        self.kind = kind
        self.status = status
        self.span = span


@dataclass(slots=True)
class Capture:
    """What commands print where something reads it."""

    base: int
    pieces: list[Piece] = field(default_factory=list)
    known: bool = True

    def add(self, pieces: Pieces | None, span: Span) -> None:
        if pieces is None:
            self.known = False
        else:
            self.pieces.extend(pieces)
