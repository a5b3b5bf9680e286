"""The model agrees with the kernel about random rulesets and random packets, on all three backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.conftest import demand_lab
from tests.kernel.differential.bench import Bench
from tests.kernel.differential.runs import run
from tests.kernel.differential.twins import compare

pytestmark = pytest.mark.kernel
SEED, RULESETS, PACKETS = 3, 100, 5000


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    demand_lab()
    with Bench() as made:
        yield made


@pytest.mark.parametrize("part", range(4))
def test_the_model_agrees_with_the_kernel(bench: Bench, part: int) -> None:
    result = run(bench, SEED + part, RULESETS // 4, PACKETS // 4, most_reports=1)
    assert not result.reports, result.reports[0]
    assert result.rulesets >= RULESETS // 4 and result.tally["compared"] >= PACKETS // 4
    kernel = {name: count for name, count in result.tally.items() if name.startswith("kernel: ")}
    assert min(kernel.values()) > 10 and len(kernel) == 3, "packets arrive, are dropped and are rejected"
    assert result.tally["unsure"] < result.tally["sent"] / 10
    assert result.refused <= result.rulesets / 10


def test_trace_and_sets_agree_about_the_same_packets() -> None:
    result = compare(SEED, 1000)
    assert result.packets >= 1000 and result.rulesets > 5
    assert result.differences == []
