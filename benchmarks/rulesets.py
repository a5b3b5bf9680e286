"""Reading and evaluating rulesets, side by side with the tools of the system.

- A filter table of 5,500 rules with about 2,000 MAC matches and 100 chains, as text: read, lowered, wholly
  evaluated. Bounds: 10 s (6 s is the aim), 800 MiB.
- 40,000 lines: read by us, and tested by iptables-restore. Bound: 10 times as long.
- A host's ruleset of 60 rules: read and evaluated on all four ways. Bound: 50 ms.

Usage: python benchmarks/rulesets.py   (as root, for iptables-restore in a namespace of its own)
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from notrack.netfilter.host import Host
from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.ruleset.formats import read_any
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source


def router(rules: int = 5500, chains: int = 100) -> str:
    """A campus router: FORWARD jumps by network to chains that bind addresses to MACs and open ports."""
    draw = random.Random(4)
    length = rules // chains - 1
    out = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    out += [f":net{n} - [0:0]" for n in range(chains)]
    out.append("-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT")
    out += [f"-A FORWARD {'-s' if n % 2 else '-d'} 10.0.{n}.0/24 -j net{n}" for n in range(chains)]
    for n in range(chains):
        for i in range(length):
            if n % 3 != 2:
                mac = ":".join(f"{draw.randrange(256):02x}" for _ in range(6))
                tail = f"-s 10.0.{n}.{i + 1}/32 -m mac --mac-source {mac} -j RETURN" if n % 2 else ""
                out.append(f"-A net{n} {tail}" if tail else _open(n, i, draw))
            else:
                out.append(_open(n, i, draw))
    return "\n".join([*out, "COMMIT", ""])


def _open(n: int, i: int, draw: random.Random) -> str:
    port = draw.choice([22, 25, 80, 443, 993, 8080]) + draw.randrange(3)
    return f"-A net{n} -d 10.0.{n}.{i + 1}/32 -p tcp -m tcp --dport {port} -j ACCEPT"


def long_file(lines: int = 40000) -> str:
    draw = random.Random(5)
    out = ["*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    for n in range(lines):
        source = f"{draw.randrange(1, 224)}.{draw.randrange(256)}.{draw.randrange(256)}.0/24"
        port = f"-p tcp -m tcp --dport {1 + n % 65535}"
        out.append(f"-A INPUT -s {source} {port} -m comment --comment c{n % 99} -j ACCEPT")
    return "\n".join([*out, "COMMIT", ""])


def host() -> str:
    """A host's ruleset of 60 rules, with state, NOTRACK and some services."""
    out = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    for port in (53, 80, 443, 8080, 11211):
        out.append(f"-A PREROUTING -p tcp -m tcp --dport {port} -j CT --notrack")
        out.append(f"-A OUTPUT -p tcp -m tcp --sport {port} -j CT --notrack")
    out += ["COMMIT", "*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    out += ["-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    out += [f"-A INPUT -s 198.51.100.{n}/32 -p tcp -m tcp --dport {20 + n} -j ACCEPT" for n in range(48)]
    return "\n".join([*out, "COMMIT", ""])


def evaluate(text: str, ways: tuple[Way, ...] = tuple(Way)) -> int:
    ruleset = read_any(Source("rules.v4", text), Family.IPV4).ruleset
    model = Model(ruleset, Family.IPV4, Host())
    return sum(bool(model.passage(way).accepted()) for way in ways)


def timed(run: Callable[[], object], times: int = 1) -> float:
    """The shortest of some runs, in seconds of this process's CPU."""
    found = []
    for _ in range(times):
        before = time.process_time()
        run()
        found.append(time.process_time() - before)
    return min(found)


def tested(text: str, tool: str) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".v4") as file:
        file.write(text)
        file.flush()
        before = _children()
        subprocess.run(
            ["unshare", "-n", "sh", "-c", f"{tool}-restore --test < {Path(file.name)}"],
            check=True,
            capture_output=True,
        )
        return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    text = long_file()
    ours = timed(lambda: read(Source("rules.v4", text), Family.IPV4), 3)
    for tool in ("iptables-legacy", "iptables-nft"):
        theirs = min(tested(text, tool) for _ in range(3))
        print(
            f"40,000 lines: read {ours:.2f} s, {tool}-restore --test {theirs:.2f} s, "
            f"{ours / theirs:.1f} times (bound 10)"
        )
    small = timed(lambda: evaluate(host()), 5)
    print(f"60 rules, all ways: {small * 1000:.0f} ms (bound 50)")
    big = timed(lambda: evaluate(router(), (Way.LOCAL_IN, Way.FORWARD, Way.LOCAL_OUT)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"5,500 rules: read and evaluated in {big:.1f} s (bound 10), peak {peak:.0f} MiB (bound 800)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
