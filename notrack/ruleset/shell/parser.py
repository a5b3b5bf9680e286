"""Scripts to trees, by recursive descent. Every fault is recorded; reading goes on with the next line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from notrack.ruleset.shell.scanner import Fault, Scanner
from notrack.ruleset.shell.tree import (
    AndOr,
    Arm,
    Assignment,
    Branch,
    Case,
    Command,
    For,
    Function,
    Group,
    If,
    Joint,
    Literal,
    Loop,
    Opaque,
    Pipeline,
    Redirection,
    Sequence,
    Simple,
    Word,
)
from notrack.text.diagnostic import Diagnostic
from notrack.text.source import Source

DECLARATIONS: Final = frozenset(("export", "readonly", "local", "declare", "typeset"))
_CLOSERS: Final = frozenset(("then", "elif", "else", "fi", "do", "done", "esac", "}"))
_BARE: Final = re.compile(r"""[^ \t\n\r;&|<>()'"\\$`]+(?=[ \t\n\r;&|<>()]|\Z)""")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[([^\]\n]*)\])?(\+?)=", re.ASCII)
_REDIRECTION: Final = re.compile(r"(\d*)(<<<|<<-|<<|<&|<>|<(?!\()|>>|>&|>\||>(?!\()|&>>|&>)")
_FUNCTION: Final = re.compile(r"([A-Za-z_][\w.+-]*)[ \t]*\([ \t]*\)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def parse(source: Source) -> tuple[Sequence, tuple[Diagnostic, ...]]:
    """The commands of a script and every syntax fault, in the order in which they were found. Never raises.

    What could not be read is kept as `Opaque`, up to the end of its line.
    """
    parser = Parser(source)
    items: list[AndOr] = []
    while True:
        items.extend(parser.sequence().items)
        if parser.position >= parser.end:
            return Sequence(tuple(items)), tuple(parser.diagnostics)
        items.append(parser.stray())


class Parser(Scanner):
    """One instance, one source (or a stretch of it)."""

    def sequence(self) -> Sequence:
        """Commands up to a word or symbol that closes something, which is left in place."""
        items: list[AndOr] = []
        while True:
            self.separators()
            if self.position >= self.end or self.char == ")" or self.at(";;") or self.at(";&"):
                return Sequence(tuple(items))
            if self.keyword() in _CLOSERS:
                return Sequence(tuple(items))
            items.append(self._recovering())

    def inner_sequence(self, start: int, end: int) -> Sequence | None:
        inner = Parser(self.source, start, end, self.depth + 1)
        try:
            inner.enter()
            inner.substitutions = 1
            body = inner.sequence()
        except Fault:
            return None
        return body if inner.position >= end else None

    def stray(self) -> AndOr:
        """A closing word or symbol that closes nothing."""
        start = self.position
        closer = self.keyword() or (";;" if self.at(";;") else self.char)
        fault = Fault(f"`{closer}` closes nothing", self.here(len(closer)))
        self.diagnostics.append(fault.diagnostic)
        self.position += max(1, len(closer))
        return self._opaque(start)

    def separators(self) -> None:
        while True:
            self.skip_blank()
            if self.char == ";" and not self.at(";;") and not self.at(";&"):
                self.position += 1
            elif not self.take_line_end():
                return

    def keyword(self) -> str:
        """The bare word at this place, without taking it; empty if there is none."""
        found = self.match(_BARE)
        return found.group() if found else ""

    def _opaque(self, start: int) -> AndOr:
        span = self.span(start)
        return AndOr(Pipeline((Opaque("what cannot be read", span),), span), span)

    def _recovering(self) -> AndOr:
        start = self.position
        depth = self.depth
        try:
            return self._and_or()
        except Fault as fault:
            if self.substitutions:
                raise
            self.depth = depth
            self.diagnostics.append(fault.diagnostic)
            self.position = max(start, min(fault.span.start, self.end))
            while self.position < self.end and self.char != "\n":
                self.position += 1
            return self._opaque(start)

    # Lists and pipelines.

    def _and_or(self) -> AndOr:
        start = self.position
        first = self._pipeline()
        rest: list[tuple[Joint, Pipeline]] = []
        while True:
            stop = self.position
            self.skip_blank()
            joint = Joint.AND if self.at("&&") else Joint.OR if self.at("||") else None
            if joint is None:
                break
            place = self.here(2)
            self.position += 2
            self._line_ends()
            if self.position >= self.end:
                raise Fault(f"nothing follows this `{joint.value}`", place)
            rest.append((joint, self._pipeline()))
        span = self.span(start, stop)
        background = self.char == "&"
        if background:
            self.position += 1
        self._separated(background)
        return AndOr(first, span, tuple(rest), background)

    def _separated(self, background: bool) -> None:
        """A list of commands ends with its line, `;`, `&` or what closes the whole."""
        self.skip_blank()
        if self.position >= self.end or self.char in "\n)" or self.at(";"):
            return
        if not background or self.char in "&|":
            found = self.keyword()[:40] or self.char
            raise Fault(f"`{found}` cannot stand here", self.here(len(found)))

    def _line_ends(self) -> None:
        self.skip_blank()
        while self.take_line_end():
            self.skip_blank()

    def _pipeline(self) -> Pipeline:
        start = self.position
        negated = False
        while self.keyword() == "!":
            self.position += 1
            negated = not negated
            self.skip_blank()
        commands = [self._command()]
        while True:
            stop = self.position
            self.skip_blank()
            if self.char != "|" or self.at("||"):
                self.position = stop
                return Pipeline(tuple(commands), self.span(start), negated)
            self.position += 2 if self.at("|&") else 1
            self._line_ends()
            commands.append(self._command())

    # Commands.

    def _command(self) -> Command:
        start = self.position
        word = self.keyword()
        reader = _COMPOUND.get(word)
        if reader is None and self.char != "(":
            if word in _CLOSERS:
                raise Fault(f"`{word}` cannot stand here", self.here(len(word)))
            function = self.match(_FUNCTION)
            if function is not None:
                self.position = function.end()
                return self._function(start, function.group(1))
            return self._simple()
        self.enter()
        try:
            return self._subshell(start) if reader is None else reader(self, start)
        finally:
            self.depth -= 1

    def _take(self, *words: str) -> str:
        """One of these keywords."""
        self.separators()
        found = self.keyword()
        if found not in words:
            shown = f"`{found[:40] or self.char}`" if self.position < self.end else "the end of the script"
            wanted = " or ".join(f"`{word}`" for word in words)
            raise Fault(f"expected {wanted}, found {shown}", self.here(max(1, len(found))))
        self.position += len(found)
        return found

    def _if(self, start: int) -> If:
        self._take("if")
        branches: list[Branch] = []
        otherwise = None
        while True:
            condition = self.sequence()
            self._take("then")
            branches.append(Branch(condition, self.sequence()))
            word = self._take("elif", "else", "fi")
            if word == "else":
                otherwise = self.sequence()
                self._take("fi")
            if word != "elif":
                return If(tuple(branches), otherwise, self.span(start), self._redirections())

    def _loop(self, start: int) -> Loop:
        word = self._take("while", "until")
        condition = self.sequence()
        body = self._do()
        return Loop(condition, body, self.span(start), word == "until", self._redirections())

    def _do(self) -> Sequence:
        self._take("do")
        body = self.sequence()
        self._take("done")
        return body

    def _for(self, start: int) -> Command:
        self._take("for", "select")
        self.skip_blank()
        if self.at("(("):
            self._balanced(2, 2, "arithmetic")
            body = self._do()
            return Loop(_unknown_condition(self, start), body, self.span(start), False, self._redirections())
        name = self.match(_NAME)
        if name is None:
            raise Fault("`for` needs the name of a variable", self.here())
        self.position = name.end()
        self.skip_blank()
        words: list[Word] | None = None
        if self.char == "\n":
            self._line_ends()
        if self.keyword() == "in":
            self.position += 2
            words = self._words()
        body = self._do()
        taken = None if words is None else tuple(words)
        return For(name.group(), taken, body, self.span(start), self._redirections())

    def _words(self) -> list[Word]:
        words: list[Word] = []
        while True:
            self.skip_blank()
            word = self.word()
            if word is None:
                return words
            words.append(word)

    def _case(self, start: int) -> Case:
        self._take("case")
        self.skip_blank()
        word = self.word()
        if word is None:
            raise Fault("`case` needs a word", self.here())
        self._take("in")
        arms: list[Arm] = []
        while True:
            self.separators()
            if self.keyword() == "esac":
                break
            arms.append(self._arm())
        self._take("esac")
        return Case(word, tuple(arms), self.span(start), self._redirections())

    def _arm(self) -> Arm:
        start = self.position
        if self.char == "(":
            self.position += 1
        patterns: list[Word] = []
        while True:
            self.skip_blank()
            pattern = self.word()
            if pattern is None:
                raise Fault("expected a pattern", self.here())
            patterns.append(pattern)
            self.skip_blank()
            if self.char != "|":
                break
            self.position += 1
        if self.char != ")":
            raise Fault("expected `)` behind the pattern", self.here())
        self.position += 1
        body = self.sequence()
        ending = next((sign for sign in (";;&", ";;", ";&") if self.at(sign)), "")
        self.position += len(ending)
        if not ending and self.keyword() != "esac":
            raise Fault("expected `;;` or `esac`", self.here())
        return Arm(tuple(patterns), body, self.span(start), ending or ";;")

    def _group(self, start: int) -> Group:
        self._take("{")
        body = self.sequence()
        self._take("}")
        return Group(body, self.span(start), False, self._redirections())

    def _subshell(self, start: int) -> Command:
        if self.at("(("):
            self._balanced(2, 2, "arithmetic")
            return Opaque("arithmetic", self.span(start))
        self.position += 1
        body = self.sequence()
        if self.char != ")":
            raise Fault("this `(` is never closed", self.span(start, start + 1))
        self.position += 1
        return Group(body, self.span(start), True, self._redirections())

    def _named_function(self, start: int) -> Function:
        self._take("function")
        self.skip_blank()
        name = self.keyword().removesuffix("()")
        if not name:
            raise Fault("`function` needs a name", self.here())
        self.position += len(name)
        self.skip_blank()
        if self.char == "(":
            self.position += 1
            self.skip_blank()
            self._expect(")")
        return self._function(start, name)

    def _expect(self, sign: str) -> None:
        if not self.at(sign):
            raise Fault(f"expected `{sign}`", self.here())
        self.position += len(sign)

    def _function(self, start: int, name: str) -> Function:
        self._line_ends()
        if self.keyword() not in _COMPOUND and self.char != "(":
            raise Fault("expected the body of the function, in braces", self.here())
        return Function(name, self._command(), self.span(start))

    def _double_bracket(self, start: int) -> Opaque:
        """`[[ ... ]]`: the words, for those who can tell from them; operators end words as elsewhere."""
        self._take("[[")
        words: list[Word] = []
        while True:
            self._line_ends()
            if self.keyword() == "]]":
                self.position += 2
                return Opaque("[[", self.span(start), tuple(words), self._redirections())
            if self.position >= self.end:
                raise Fault("this `[[` is never closed", self.span(start, start + 2))
            begin = self.position
            word = self.word()
            if word is None:
                self.position += 2 if self.at("&&") or self.at("||") else 1
                text = self.text[begin : self.position]
                word = Word((Literal(text, self.span(begin)),), self.span(begin))
            words.append(word)

    # Simple commands.

    def _simple(self) -> Simple:
        start = self.position
        words: list[Word] = []
        assignments: list[Assignment] = []
        redirections: list[Redirection] = []
        while True:
            stop = self.position
            self.skip_blank()
            redirection = self._redirection()
            if redirection is not None:
                redirections.append(redirection)
                continue
            declares = bool(words) and words[0].bare in DECLARATIONS
            assignment = self._assignment() if not words or declares else None
            if assignment is not None:
                assignments.append(assignment)
                continue
            word = self.word()
            if word is None:
                break
            words.append(word)
        if not (words or assignments or redirections):
            shown = f"`{self.char}`" if self.position < self.end and self.char != "\n" else "nothing"
            raise Fault(f"expected a command, found {shown}", self.here())
        self.position = stop
        return Simple(tuple(words), self.span(start), tuple(assignments), tuple(redirections))

    def _assignment(self) -> Assignment | None:
        found = self.match(_ASSIGNMENT)
        if found is None:
            return None
        start = self.position
        self.position = found.end()
        name, index, plus = found.groups()
        if self.char == "(" and index is None:
            elements = self._array()
            return Assignment(name, None, self.span(start), elements, bool(plus))
        value = self.word() or Word((), self.span(self.position))
        return Assignment(name, value, self.span(start), None, bool(plus), index)

    def _array(self) -> tuple[Word, ...]:
        start = self.position
        self.position += 1
        words: list[Word] = []
        while True:
            self._line_ends()
            if self.char == ")":
                self.position += 1
                return tuple(words)
            word = self.word()
            if word is None:
                raise Fault("this `(` is never closed", self.span(start, start + 1))
            words.append(word)

    def _redirections(self) -> tuple[Redirection, ...]:
        found: list[Redirection] = []
        while True:
            before = self.position
            self.skip_blank()
            redirection = self._redirection()
            if redirection is None:
                if not found:
                    self.position = before
                return tuple(found)
            found.append(redirection)

    def _redirection(self) -> Redirection | None:
        found = self.match(_REDIRECTION)
        if found is None:
            return None
        start = self.position
        self.position = found.end()
        operator = found.group(2)
        if self.match(_BLANK_ONLY):
            self.skip_blank()
        target = self.word()
        if target is None:
            raise Fault(f"nothing follows this `{operator}`", self.span(start, found.end()))
        descriptor = int(found.group(1)[:4]) if found.group(1) else None
        place = self.span(start)
        body = None
        if operator in ("<<", "<<-"):
            quoted = any(not isinstance(part, Literal) or part.quoted for part in target.parts)
            body = self.here_document(target.literal or target.span.text, quoted, operator == "<<-", place)
        return Redirection(operator, target, descriptor, place, body)


_BLANK_ONLY: Final = re.compile(r"[ \t]|\\\r?\n")


def _unknown_condition(parser: Parser, start: int) -> Sequence:
    return Sequence((parser._opaque(start),))


_COMPOUND: Final[dict[str, Callable[[Parser, int], Command]]] = {
    "if": Parser._if,
    "while": Parser._loop,
    "until": Parser._loop,
    "for": Parser._for,
    "select": Parser._for,
    "case": Parser._case,
    "{": Parser._group,
    "function": Parser._named_function,
    "[[": Parser._double_bracket,
}
