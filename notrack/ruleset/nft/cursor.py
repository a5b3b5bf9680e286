"""A place in a list of tokens, with the questions a reader asks of it, and the faults it finds."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import field

from notrack.ruleset.nft.tokens import ADDRESS, END, NEWLINE, NUMBER, QUOTED, REMARK, WORD, Token, Tokens
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

DEEPEST = 50  # nested braces and parentheses; people need three
ENDS = frozenset({NEWLINE, ";", "}", END, REMARK})
SHOWN = 40  # characters of a token that a message quotes


class Fault(Exception):
    """Inside this room only: what a reader cannot go on from. The nearest block catches and records it."""

    def __init__(self, diagnostic: Diagnostic, *, inside: bool = False) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
        self.inside = inside  # in braces that were opened on this line, and may never close


Loader = Callable[[str], "tuple[Source, ...] | None"]


@dataclass(frozen=True, slots=True)
class Inclusion:
    """How a reader comes by included files (all that a pattern names; None: no such file), and how deep."""

    load: Loader | None = None
    depth: int = 0


@dataclass(slots=True)
class Cursor:
    """Mutable, and never seen outside the readers."""

    tokens: Tokens
    index: int = 0
    depth: int = 0
    diagnostics: list[Diagnostic] = field(default_factory=list)
    inclusion: Inclusion = Inclusion()

    @property
    def token(self) -> Token:
        return self.tokens.tokens[self.index]

    def ahead(self, count: int = 1) -> Token:
        tokens = self.tokens.tokens
        return tokens[min(self.index + count, len(tokens) - 1)]

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these words or symbols (a quoted string never is)."""
        return self.token.text in texts and self.token.kind != QUOTED

    def at_kind(self, *kinds: str) -> bool:
        return self.token.kind in kinds

    def at_end(self) -> bool:
        """Whether a statement may end here."""
        return self.token.kind in ENDS

    def take(self) -> Token:
        token = self.token
        if token.kind != END:
            self.index += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        return self.take() if self.at(*texts) else None

    def expect(self, *texts: str, help: str | None = None) -> Token:
        if self.at(*texts):
            return self.take()
        wanted = " or ".join(f"`{text}`" for text in texts)
        raise self.fault(f"expected {wanted}, found {self.found()}", help=help or self.nearest(texts))

    def word(self, what: str) -> str:
        """A name; `what` says of what, for the message."""
        if self.token.kind != WORD:
            raise self.fault(f"expected {what}, found {self.found()}")
        return self.take().text

    def one_of(self, known: Iterable[str], what: str) -> str:
        """One of the known words."""
        words = frozenset(known)
        if self.token.kind == WORD and self.token.text in words:
            return self.take().text
        raise self.fault(f"expected {what}, found {self.found()}", help=self.nearest(words))

    def number(self, what: str = "a number") -> int:
        if self.token.kind != NUMBER:
            raise self.fault(f"expected {what}, found {self.found()}")
        text = self.take().text
        return int(text, 16) if text[:2] in ("0x", "0X") else int(text[:30])

    def text(self, what: str) -> str:
        """A string, in quotes or as a bare word."""
        token = self.token
        if token.kind not in (QUOTED, WORD, NUMBER, ADDRESS):
            raise self.fault(f"expected {what}, found {self.found()}")
        self.take()
        return token.text[1:-1] if token.kind == QUOTED else token.text

    def skip_lines(self) -> None:
        while self.token.kind in (NEWLINE, REMARK):
            self.index += 1

    def skip_separators(self) -> None:
        while self.token.kind in (NEWLINE, ";"):
            self.index += 1

    def skip_statement(self) -> None:
        """To the end of the statement, over whole blocks."""
        depth = 0
        while self.token.kind != END:
            kind = self.token.kind
            if depth == 0 and kind in (NEWLINE, ";", "}"):
                return
            depth += (kind == "{") - (kind == "}")
            self.index += 1

    def skip_open_braces(self) -> None:
        """Out of the braces that are open here, if they close on this line; otherwise to its end."""
        depth = 1
        while depth > 0 and self.token.kind not in (NEWLINE, END):
            depth += (self.token.kind == "{") - (self.token.kind == "}")
            self.index += 1
        if depth == 0:
            self.skip_statement()

    def span(self, start: int) -> Span:
        """From the token numbered `start` to the one before the cursor."""
        tokens = self.tokens.tokens
        first, last = tokens[start], tokens[max(self.index - 1, start)]
        if self.index <= start:
            return Span(self.tokens.source, first.start, first.start)
        return Span(self.tokens.source, first.start, last.end)

    def here(self) -> Span:
        token = self.token
        end = token.start if token.kind in (NEWLINE, END) else token.end
        return Span(self.tokens.source, token.start, end)

    def found(self) -> str:
        token = self.token
        if token.kind == END:
            return "the end of the text"
        if token.kind in (NEWLINE, REMARK):
            return "the end of the line"
        text = token.text if len(token.text) <= SHOWN else token.text[:SHOWN] + "..."
        return f"`{text}`"

    def nearest(self, known: Iterable[str]) -> str | None:
        """`did you mean ...?` for the word under the cursor."""
        close = difflib.get_close_matches(self.token.text[:SHOWN], sorted(known), 1, 0.6)
        return f"did you mean `{close[0]}`?" if close else None

    def fault(
        self, message: str, span: Span | None = None, help: str | None = None, *, inside: bool = False
    ) -> Fault:
        place = span or self.here()
        return Fault(Diagnostic(Severity.ERROR, message, place, help), inside=inside)

    def unknown(self, message: str, span: Span | None = None, help: str | None = None) -> Fault:
        """A fault that may be ours: what newer nft may know. A warning, and the text is kept."""
        return Fault(Diagnostic(Severity.WARNING, message, span or self.here(), help))

    def warn(self, message: str, span: Span, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, span, help))

    def report(self, fault: Fault) -> None:
        self.diagnostics.append(fault.diagnostic)

    def enter(self) -> None:
        """One brace or parenthesis deeper."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fault(f"nested more than {DEEPEST} deep")

    def leave(self) -> None:
        self.depth -= 1
