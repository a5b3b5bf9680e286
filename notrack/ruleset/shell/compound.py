"""Conditions, cases and loops: run where the text decides them, kept open where it does not."""

from __future__ import annotations

import dataclasses
from typing import Final

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.derived import Field
from notrack.ruleset.shell.expansion import has_pattern
from notrack.ruleset.shell.flow import Frame, Leave
from notrack.ruleset.shell.ground import DEEPEST, Ground, Way, short
from notrack.ruleset.shell.patterns import matches
from notrack.ruleset.shell.rows import names, rows
from notrack.ruleset.shell.state import Status, Variable, assigned, unknown
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

ROUNDS: Final = 10_000  # of all loops together


class Compound(Ground):
    """Runs compound commands."""

    def run(self, sequence: t.Sequence) -> Status:
        """The commands in their order; the interpreter knows how."""
        raise NotImplementedError

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
        self.report(f"not evaluated: which case `{short(command.word.span)}` is", command.word.span)
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

    def _lines(self, command: t.Loop) -> tuple[tuple[str, ...], list[list[Field]]] | None:
        """The variables that a loop reads, and what they get line by line, where the text is known."""
        found = names(command)
        if found is None or self.input is None:
            return None
        made = rows(self.input, len(found[0]), found[1], command.span)
        return None if made is None else (found[0], made)

    def _rows(self, command: t.Loop, variables: tuple[str, ...], lines: list[list[Field]]) -> Status:
        """The rounds of a loop that reads a line for each. What its body reads is not known."""
        saved, self.input = self.input, None
        frame = Frame("loop", len(self.branch))
        self.frames.append(frame)
        try:
            for line in lines:
                for name, field in zip(variables[:-1], line[:-1], strict=True):
                    self.state.variables[name] = Variable(field.pieces)
                self._round(command, frame, line[-1], variables[-1])
            for name in variables:
                self.state.variables[name] = Variable(())
        except Leave as leave:
            if leave.frame is not frame:
                raise
        finally:
            self.frames.pop()
            self.input = saved
        return True

    def _items(self, command: t.For) -> list[Field] | None:
        if command.words is None:
            parameters = self.state.parameters
            return None if parameters is None else list(parameters)
        if any(has_pattern(word) for word in command.words):
            return None
        fields = self.expander.fields(command.words)
        return None if any(field.splits and len(fields) == 1 for field in fields) else fields

    def _round(self, command: t.For | t.Loop, frame: Frame, field: Field, name: str) -> Status:
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
        lines = self._lines(command)
        if lines is not None:
            return self._rows(command, *lines)
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


def _span(sequence: t.Sequence) -> Span:
    first, last = sequence.items[0].span, sequence.items[-1].span
    return Span(first.source, first.start, last.end)


def _words_span(words: tuple[t.Word, ...], otherwise: Span) -> Span:
    return Span(words[0].span.source, words[0].span.start, words[-1].span.end) if words else otherwise
