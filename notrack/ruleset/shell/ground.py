"""Where a script runs: its state, its doubts, and the ways that it may go.

A condition that is not known sends the interpreter both ways, and the actions of each way carry a guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.actions import Action, Condition, Guard
from notrack.ruleset.shell.derived import Field, Pieces
from notrack.ruleset.shell.expansion import Expander
from notrack.ruleset.shell.flow import Capture, Frame, Leave
from notrack.ruleset.shell.state import State, Status, Variable, joined
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

ACTIONS: Final = 50_000
CLOSED: Final = 4  # guards of one frame, before they become one
DEEPEST: Final = 25  # commands and calls in one another
Loader = Callable[[str], "tuple[Source, ...] | None"]
Way = Callable[[], Status]


class Ground:
    """What of an interpreter does not depend on the commands. `actions`, `assumed` and `diagnostics` are what
    came of a run."""

    def __init__(
        self,
        include: Loader | None = None,
        bash: bool = False,
        parameters: tuple[Field, ...] | None = None,
    ) -> None:
        self.include = include
        self.bash = bash
        self.state = State(parameters=parameters)
        self.expander = Expander(self)
        self.actions: list[Action] = []
        self.assumed: set[Guard] = set()
        self.diagnostics: list[Diagnostic] = []
        self.branch: tuple[Guard, ...] = ()
        self.frames: list[Frame] = [Frame("shell", 0)]
        self.input: Pieces | None = None
        self.capture: Capture | None = None
        self.testing = 0  # conditions around: `set -e` is off in them
        self.depth = 0
        self.steps = 0
        self.rounds = 0
        self.recursions = 0
        self.conditions = 0
        self.sources = 0
        self._said: set[tuple[str, str, int, int]] = set()

    def output(self, body: t.Sequence | None, span: Span) -> Pieces:
        """What a command substitution prints; the interpreter knows how."""
        raise NotImplementedError

    def report(self, message: str, span: Span, help: str | None = None) -> None:
        self.say(Severity.INFO, message, span, help)

    def say(self, severity: Severity, message: str, span: Span, help: str | None = None) -> None:
        """A diagnostic, once for each place."""
        self.tell(Diagnostic(severity, message, span, help))

    def tell(self, diagnostic: Diagnostic) -> None:
        span = diagnostic.span
        key = (diagnostic.message, *((span.source.name, span.start, span.end) if span else ("", 0, 0)))
        if key not in self._said:
            self._said.add(key)
            self.diagnostics.append(diagnostic)

    def guards(self) -> tuple[Guard, ...]:
        """What must hold for the next command to run."""
        return tuple(dict.fromkeys((*self.branch, *(g for frame in self.frames for g in frame.all_closed))))

    @property
    def fatal(self) -> bool:
        inside = any(frame.kind == "shell" for frame in self.frames[1:])
        return self.state.errexit and not self.testing and not inside

    def record(self, action: Action) -> Guard:
        """Keeps an action; its success is a condition of its own."""
        if len(self.actions) < ACTIONS:
            self.actions.append(action)
        elif len(self.actions) == ACTIONS:
            self.say(Severity.WARNING, f"not evaluated: more than {ACTIONS} commands", action.span)
        return Guard(self.condition(action.span, action.number))

    @property
    def next_number(self) -> int:
        return len(self.actions)

    def condition(self, span: Span, action: int | None = None, all_of: tuple[Guard, ...] = ()) -> Condition:
        self.conditions += 1
        return Condition(self.conditions, " ".join(span.text.split())[:120], span, action, all_of)

    def undecided(self, span: Span) -> Guard:
        """The success of something that the text does not tell."""
        return Guard(self.condition(span))

    def unclear(self, guard: Guard) -> None:
        """Says that a condition is not known; of actions the state of the tables may tell."""
        if guard.condition.action is None:
            span = guard.condition.span
            self.report(f"not evaluated: whether `{short(span)}` succeeds", span)

    def emit(self, pieces: Pieces | None, span: Span) -> None:
        """Standard output, where somebody reads it; None: not known."""
        if self.capture is not None:
            uncertain = len(self.branch) > self.capture.base
            self.capture.add(None if uncertain else pieces, span)

    def leave(self, kind: str, levels: int, status: Status, span: Span) -> Status:
        """`exit`, `return`, `break` and `continue`; does nothing where there is nothing to leave."""
        wanted = {"exit": "shell", "return": "function"}.get(kind, "loop")
        for frame in reversed(self.frames):
            if frame.kind == wanted:
                levels -= 1
                if levels <= 0:
                    raise Leave(frame, kind, status, span)
            elif wanted == "loop" and frame.kind != "loop":
                break
        if kind == "return":
            raise Leave(self.frames[0], "exit", status, span)
        return True

    def _captured(self, run: Way) -> Capture:
        saved, capture = self.capture, Capture(len(self.branch))
        self.capture = capture
        try:
            run()
        finally:
            self.capture = saved
        return capture

    def _subshell(self, run: Way) -> Status:
        saved = self.state
        self.state = saved.copy()
        try:
            return self._framed(Frame("shell", len(self.branch)), run)
        finally:
            saved.files = self.state.files
            self.state = saved

    def _framed(self, frame: Frame, run: Way) -> Status:
        """Runs something that `exit` or `return` may leave."""
        self.frames.append(frame)
        depth, branch = self.depth, self.branch
        try:
            return self._ended(frame, run())
        except Leave as leave:
            if leave.frame is not frame:
                raise
            self.depth, self.branch = depth, branch
            return self._ended(frame, leave.status)
        finally:
            self.frames.pop()
            self._restore(frame.locals)

    def _ended(self, frame: Frame, status: Status) -> Status:
        """The status of a frame that some ways may have left before its end, each with its own."""
        if not frame.left or all(other == status for _, other in frame.left):
            return status
        stayed = tuple(guard.inverse for guard, _ in frame.left)
        span = stayed[0].condition.span
        statuses = {other for _, other in frame.left}
        if statuses == {False} and status is not False:
            rest = () if status is True else (status,)
            return self._all_of((*stayed, *rest), span)
        if statuses == {True} and status is False:
            return self._all_of(stayed, span).inverse
        return self.undecided(span)

    def _all_of(self, guards: tuple[Guard, ...], span: Span) -> Guard:
        return guards[0] if len(guards) == 1 else Guard(self.condition(span, None, guards))

    def _restore(self, variables: dict[str, Variable | None]) -> None:
        for name, value in variables.items():
            if value is None:
                self.state.variables.pop(name, None)
            else:
                self.state.variables[name] = value

    def fork(self, guard: Guard, first: Way, second: Way) -> Status:
        """Both ways of a condition, each on a state of its own; what they agree on is known afterwards."""
        return self.ways(guard.condition.span, [((guard,), first), ((guard.inverse,), second)])

    def ways(self, span: Span, ways: list[tuple[tuple[Guard, ...], Way]]) -> Status:
        """Ways of which exactly one is taken."""
        before = self.state
        statuses: list[Status] = []
        states: list[State] = []
        left: list[tuple[Leave, tuple[Guard, ...], bool]] = []
        for guards, way in ways:
            self.state = before.copy()
            count = len(self.actions)
            saved, depth = self.branch, self.depth
            self.branch = saved + tuple(guard for guard in guards if guard not in saved)
            try:
                statuses.append(way())
                states.append(self.state)
            except Leave as leave:
                left.append((leave, self.branch, len(self.actions) > count))
            finally:
                self.branch, self.depth = saved, depth
        if not states:
            self.state = before
            raise self._all_left(left)
        for gone, branch, acted in left:
            self._left(gone, branch, acted)
        self.state = states[0]
        for other in states[1:]:
            self.state = joined(self.state, other, span)
        return statuses[0] if all(status == statuses[0] for status in statuses) else self.undecided(span)

    def _all_left(self, left: list[tuple[Leave, tuple[Guard, ...], bool]]) -> Leave:
        """All ways leave: nothing follows in the innermost of what they leave. The others close it behind."""
        inner = max((leave for leave, _, _ in left), key=lambda leave: self.frames.index(leave.frame))
        last = next(leave for leave, _, _ in reversed(left) if leave.frame is inner.frame)
        for leave, branch, acted in left:
            if leave is not last:
                self._left(leave, branch, acted)
        return last

    def _left(self, leave: Leave, branch: tuple[Guard, ...], acted: bool) -> None:
        """What it means for the rest that one way leaves it."""
        frame = leave.frame
        extra = branch[frame.base :]
        told = bool(extra) and extra[-1].condition.action is not None  # the tables will tell
        if leave.kind == "exit" and not acted and frame is self.frames[0] and extra and not told:
            self.assumed.add(extra[-1])
            self.say(Severity.INFO, "the script may end here; it is taken to go on", leave.span)
            return
        if not extra:
            return
        guard = self._all_of(extra, leave.span)
        if leave.kind in ("return", "exit"):
            frame.left.append((guard, leave.status))
        closed = frame.round_closed if leave.kind == "continue" else frame.closed
        closed.append(guard.inverse)
        if len(closed) > CLOSED:
            closed[:] = [Guard(self.condition(leave.span, None, tuple(closed)))]


def short(span: Span) -> str:
    text = " ".join(span.text.split())
    return text if len(text) <= 60 else text[:57] + "..."
