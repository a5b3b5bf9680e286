"""Fixtures for tests with real packets. Where no lab can be built they skip; under `CI` they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import BACKENDS, XTABLES, Lab, missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kernel)


def demand_lab() -> None:
    """Skip with the reason when no lab can be built; fail when `CI` is set, where it must be."""
    reason = missing()
    if reason and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"kernel tests cannot run: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    """One default lab for all tests of this process."""
    demand_lab()
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """The default lab, with no rules, no entries, no sockets and its first settings."""
    shared_lab.reset()
    return shared_lab


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the three backends."""
    return str(request.param)


@pytest.fixture(params=XTABLES)
def xtables(request: pytest.FixtureRequest) -> str:
    """Each of the two iptables backends."""
    return str(request.param)
