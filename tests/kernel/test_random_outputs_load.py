"""What is compiled loads: random sites, every target, on every backend, in a namespace of its own."""

from __future__ import annotations

import pytest

from notrack.layout.output import emit
from notrack.plan.planner import plan
from tests.conftest import SOAK
from tests.kernel.lab import Lab
from tests.property.test_compile import plans


@pytest.mark.kernel
def test_random_sites_load_on_every_backend(lab: Lab, backend: str) -> None:
    for text, found in plans(7, 600 if SOAK else 60):
        try:
            lab.load_any(
                backend,
                v4=emit(found, "iptables").text,
                v6=emit(found, "ip6tables").text,
                nft=emit(found, "nft").text,
            )
        except Exception as error:
            raise AssertionError(f"{backend} refuses the rules of\n{text}\n{error}") from error
        lab.clear()


@pytest.mark.kernel
def test_random_sites_load_beside_others(lab: Lab, xtables: str) -> None:
    for text, found in plans(8, 250 if SOAK else 25):
        beside = plan(found.site, coexist=True)
        texts = {t: emit(beside, t, coexist=True).text for t in ("iptables", "ip6tables")}
        try:
            for _ in range(2):
                lab.load(xtables, v4=texts["iptables"], v6=texts["ip6tables"], noflush=True)
        except Exception as error:
            raise AssertionError(f"{xtables} refuses the rules of\n{text}\n{error}") from error
        lab.clear()
