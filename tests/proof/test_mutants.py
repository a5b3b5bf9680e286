"""Emitted rules with one thing broken: the proof notices each break that changes what becomes of a packet."""

from __future__ import annotations

import pytest

from tests.proof.judging import Case, cases, judged
from tests.proof.mutants import mutants

SHARE = 0.1  # the soak command tries them all


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_break_is_noticed_or_changes_nothing(case: Case) -> None:
    pytest.importorskip("z3")
    found = judged(case, SHARE, 1)
    assert not found.wrong
    assert found.tried > found.mutants * SHARE / 3
    assert found.noticed > found.tried / 2


def test_there_are_enough_mutants() -> None:
    number = 0
    for case in cases():
        names = {"iptables": "rules.v4", "ip6tables": "rules.v6", "nft": "rules.nft"}
        number += sum(1 for _ in mutants((case.folder / names[case.target]).read_text(), case.target))
    assert number >= 2000
