"""A ruleset and its packets from a seed, the same on every machine and every day."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.kernel.differential.probes import Probe, random_probes
from tests.kernel.differential.rulesets import random_case
from tests.kernel.differential.shape import Case, Loadable, smaller


@dataclass(frozen=True, slots=True)
class Session:
    """What is asked of both sides. `seed` names it; 0 is none that was drawn."""

    case: Loadable
    backend: str
    probes: tuple[Probe, ...]
    seed: int = 0


def session(seed: int, count: int = 50) -> Session:
    """The session of a seed, on one of the backends that can load its ruleset."""
    rng = random.Random(seed)
    case = random_case(rng)
    while not case.tables:
        case = random_case(rng)
    backend = rng.choice(case.backends)
    return Session(case, backend, tuple(random_probes(rng, case.families(), count)), seed)


def shrunk(found: Session, differs: Callable[[Session], bool], most: int = 600) -> Session:
    """The smallest session near by that still differs, after at most so many questions."""
    asked = 0

    def still(one: Session) -> bool:
        nonlocal asked
        asked += 1
        return asked <= most and differs(one)

    better = True
    while better and asked < most:
        better = False
        for less in _smaller(found):
            if still(less):
                found, better = less, True
                break
    return found


def _smaller(one: Session) -> Iterator[Session]:
    for probes in _fewer(one.probes):
        yield Session(one.case, one.backend, probes)
    if isinstance(one.case, Case):
        for case in smaller(one.case):
            if case.tables:
                yield Session(case, one.backend, one.probes)


def _fewer(probes: tuple[Probe, ...]) -> Iterator[tuple[Probe, ...]]:
    """Fewer packets; nobody follows one that is gone."""
    size = len(probes) // 2
    while size >= 1:
        for start in range(0, len(probes), size):
            kept = probes[:start] + probes[start + size :]
            numbers = {probe.number for probe in kept}
            while any(probe.after not in (None, *numbers) for probe in kept):
                kept = tuple(probe for probe in kept if probe.after in (None, *numbers))
                numbers = {probe.number for probe in kept}
            if kept:
                yield kept
        size //= 2
