"""Compound commands: `if`, `for`, `while`, `case`, groups, functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from notrack.ruleset.shell.cursor import Fault
from notrack.ruleset.shell.simple_parser import SimpleParser
from notrack.ruleset.shell.tree import (
    AndOr,
    Arm,
    Branch,
    Case,
    Command,
    For,
    Function,
    Group,
    If,
    Literal,
    Loop,
    Opaque,
    Pipeline,
    Sequence,
    Word,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class CompoundParser(SimpleParser):
    """Reads what begins with a keyword or a parenthesis."""

    def _command(self) -> Command:
        """Any command; the parser knows how."""
        raise NotImplementedError

    def _opaque(self, start: int) -> AndOr:
        span = self.span(start)
        return AndOr(Pipeline((Opaque("what cannot be read", span),), span), span)

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
            place = self._balanced(2, 2, "arithmetic").span
            count = AndOr(Pipeline((Opaque("arithmetic", place),), place), place)
            body = self._do()
            return Loop(Sequence((count,)), body, self.span(start), False, self._redirections())
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
        if self.keyword() not in COMPOUND and self.char != "(":
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


COMPOUND: Final[dict[str, Callable[[CompoundParser, int], Command]]] = {
    "if": CompoundParser._if,
    "while": CompoundParser._loop,
    "until": CompoundParser._loop,
    "for": CompoundParser._for,
    "select": CompoundParser._for,
    "case": CompoundParser._case,
    "{": CompoundParser._group,
    "function": CompoundParser._named_function,
    "[[": CompoundParser._double_bracket,
}
