"""Runs a script as far as its text alone decides what happens; what it does not decide is told and kept open.

A condition that is not known sends the interpreter both ways, and the actions of each way carry a guard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final, Protocol

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.actions import Action, Condition, Guard
from notrack.ruleset.shell.conditions import bracket, matches
from notrack.ruleset.shell.derived import Field, Piece, Pieces
from notrack.ruleset.shell.expansion import Expander, has_pattern
from notrack.ruleset.shell.flow import Capture, Frame, Leave
from notrack.ruleset.shell.parser import DECLARATIONS, parse
from notrack.ruleset.shell.state import State, Status, Variable, assigned, joined, unknown
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

ROUNDS: Final = 10_000  # of all loops together
STEPS: Final = 100_000  # commands
DEEPEST: Final = 25  # commands and calls in one another
ACTIONS: Final = 50_000
Loader = Callable[[str], "tuple[Source, ...] | None"]
Way = Callable[[], Status]


class Tools(Protocol):
    """What the interpreter does not know itself: the commands."""

    def dispatch(self, shell: Interpreter, fields: list[Field], span: Span) -> Status:
        """Runs a command that is no function of the script."""

    def setting(self, shell: Interpreter, path: str, pieces: Pieces | None, span: Span) -> Status:
        """Writes text to a file below /proc/sys or /sys."""


class Interpreter:
    """One instance, one run. `actions`, `assumed` and `diagnostics` are what came of it."""

    def __init__(
        self,
        tools: Tools,
        include: Loader | None = None,
        bash: bool = False,
        parameters: tuple[Field, ...] | None = None,
    ) -> None:
        self.tools = tools
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
        self.conditions = 0
        self.sources = 0
        self._said: set[tuple[str, str, int, int]] = set()

    # What commands ask of the shell.

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

    def condition(self, span: Span, action: int | None = None) -> Condition:
        self.conditions += 1
        return Condition(self.conditions, " ".join(span.text.split())[:120], span, action)

    def undecided(self, span: Span) -> Guard:
        """The success of something that the text does not tell."""
        return Guard(self.condition(span))

    def emit(self, pieces: Pieces | None, span: Span) -> None:
        """Standard output, where somebody reads it; None: not known."""
        if self.capture is not None:
            uncertain = len(self.branch) > self.capture.base
            self.capture.add(None if uncertain else pieces, span)

    def output(self, body: t.Sequence | None, span: Span) -> Pieces:
        """What a command substitution prints, without the line ends at its end."""
        if body is not None and self.depth < DEEPEST:
            capture = self._captured(lambda: self._subshell(lambda: self.run(body)))
            if capture.known:
                return _stripped(tuple(capture.pieces))
        self.report("not evaluated: what this command prints", span)
        return (Piece(span.text, span, known=False, splits=True),)

    def file(self, path: str, span: Span) -> Pieces | None:
        """The text of a file: written by the script, or given by the loader."""
        if path in self.state.files:
            return self.state.files[path]
        if path.startswith(("/dev/", "/proc/")):
            return () if path == "/dev/null" else None
        sources = self.include(path) if self.include else None
        if not sources:
            return None
        return tuple(Piece(source.text, Span(source, 0, len(source.text))) for source in sources)

    def source_file(self, path: str, span: Span) -> Status:
        """Runs another file in this shell: `. path`."""
        sources = self.include(path) if self.include else None
        if not sources or self.sources > 100 or self.depth >= DEEPEST:
            self.say(Severity.WARNING, f"not evaluated: what {path!r} does", span)
            return self.undecided(span)
        self.sources += 1
        sequence, faults = parse(sources[0])
        self.diagnostics.extend(faults)
        return self._framed(Frame("function", len(self.branch)), lambda: self.run(sequence))

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

    # Lists.

    def run(self, sequence: t.Sequence) -> Status:
        """The commands in their order. Raises `Leave` where the text says so for certain."""
        status: Status = True
        for item in sequence.items:
            status = self._and_or(item)
            self.state.status = status
        return status

    def _and_or(self, item: t.AndOr) -> Status:
        if item.background:
            self._subshell(lambda: self._chain(item))
            return True
        return self._chain(item)

    def _chain(self, item: t.AndOr) -> Status:
        pipelines = [item.first, *(pipeline for _, pipeline in item.rest)]
        last = len(pipelines) - 1
        status = self._tested(pipelines[0], last > 0)
        for number, (joint, pipeline) in enumerate(item.rest, 1):
            wanted = joint is t.Joint.AND
            if isinstance(status, bool):
                if status is wanted:
                    status = self._tested(pipeline, number < last)
                continue
            status = self._joined_status(item, status, wanted, pipeline, number < last)
        return status

    def _joined_status(
        self, item: t.AndOr, before: Guard, wanted: bool, pipeline: t.Pipeline, tested: bool
    ) -> Status:
        """`a && b` or `a || b` where the success of `a` is not known."""
        guard = before if wanted else before.inverse
        self.unclear(before)
        after: list[Status] = []

        def follow() -> Status:
            after.append(self._tested(pipeline, tested))
            return after[0]

        self.fork(guard, follow, lambda: not wanted)
        if not after:
            return not wanted  # what follows runs only if the second did not
        if isinstance(after[0], bool):
            return before if after[0] is wanted else after[0]
        return self.undecided(item.span)

    def unclear(self, guard: Guard) -> None:
        """Says that a condition is not known; of actions the state of the tables may tell."""
        if guard.condition.action is None:
            span = guard.condition.span
            self.report(f"not evaluated: whether `{_short(span)}` succeeds", span)

    def _tested(self, pipeline: t.Pipeline, tested: bool) -> Status:
        self.testing += tested
        try:
            return self._pipeline(pipeline)
        finally:
            self.testing -= tested

    def _pipeline(self, pipeline: t.Pipeline) -> Status:
        if len(pipeline.commands) > 1:
            status = self._piped(pipeline)
        elif pipeline.negated:
            status = self._tested(dataclasses.replace(pipeline, negated=False), True)
        else:
            status = self._command(pipeline.commands[0])
        if not pipeline.negated:
            return status
        return (not status) if isinstance(status, bool) else status.inverse

    def _piped(self, pipeline: t.Pipeline) -> Status:
        """Each command in a shell of its own, the output of one the input of the next."""
        status: Status = True
        saved = self.input
        for number, command in enumerate(pipeline.commands):
            run = _runner(self, command)
            if number < len(pipeline.commands) - 1:
                capture = self._captured(lambda run=run: self._subshell(run))  # type: ignore[misc]
                self.input = tuple(capture.pieces) if capture.known else None
            else:
                status = self._subshell(run)
        self.input = saved
        return status

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
            return run()
        except Leave as leave:
            if leave.frame is not frame:
                raise
            self.depth, self.branch = depth, branch
            return leave.status
        finally:
            self.frames.pop()
            self._restore(frame.locals)

    # Ways that are not known.

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
            raise left[-1][0]
        for gone, branch, acted in left:
            self._left(gone, branch, acted)
        self.state = states[0]
        for other in states[1:]:
            self.state = joined(self.state, other, span)
        return statuses[0] if all(status == statuses[0] for status in statuses) else self.undecided(span)

    def _left(self, leave: Leave, branch: tuple[Guard, ...], acted: bool) -> None:
        """What it means for the rest that one way leaves it."""
        frame = leave.frame
        extra = branch[frame.base :]
        told = bool(extra) and extra[-1].condition.action is not None  # the tables will tell
        if leave.kind == "exit" and not acted and frame is self.frames[0] and extra and not told:
            self.assumed.add(extra[-1])
            self.say(Severity.INFO, "the script may end here; it is taken to go on", leave.span)
            return
        guard = extra[0] if len(extra) == 1 else Guard(self.condition(leave.span))
        closed = frame.round_closed if leave.kind == "continue" else frame.closed
        closed.append(guard.inverse)

    # Commands.

    def _command(self, command: t.Command) -> Status:
        self.steps += 1
        if self.steps > STEPS:
            self.say(Severity.WARNING, f"not evaluated: more than {STEPS} steps", command.span)
            raise Leave(self.frames[0], "exit", True, command.span)
        if isinstance(command, t.Function):
            self.state.functions[command.name] = command
            return True
        if self.depth >= DEEPEST:
            self.say(Severity.WARNING, "not evaluated: commands nested too deep", command.span)
            return self.undecided(command.span)
        self.depth += 1
        try:
            return self.redirected(command.redirections, command.span, lambda: self._bare(command))
        finally:
            self.depth -= 1

    def _bare(self, command: t.Command) -> Status:
        match command:
            case t.Simple():
                return self._simple(command)
            case t.If():
                return self._if(command.branches, command.otherwise)
            case t.For():
                return self._for(command)
            case t.Loop():
                return self._loop(command)
            case t.Case():
                return self._case(command)
            case t.Group(subshell=True):
                return self._subshell(lambda: self.run(command.body))
            case t.Group():
                return self.run(command.body)
            case t.Opaque(what="[["):
                fields = [self.expander.single(word) for word in command.words]
                found = bracket(fields, self.state.status, patterns=[has_pattern(w) for w in command.words])
                return self.undecided(command.span) if found is None else found
            case t.Opaque():
                if command.what == "arithmetic":
                    self.report("not evaluated: arithmetic", command.span)
                return self.undecided(command.span)
        raise AssertionError(command)

    def redirected(self, redirections: tuple[t.Redirection, ...], span: Span, run: Way) -> Status:
        """Runs a command with its input and output where its redirections put them."""
        saved = self.input
        target: t.Redirection | None = None
        for redirection in redirections:
            if redirection.operator in ("<<", "<<-", "<<<", "<") and redirection.descriptor in (None, 0):
                self.input = self._input(redirection)
            elif (
                redirection.operator in (">", ">|", ">>", "&>", "&>>")
                and redirection.descriptor
                in (
                    None,
                    1,
                )
            ) or (redirection.operator == ">&" and redirection.descriptor in (None, 1)):
                target = redirection
        try:
            return run() if target is None else self._written(target, run)
        finally:
            self.input = saved

    def _input(self, redirection: t.Redirection) -> Pieces | None:
        if redirection.body is not None:
            return self.expander.document(redirection.body)
        field = self.expander.single(redirection.target)
        if redirection.operator == "<<<":
            return (*field.pieces, Piece("\n", redirection.span))
        return None if field.literal is None else self.file(field.literal, redirection.span)

    def _written(self, redirection: t.Redirection, run: Way) -> Status:
        status: Status = True

        def once() -> Status:
            nonlocal status
            status = run()
            return status

        path = self.expander.single(redirection.target).literal
        capture = self._captured(once)
        if path is None or redirection.operator == ">&" or path == "/dev/null":
            return status
        pieces = tuple(capture.pieces) if capture.known else None
        if path.startswith(("/proc/sys/", "/sys/")):
            return self.tools.setting(self, path, pieces, redirection.span)
        if redirection.operator in (">>", "&>>") and pieces is not None:
            before = self.state.files.get(path)
            pieces = None if before is None else before + pieces
        self.state.files[path] = pieces if not self.guards() else None
        return status

    # Simple commands.

    def _simple(self, command: t.Simple) -> Status:
        declares = bool(command.words) and command.words[0].bare in DECLARATIONS
        if not command.words or declares:
            if command.words and command.words[0].bare in ("local", "declare", "typeset"):
                self.make_local([assignment.name for assignment in command.assignments])
            for assignment in command.assignments:
                self.assign(assignment)
            if not declares:
                substituted = any(_substitutes(assignment) for assignment in command.assignments)
                return self.undecided(command.span) if substituted else True
        fields = self.expander.fields(command.words)
        if not fields:
            return True
        name = fields[0].literal
        if name is not None and name in self.state.functions:
            return self._with(command.assignments, lambda: self.call(name, fields))
        return self.tools.dispatch(self, fields, command.span)

    def _with(self, assignments: tuple[t.Assignment, ...], run: Way) -> Status:
        """Runs a function with variables set for it alone."""
        before = {one.name: self.state.variables.get(one.name) for one in assignments}
        for assignment in assignments:
            self.assign(assignment)
        try:
            return run()
        finally:
            self._restore(before)

    def _restore(self, variables: dict[str, Variable | None]) -> None:
        for name, value in variables.items():
            if value is None:
                self.state.variables.pop(name, None)
            else:
                self.state.variables[name] = value

    def assign(self, assignment: t.Assignment) -> None:
        """Sets a variable, in the shell as it is here."""
        variables = self.state.variables
        before = variables.get(assignment.name)
        if assignment.index is not None:
            self.report("not evaluated: one element of an array", assignment.span)
            variables[assignment.name] = unknown(assignment.name, assignment.span)
        elif assignment.elements is not None:
            fields = tuple(self.expander.fields(assignment.elements))
            if assignment.append and before is not None:
                fields = (before.elements or ()) + fields
            variables[assignment.name] = Variable(None, fields)
        elif assignment.value is not None:
            pieces = self.expander.pieces(assignment.value)
            if assignment.append and before is not None and before.value is not None:
                pieces = before.value + pieces
            variables[assignment.name] = Variable(pieces)

    def make_local(self, names: list[str]) -> None:
        frame = next((frame for frame in reversed(self.frames) if frame.kind == "function"), None)
        if frame is not None:
            for name in names:
                frame.locals.setdefault(name, self.state.variables.get(name))

    def call(self, name: str, fields: list[Field]) -> Status:
        """Runs a function of the script with its arguments."""
        function = self.state.functions[name]
        span = fields[0].span
        if function is None or sum(frame.kind == "function" for frame in self.frames) > DEEPEST:
            self.say(Severity.WARNING, f"not evaluated: the function `{name}`", span)
            return self.undecided(span)
        saved = self.state.parameters
        self.state.parameters = tuple(fields[1:])
        if any(field.splits for field in fields[1:]):
            self.state.parameters = None
        try:
            frame = Frame("function", len(self.branch))
            return self._framed(frame, lambda: self._command(function.body))
        finally:
            self.state.parameters = saved

    # Compound commands.

    def _if(self, branches: tuple[t.Branch, ...], otherwise: t.Sequence | None) -> Status:
        branch = branches[0]
        self.testing += 1
        try:
            status = self.run(branch.condition)
        finally:
            self.testing -= 1

        def rest() -> Status:
            if len(branches) == 1:
                return True if otherwise is None else self.run(otherwise)
            self.depth += 1
            if self.depth >= DEEPEST:
                self.report("not evaluated: too many branches", _span(branches[1].condition))
                return True
            try:
                return self._if(branches[1:], otherwise)
            finally:
                self.depth -= 1

        if isinstance(status, bool):
            return self.run(branch.body) if status else rest()
        self.unclear(status)
        return self.fork(status, lambda: self.run(branch.body), rest)

    def _case(self, command: t.Case) -> Status:
        word = self.expander.single(command.word)
        ways: list[tuple[tuple[Guard, ...], Way]] = []
        passed: tuple[Guard, ...] = ()
        for arm in command.arms:
            found = self._arm_matches(word, arm)
            if found is False:
                continue
            if arm.ending != ";;":
                self.report(f"not evaluated: `{arm.ending}`", arm.span)
            here: tuple[Guard, ...] = ()
            if found is None:
                here = (self.undecided(arm.patterns[0].span),)
            ways.append(((*passed, *here), lambda arm=arm: self.run(arm.body)))  # type: ignore[misc]
            if found is True:
                break
            passed += (here[0].inverse,)
        else:
            ways.append((passed, lambda: True))
        if len(ways) == 1 and not ways[0][0]:
            return ways[0][1]()
        self.report(f"not evaluated: which case `{_short(command.word.span)}` is", command.word.span)
        return self.ways(command.word.span, ways)

    def _arm_matches(self, word: Field, arm: t.Arm) -> bool | None:
        found: list[bool | None] = []
        for pattern in arm.patterns:
            if pattern.bare == "*":
                return True
            field = self.expander.single(pattern)
            found.append(matches(word.literal, field.literal, has_pattern(pattern)))
        return True if True in found else None if None in found else False

    def _for(self, command: t.For) -> Status:
        fields = self._items(command)
        if fields is None:
            span = command.span if command.words is None else _words_span(command.words, command.span)
            self.report("not evaluated: what this loop goes over", span)
            self._unknown_rounds(command, self.undecided(span), command.name)
            return True
        status: Status = True
        frame = Frame("loop", len(self.branch))
        self.frames.append(frame)
        try:
            for field in fields:
                status = self._round(command, frame, field, command.name)
        except Leave as leave:
            if leave.frame is not frame:
                raise
            status = True
        finally:
            self.frames.pop()
        return status

    def _items(self, command: t.For) -> list[Field] | None:
        if command.words is None:
            parameters = self.state.parameters
            return None if parameters is None else list(parameters)
        if any(has_pattern(word) for word in command.words):
            return None
        fields = self.expander.fields(command.words)
        return None if any(field.splits and len(fields) == 1 for field in fields) else fields

    def _round(self, command: t.For, frame: Frame, field: Field, name: str) -> Status:
        self.rounds += 1
        if self.rounds > ROUNDS:
            self.say(Severity.WARNING, f"not evaluated: more than {ROUNDS} rounds", command.span)
            raise Leave(frame, "break", True, command.span)
        if field.splits:
            self.report("not evaluated: what this loop goes over", field.span)
            self._unknown_rounds(command, self.undecided(field.span), name)
            return True
        self.state.variables[name] = Variable(field.pieces)
        frame.round_closed.clear()
        depth = self.depth
        try:
            return self.run(command.body)
        except Leave as leave:
            if leave.frame is not frame or leave.kind != "continue":
                raise
            self.depth = depth
            return True

    def _unknown_rounds(self, command: t.For | t.Loop, guard: Guard, name: str | None = None) -> None:
        """A body that runs any number of times: once, under a guard, with all that it sets unknown."""
        self._forget(command)

        def once() -> Status:
            if name is not None:
                self.state.variables[name] = unknown(name, command.span)
            frame = Frame("loop", len(self.branch))
            self.frames.append(frame)
            try:
                return self.run(command.body)
            except Leave as leave:
                if leave.frame is not frame:
                    raise
                return True
            finally:
                self.frames.pop()

        self.fork(guard, once, lambda: True)

    def _forget(self, command: t.For | t.Loop) -> None:
        for name in assigned((command.body, command), dict(self.state.functions)):
            self.state.variables[name] = unknown(name, command.span)

    def _loop(self, command: t.Loop) -> Status:
        before, count = self.state.copy(), len(self.actions)
        self._forget(command)
        self.testing += 1
        try:
            status = self.run(command.condition)
        finally:
            self.testing -= 1
        if isinstance(status, bool) and status is command.until:
            self.state = before
            return True
        if len(self.actions) == count + 1 and _until_refused(command, status):
            self.actions[-1] = dataclasses.replace(self.actions[-1], repeated=True)
            self.state = before
            return True
        span = _span(command.condition) if command.condition.items else command.span
        self.report("not evaluated: how often this loop runs", span)
        self._unknown_rounds(command, self.undecided(span))
        return True


def _runner(shell: Interpreter, command: t.Command) -> Way:
    return lambda: shell._command(command)


def _until_refused(command: t.Loop, status: Status) -> bool:
    """`while iptables -D ...; do :; done`: nothing but an action, again and again."""
    if not isinstance(status, Guard) or status.condition.action is None:
        return False
    return not status.negated and not command.until and _idle(command.body)


def _idle(body: t.Sequence) -> bool:
    """Whether a loop's body does nothing: `:`, `true`, `sleep 1`."""
    return all(
        isinstance(command, t.Simple)
        and bool(command.words)
        and command.words[0].bare in (":", "true", "sleep")
        for item in body.items
        for command in item.first.commands
        if not item.rest
    ) and not any(item.rest for item in body.items)


def _substitutes(assignment: t.Assignment) -> bool:
    parts = assignment.value.parts if assignment.value else ()
    return any(isinstance(part, t.Substitution) for part in parts)


def _stripped(pieces: Pieces) -> Pieces:
    kept = list(pieces)
    while kept and kept[-1].known and not kept[-1].text.rstrip("\n"):
        kept.pop()
    if kept and kept[-1].known and kept[-1].text.endswith("\n"):
        kept[-1] = kept[-1].part(0, len(kept[-1].text.rstrip("\n")))
    return tuple(kept)


def _short(span: Span) -> str:
    text = " ".join(span.text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def _span(sequence: t.Sequence) -> Span:
    first, last = sequence.items[0].span, sequence.items[-1].span
    return Span(first.source, first.start, last.end)


def _words_span(words: tuple[t.Word, ...], otherwise: Span) -> Span:
    return Span(words[0].span.source, words[0].span.start, words[-1].span.end) if words else otherwise
