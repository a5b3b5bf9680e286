"""The linter as a whole process, beside what Python takes for `import lark`.

- A host's ruleset of 60 rules. Bound: 2.5 times `import lark`, the shortest of several runs of both in turn.
- A router's ruleset of 5,500 rules, DNS untracked. Bounds: 15 s, 800 MiB.

All times are CPU of child processes, user and system: only their sum is exact. Compiled modules are kept, as
they are for users (PYTHONDONTWRITEBYTECODE is taken out).

Usage: python benchmarks/lint.py [RUNS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rulesets import host, router

_ROOT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def spent(*words: str) -> tuple[float, float]:
    """CPU seconds and peak memory in MiB of one run of Python."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=_ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


_UNTRACKED = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A PREROUTING -p udp -m udp --sport 53 -j CT --notrack
COMMIT
"""


def small(runs: int) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".v4") as file:
        file.write(host())
        file.flush()
        lint, lark = ("-m", "notrack", "lint", file.name), ("-c", "import lark")
        spent(*lint)  # compiles what was changed
        pairs = [(spent(*lint)[0], spent(*lark)[0]) for _ in range(runs)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"60 rules: {ours * 1000:.0f} ms, `import lark` {theirs * 1000:.0f} ms, "
        f"{ours / theirs:.2f} times (bound 2.5)"
    )


def large() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".v4") as file:
        file.write(_UNTRACKED + router())
        file.flush()
        seconds, peak = spent("-m", "notrack", "lint", file.name)
    print(f"5,500 rules: {seconds:.1f} s (bound 15), peak {peak:.0f} MiB (bound 800)")


def main() -> int:
    small(int(sys.argv[1]) if sys.argv[1:] else 15)
    large()
    return 0


if __name__ == "__main__":
    sys.exit(main())
