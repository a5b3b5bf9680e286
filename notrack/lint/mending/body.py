"""What a rule asks and does, as text that can be changed: the part of it that all formats have alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from notrack.lint.mending.wording import Wording
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Body(ABC):
    """The text of a rule. Every change gives a new body, or None where it cannot be made for certain.

    All blanks, quotes, variables and comments that a change is not about stay as they are.
    """

    text: str

    @property
    @abstractmethod
    def rule(self) -> object | None:
        """The rule as the reader of its language understands it; None where it does not."""

    @abstractmethod
    def mirrored(self, hook: Hook, chain: str | None = None) -> Self | None:
        """The rule for the answers to what this one takes, to stand in a chain at `hook`.

        `chain` is the chain's name (iptables), where it is not the built-in one of the hook. For a forwarded
        flow the hook of a rule in PREROUTING stays PREROUTING. None where the rule asks for something that
        answers do not mirror (a rate, flags, a mark), or for an interface that the hook does not know.
        """

    @abstractmethod
    def acting(self, target: Wording) -> Self | None:
        """The same matches with another target."""

    @abstractmethod
    def instead(self, rule: Wording) -> Self | None:
        """Another rule by the same command for the same table and chain: its matches and its target."""

    @abstractmethod
    def narrowed(self, match: Wording) -> Self | None:
        """One more match behind those that are there."""

    @abstractmethod
    def without(self, match: Wording) -> Self | None:
        """Without a match: an option by its name (`--ctstate`), or what an nft match asks (`ct state`).
        None where there is no such match."""

    @abstractmethod
    def asking(self, match: Wording, value: Wording) -> Self | None:
        """Another value for a match that is there, named as for `without`; a negation stays. An nft value is
        what stands on the right: `{ new, untracked }`."""

    @abstractmethod
    def moved(self, table: str, chain: str) -> Self | None:
        """The rule for a chain of another name, or of another table. Of native nft rules the place alone
        tells where they are."""

    @abstractmethod
    def fresh(self) -> Self:
        """The rule as one that is new: without the packets that the other one has counted."""
