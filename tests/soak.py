"""Long runs of the tests that draw their cases at random, with their results kept in docs/soak.md.

    python -m tests.soak differential --seed 1 --rulesets 2000 --packets 100000
    python -m tests.soak twins --seed 1 --packets 10000
    python -m tests.soak fuzz
    python -m tests.soak mutants --jobs 2

Without a name all run. A disagreement ends the run with status 1 and is printed with its seed, the smallest
ruleset and packets that show it, what both sides say, and a test to keep. Needs root, as all tests with real
packets do.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.kernel.differential import twins
from tests.kernel.differential.bench import Bench
from tests.kernel.differential.runs import Result, run
from tests.kernel.lab import missing
from tests.proof.judging import EXAMPLES, Case, Judged, cases, judged

PAGE = Path(__file__).resolve().parent.parent / "docs" / "soak.md"
FAR = 100_000  # between the numbers of the first rulesets of two processes
NAMES = ("differential", "twins", "fuzz", "mutants")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *NAMES], default=[], help="which; all without")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rulesets", type=int, default=2000)
    parser.add_argument("--packets", type=int, default=0, help="100000, twins: 10000")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the work")
    parser.add_argument("--dry", action="store_true", help="leave docs/soak.md as it is")
    options = parser.parse_args(argv)
    reason = missing()
    if reason:
        print(f"soak: {reason}", file=sys.stderr)
        return 2
    failed = False
    for name in options.name or NAMES:
        lines, bad = _SOAKS[name](options)
        failed |= bad
        print("\n".join(lines))
        if not options.dry and not bad:
            write(name, lines)
    return int(failed)


def differential(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Kernel and model."""
    start = time.monotonic()
    jobs = max(options.jobs, 1)
    share = [-(-number // jobs) for number in (options.rulesets, options.packets or 100_000)]
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        parts = list(pool.map(_part, [(options.seed, *share, part * FAR) for part in range(jobs)]))
    result = parts[0]
    for part in parts[1:]:
        result.rulesets += part.rulesets
        result.refused += part.refused
        result.tally += part.tally
        result.backends += part.backends
        result.reports += part.reports
    result.seconds = time.monotonic() - start
    for report in result.reports:
        print(f"\n{report}\n")
    tally, count = result.tally, _count
    kinds = ", ".join(f"{count(result.backends[name])} {name}" for name in sorted(result.backends))
    states = ", ".join(
        f"{count(tally[key])} {key.partition(' ')[2]}" for key in sorted(tally) if key.startswith("state ")
    )
    why = sorted(((n, key) for key, n in tally.items() if key.startswith("unsure: ")), reverse=True)[:6]
    return [
        *_head(options.seed, result.seconds),
        f"- rulesets: {count(result.rulesets)} ({kinds}); {result.refused} more that the kernel refused",
        f"- packets compared: {count(tally['compared'])} of {count(tally['sent'])} sent, "
        f"{count(tally['follow-ups'])} of them later ones of a flow",
        f"- the kernel let arrive {count(tally['kernel: arrived'])}, "
        f"dropped {count(tally['kernel: dropped'])}, rejected {count(tally['kernel: rejected'])}; "
        f"translated {count(tally['translated'])}",
        f"- states seen: {states}",
        f"- entries compared: {count(tally['entries'])}",
        "- not judged: " + "; ".join(f"{count(n)} {key.partition(': ')[2]}" for n, key in why),
        f"- disagreements: {len(result.reports)}",
    ], bool(result.reports)


def _part(asked: tuple[int, int, int, int]) -> Result:
    seed, rulesets, packets, first = asked
    with Bench() as bench:
        return run(bench, seed, rulesets, packets, first=first, progress=_progress)


def pairs(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Trace and sets."""
    start = time.monotonic()
    result = twins.compare(options.seed, options.packets or 10_000)
    found = result.differences or []
    print("\n".join(found[:10]))
    return [
        *_head(options.seed, time.monotonic() - start),
        f"- rulesets: {_count(result.rulesets)}",
        f"- packets asked about: {_count(result.packets)}",
        f"- disagreements: {len(found)}",
    ], bool(found)


def fuzz(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The fuzzers and the random sites of the suite, with ten times as many cases."""
    lines: list[str] = []
    failed = False
    start = time.monotonic()
    for what, files in FUZZERS.items():
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
            cwd=PAGE.parent.parent,
            env={**os.environ, "NOTRACK_SOAK": "1"},
            capture_output=True,
            text=True,
        )
        said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
        failed |= done.returncode != 0
        lines.append(f"- {what}: {said.split(' in ')[0]}, {time.monotonic() - began:.0f} s")
        print(lines[-1], file=sys.stderr)
        if done.returncode:
            print(done.stdout[-3000:])
    return [*_head(options.seed, time.monotonic() - start), *lines], failed


FUZZERS = {
    "site language, 100,000 inputs": ["tests/property/test_site_fuzz.py"],
    "compiler, 4,000 random sites": ["tests/property/test_compile.py"],
    "iptables reader, 100,000 inputs": ["tests/property/test_xtables_reader.py"],
    "nft readers, 100,000 texts and 100,000 JSON documents": ["tests/property/test_nft_readers.py"],
    "shell reader, 100,000 inputs": ["tests/property/test_shell_fuzz.py"],
    "readers of sets and direct rules, 50,000 inputs each": ["tests/property/test_set_fuzz.py"],
    "compiled sites, 250 random ones probed, 850 loaded": [
        "tests/kernel/test_site_random.py", "tests/kernel/test_random_outputs_load.py",
    ],
}  # fmt: skip


def mutants(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Every break of every emitted text of the examples, and what the proof says of it."""
    start = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(max(options.jobs, 1)) as pool:
        every = Judged()
        for case, found in zip(cases(), pool.map(_judged, cases()), strict=True):
            every.add(found)
            print(f"{case}: {found.tried} mutants, {len(found.equivalent)} equivalent", file=sys.stderr)
    print("\n".join(every.wrong))
    return [
        *_head(options.seed, time.monotonic() - start),
        f"- texts: {len(cases())}, of {len(EXAMPLES)} examples",
        f"- mutants: {_count(every.tried)}",
        f"- noticed by the proof: {_count(every.noticed)}",
        f"- called equivalent: {_count(len(every.equivalent))}, of which z3 tells apart {len(every.wrong)}",
    ], bool(every.wrong)


def _judged(case: Case) -> Judged:
    return judged(case, share=1, seed=1)


_SOAKS = {"differential": differential, "twins": pairs, "fuzz": fuzz, "mutants": mutants}
_TITLES = {
    "differential": "The model and the kernel",
    "twins": "Trace and sets",
    "fuzz": "Fuzzing and random sites",
    "mutants": "Mutants of emitted rules",
}
_TEXTS = {
    "differential": (
        "Random rulesets for iptables-legacy, iptables-nft and nft, IPv4 and IPv6, and random packets from\n"
        "both sides, from the host itself and over loopback, singly and in small conversations. Compared:\n"
        "where each packet arrives or that it is dropped or rejected, its addresses, ports and TTL there,\n"
        "its mark, its state, and the connection table at the end with its zones. Of later fragments, which\n"
        "nft may take for anything: that what the kernel does is one of the things that may be. Left out:\n"
        "the kernel's TCP automaton beyond opening, answering and talking."
    ),
    "twins": "The two evaluations of the model, about the same rulesets and packets.",
    "fuzz": "The suite's own tests with ten times as many cases; fixed seeds, none may raise or disagree.",
    "mutants": (
        "The emitted rules of every example, broken in every single way that matters: a rule dropped or\n"
        "changed about with its neighbour; a port, address, side, flag, interface, kind, state, limit,\n"
        "verdict, policy or table changed. The proof must notice each break that changes what becomes of a\n"
        "packet. Those that it calls equivalent are held to formulas of z3 made from the rules alone."
    ),
}


def write(name: str, lines: list[str]) -> None:
    """Put the result into the page, in the place of the last one."""
    old = PAGE.read_text() if PAGE.exists() else ""
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", old, re.M | re.S))
    sections[_TITLES[name]] = f"\n{_TEXTS[name]}\n\n" + "\n".join(lines) + "\n\n"
    body = "".join(f"## {title}\n{sections[title]}" for title in _TITLES.values() if title in sections)
    head = (
        "# Soak\n\nThe last long runs of the random tests, as `python -m tests.soak` wrote them. The suite\n"
        "runs a small part of each.\n\n"
    )
    PAGE.write_text(head + body.rstrip() + "\n")


def _head(seed: int, seconds: float) -> list[str]:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return [f"- {today}, Linux {platform.release()}, seed {seed}, {seconds:.0f} s"]


def _count(number: int) -> str:
    return f"{number:,}"


def _progress(result: Result) -> None:
    if result.rulesets % 100 == 0:
        print(
            f"{result.rulesets} rulesets, {result.tally['compared']} packets, {result.seconds:.0f} s",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
