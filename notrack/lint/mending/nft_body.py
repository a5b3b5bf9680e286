"""Native nft rules as text that can be changed."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Self

from notrack.lint.mending.body import Body
from notrack.lint.mending.nft_mirror import mirror_stretches
from notrack.lint.mending.splice import Stretch, spliced
from notrack.lint.mending.wording import Wording
from notrack.ruleset.core import Hook
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.reader import read_rule
from notrack.text.diagnostic import Rejected
from notrack.text.record import dataclass
from notrack.text.source import Span


@dataclass(frozen=True, slots=True)
class NftBody(Body):
    """The statements of a rule, without the command or the chain in which they stand."""

    @property
    def rule(self) -> t.Rule | None:
        """The rule as the reader understands it; None where any of it is wrong or not known."""
        return _rule(self.text)

    def mirrored(self, hook: Hook, chain: str | None = None) -> Self | None:
        rule = self.rule
        stretches = mirror_stretches(rule, hook) if rule else None
        return None if stretches is None else self._with(stretches)

    def acting(self, target: Wording) -> Self | None:
        rule = self.rule
        if rule is None or target.nft is None:
            return None
        old = [one for one in rule.statements if isinstance(one, t.Notrack | t.Verdict | t.Reject)]
        if not old:
            end = max((one.span.end for one in rule.statements if one.span), default=0)
            return self._inserted(end, target.nft)
        first, *others = [one.span for one in old if one.span]
        stretches = [self._cut(span) for span in others]
        return self._with([(first.start, first.end, target.nft), *stretches])

    def instead(self, rule: Wording) -> Self | None:
        return None if rule.nft is None else self._with([(0, len(self.text), rule.nft)])

    def narrowed(self, match: Wording) -> Self | None:
        rule = self.rule
        if rule is None or match.nft is None:
            return None
        end = 0
        for statement in rule.statements:
            if not isinstance(statement, t.Match) or statement.span is None:
                break
            end = statement.span.end
        return self._inserted(end, match.nft)

    def without(self, match: Wording) -> Self | None:
        found = self._match(match)
        return None if found is None or found.span is None else self._with([self._cut(found.span)])

    def asking(self, match: Wording, value: Wording) -> Self | None:
        found = self._match(match)
        if found is None or found.right.span is None or value.nft is None:
            return None
        return self._with([(found.right.span.start, found.right.span.end, value.nft)])

    def moved(self, table: str, chain: str) -> Self | None:
        return self

    def fresh(self) -> Self:
        rule = self.rule
        counters = [one for one in rule.statements if isinstance(one, t.Counter)] if rule else []
        made = self._with([(one.span.start, one.span.end, "counter") for one in counters if one.span])
        return made or self

    def _match(self, match: Wording) -> t.Match | None:
        """The one match that asks about this."""
        rule = self.rule
        if rule is None or match.nft is None:
            return None
        found = [
            one
            for one in rule.statements
            if isinstance(one, t.Match) and one.left.span and one.left.span.text.split() == match.nft.split()
        ]
        return found[0] if len(found) == 1 else None

    def _cut(self, span: Span) -> Stretch:
        """A statement taken out, with the blanks before or behind it."""
        start, end = span.start, span.end
        while start and self.text[start - 1] in " \t":
            start -= 1
        while start == 0 and end < len(self.text) and self.text[end] in " \t":
            end += 1
        return start, end, ""

    def _inserted(self, end: int, text: str) -> Self | None:
        return self._with([(end, end, f" {text}" if end else f"{text} ")])

    def _with(self, stretches: list[Stretch]) -> Self | None:
        text = spliced(self.text, stretches)
        if text is None or not text.strip() or _rule(text) is None:
            return None
        return replace(self, text=text)


@lru_cache(maxsize=256)
def _rule(text: str) -> t.Rule | None:
    try:
        return read_rule(text)
    except Rejected:
        return None
