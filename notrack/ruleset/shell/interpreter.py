"""Runs a script as far as its text alone decides what happens; what it does not decide is told, and kept."""

from __future__ import annotations

import dataclasses
from typing import Final, Protocol

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.compound import Compound
from notrack.ruleset.shell.conditions import bracket
from notrack.ruleset.shell.derived import Field, Piece, Pieces
from notrack.ruleset.shell.expansion import has_pattern
from notrack.ruleset.shell.flow import Frame, Leave
from notrack.ruleset.shell.ground import DEEPEST, Loader, Way
from notrack.ruleset.shell.parser import parse
from notrack.ruleset.shell.simple_parser import DECLARATIONS
from notrack.ruleset.shell.state import Status, Variable, in_arithmetic, unknown
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

STEPS: Final = 100_000  # commands
RECURSIONS: Final = 500  # calls of a function inside itself


class Tools(Protocol):
    """What the interpreter does not know itself: the commands."""

    def dispatch(self, shell: Interpreter, fields: list[Field], span: Span) -> Status:
        """Runs a command that is no function of the script."""

    def setting(self, shell: Interpreter, path: str, pieces: Pieces | None, span: Span) -> Status:
        """Writes text to a file below /proc/sys or /sys."""


class Interpreter(Compound):
    """One instance, one run."""

    def __init__(
        self,
        tools: Tools,
        include: Loader | None = None,
        bash: bool = False,
        parameters: tuple[Field, ...] | None = None,
    ) -> None:
        super().__init__(include, bash, parameters)
        self.tools = tools

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
                    for name in in_arithmetic(command.span.text):
                        self.state.variables[name] = unknown(name, command.span)
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
        self.recursions += any(frame.name == name for frame in self.frames)
        if function is None or self.recursions > RECURSIONS:
            self.say(Severity.WARNING, f"not evaluated: the function `{name}`", span)
            return self.undecided(span)
        saved = self.state.parameters
        self.state.parameters = tuple(fields[1:])
        try:
            frame = Frame("function", len(self.branch), name=name)
            return self._framed(frame, lambda: self._command(function.body))
        finally:
            self.state.parameters = saved


def _runner(shell: Interpreter, command: t.Command) -> Way:
    return lambda: shell._command(command)


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
