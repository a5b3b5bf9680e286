"""Throw-away network namespaces in which nft loads a text and lists what came of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest

MISPLACED = re.compile(r"^/dev/stdin:(\d+):", re.MULTILINE)


@dataclass(frozen=True)
class Loaded:
    ok: bool
    listing: str
    errors: str


@dataclass(frozen=True)
class Lab:
    """Every load happens in a network namespace of its own that ends with it."""

    def load(self, text: str, *options: str) -> Loaded:
        flags = "-n" if os.geteuid() == 0 else "-rn"
        script = 'nft -f - || exit 9; nft "$@" list ruleset'
        done = subprocess.run(
            ["unshare", flags, "sh", "-c", script, "sh", *options],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Loaded(done.returncode == 0, done.stdout, done.stderr)

    def listing(self, text: str) -> str:
        """What all is listed as, the elements of sets in order."""
        return normal(self.load(text).listing)

    def listings(self, setup: str, place: str, rules: dict[int, str]) -> dict[int, str]:
        """What each rule is listed as, by its number; a rule that nft refuses is left out.

        Every rule gets a chain of its own in the table `place` (`ip x`), made by `setup`.
        """
        left = dict(rules)
        while left:
            numbers, lines = list(left), list(setup.splitlines())
            head = len(lines)
            for number, rule in left.items():
                lines.append(f"add chain {place} c{number}; add rule {place} c{number} {rule}")
            loaded = self.load("\n".join(lines) + "\n")
            if loaded.ok:
                return chains(loaded.listing)
            bad = {int(found) - head - 1 for found in MISPLACED.findall(loaded.errors)}
            bad = {number for number in bad if 0 <= number < len(numbers)}
            if not bad:
                return self._halves(setup, place, left)
            for number in bad:
                del left[numbers[number]]
        return {}

    def _halves(self, setup: str, place: str, rules: dict[int, str]) -> dict[int, str]:
        if len(rules) == 1:
            return {}
        items = list(rules.items())
        middle = len(items) // 2
        left = self.listings(setup, place, dict(items[:middle]))
        return left | self.listings(setup, place, dict(items[middle:]))


def chains(listing: str) -> dict[int, str]:
    """The rules of the chains `c0`, `c1`, ... of a listing."""
    found: dict[int, str] = {}
    for name, body in re.findall(r"^\tchain c(\d+) \{\n(.*?)^\t\}", listing, re.MULTILINE | re.DOTALL):
        found[int(name)] = normal(body.strip())
    return found


def normal(listing: str) -> str:
    """The listing with the elements of sets in order (nft lists some in any), and without times left."""
    listing = re.sub(r" expires \w+", "", listing)
    return re.sub(
        r"\{([^{}]*)\}",
        lambda found: "{ " + ", ".join(sorted(part.strip() for part in found.group(1).split(","))) + " }",
        listing,
    )


@pytest.fixture(scope="session")
def lab() -> Lab:
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("nft and unshare are needed")
        pytest.skip("nft and unshare are needed")
    made = Lab()
    if not made.load("add table ip probe\n").ok:
        if os.environ.get("CI") == "true":
            pytest.fail("no network namespace can be made here")
        pytest.skip("no network namespace can be made here")
    return made
