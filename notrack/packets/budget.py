"""How much time and memory an exact answer may cost."""

from __future__ import annotations

import time

from notrack.text.record import dataclass


class TooHard(Exception):
    """An exact answer would cost more than allowed: the question is undecided. Never means yes or no."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of one space of packets. `edges` counts intervals in all nodes; each costs about 20 octets.

    `answers` is how many results an operation remembers (about 100 octets each) before it forgets them all.
    """

    seconds: float = 120.0
    nodes: int = 3_000_000
    edges: int = 20_000_000
    answers: int = 1_000_000


class Meter:
    """Counts against a budget and raises `TooHard` when it is spent."""

    __slots__ = ("budget", "deadline", "edges")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.edges = 0
        self.deadline = time.monotonic() + budget.seconds

    def restart(self) -> None:
        """Start the clock again, for the next question."""
        self.deadline = time.monotonic() + self.budget.seconds

    def check(self, nodes: int) -> None:
        """Raise if nodes, edges or time are above the bounds."""
        if time.monotonic() > self.deadline:
            raise TooHard(f"not decided in {self.budget.seconds:g} s")
        if nodes > self.budget.nodes or self.edges > self.budget.edges:
            raise TooHard(f"not decided with {nodes} nodes of {self.edges} intervals in all")
