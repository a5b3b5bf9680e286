"""No walk of the garbage collector while a ruleset is read or lowered."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from notrack.packets.address import Family
from notrack.ruleset.collection import uncollected
from notrack.ruleset.nft.lower import lowered
from notrack.ruleset.nft.reader import read as read_nft
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source

RULES = "".join(
    f"-A INPUT -s 10.0.{n % 250}.{n // 250}/32 -p tcp --dport {n + 1} -j DROP\n" for n in range(3000)
)
SAVED = f"*filter\n:INPUT ACCEPT [0:0]\n{RULES}COMMIT\n"
NATIVE = "table ip a { chain b {\n" + "".join(f"tcp dport {n + 1} drop\n" for n in range(3000)) + "} }\n"


@pytest.fixture
def walks() -> Iterator[list[str]]:
    """One word for each walk of the collector."""
    seen: list[str] = []

    def noted(phase: str, _: dict[str, int]) -> None:
        seen.append(phase)

    gc.collect()
    gc.callbacks.append(noted)
    yield seen
    gc.callbacks.remove(noted)


def test_nothing_is_walked_while_a_saved_ruleset_is_lowered(walks: list[str]) -> None:
    with uncollected():
        ruleset, _ = read(Source("rules.v4", SAVED), Family.IPV4)
    walks.clear()
    made, _ = lower(ruleset, Family.IPV4)
    within = len(walks)
    assert len(made.tables[0].chains[0].rules) == 3000
    assert within <= 2  # none inside; one, its begin and end, may come as soon as the collector is back


def test_nothing_is_walked_while_an_nft_ruleset_is_read_and_lowered(walks: list[str]) -> None:
    ruleset, _ = read_nft(Source("x.nft", NATIVE))
    made, _ = lowered(ruleset)
    assert len(made.tables[0].chains[0].rules) == 3000
    assert len(walks) <= 4


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_left_as_it_was(was_on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(ValueError, match="inside"), uncollected(), uncollected():
            assert not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()
