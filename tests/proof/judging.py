"""What the proof says of mutants, and what z3 says of those that it calls equivalent."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from notrack.layout.output import Output, emit
from notrack.packets.address import Family
from notrack.packets.space import Space
from notrack.plan.planner import Plan, plan
from notrack.proof.fault import Fault, unread_fault
from notrack.proof.normal import beside_others, named
from notrack.proof.readback import read_back
from notrack.proof.validation import BUDGET, Emitted, Trial, elsewhere, own_addresses, prove
from notrack.ruleset.core import Ruleset
from notrack.site import load
from tests.conftest import ROOT
from tests.proof.mutants import Mutant, mutants

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/site.spec"))
TARGETS = ("iptables", "ip6tables", "nft")


@dataclass(frozen=True, slots=True)
class Case:
    """One text of one example."""

    folder: Path
    target: str
    coexist: bool = False

    def __str__(self) -> str:
        return f"{self.folder.name} {self.target}{' beside others' if self.coexist else ''}"


@dataclass(slots=True)
class Judged:
    """How many mutants there were, how many were tried and noticed, and those called equivalent.

    `wrong`: those of them that z3 tells apart from the text.
    """

    mutants: int = 0
    tried: int = 0
    noticed: int = 0
    equivalent: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Judged) -> None:
        self.mutants += other.mutants
        self.tried += other.tried
        self.noticed += other.noticed
        self.equivalent += other.equivalent
        self.wrong += other.wrong


def cases(*, coexist: bool = False) -> list[Case]:
    return [Case(folder, target, coexist) for folder in EXAMPLES for target in TARGETS]


def judged(case: Case, share: float, seed: int) -> Judged:
    """The verdicts on a share of the mutants of one text, drawn with a seed."""
    site, _ = load(str(case.folder / "site.spec"))
    asked = plan(site, coexist=case.coexist)
    text = emit(asked, case.target, coexist=case.coexist).text
    draw = random.Random(f"{seed} {case}")
    found = Judged()
    whole = read_back(Output(case.target, text))
    assert whole is not None and prove(asked, [whole]).holds
    trials = Trials(asked)
    for mutant in mutants(text, case.target):
        found.mutants += 1
        if draw.random() < share:
            _judge(case, trials, whole, mutant, found)
    return found


class Trials:
    """The proof of many texts of one plan, as `prove` does it for one; grown spaces are given up."""

    def __init__(self, asked: Plan) -> None:
        self.asked = asked
        self.open: dict[Family, Trial] = {}

    def faults(self, text: Emitted) -> list[Fault]:
        found = [unread_fault(text.target, text.families[0], told) for told in text.diagnostics]
        for family in text.families:
            trial = self.open.get(family)
            if trial is None or len(trial.space.nodes) > 100_000:
                self.open[family] = trial = None
                gc.collect()
                self.open[family] = trial = Trial(
                    self.asked.site,
                    self.asked.families[family],
                    Space(family, BUDGET),
                    others=self.asked.beside_others,
                )
            trial.space.meter.restart()
            trial.target(text, found)
        return found


def _judge(case: Case, trials: Trials, whole: Emitted, mutant: Mutant, found: Judged) -> None:
    found.tried += 1
    broken = read_back(Output(case.target, mutant.text))
    assert broken is not None
    asked = trials.asked
    faults = trials.faults(broken)
    if faults:
        assert all(fault.what for fault in faults)
        found.noticed += 1
        return
    name = f"{case}, line {mutant.line}, {mutant.what}"
    found.equivalent.append(name)
    found.wrong += [f"{name}: {place}" for place in _apart(asked, whole, broken)]


def _apart(asked: Plan, whole: Emitted, broken: Emitted) -> Iterator[str]:
    """Where z3 says that the two texts differ."""
    from tests.proof.encoding import Encoding, unlike_places

    for family in whole.families:
        own = own_addresses(asked.site, family)
        encoding = Encoding(family, own, elsewhere(asked.site, family) - own)

        def names(text: Emitted) -> Ruleset:
            ruleset = named(text.ruleset, family)  # noqa: B023 - called at once
            shared = asked.beside_others and text.target != "nft"
            return beside_others(ruleset, family) if shared else ruleset  # noqa: B023

        yield from (str(place) for place in unlike_places(encoding, names(whole), names(broken)))
