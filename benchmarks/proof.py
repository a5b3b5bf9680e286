"""A compile with its proof, whole process, as an operator runs it.

- A site of 60 declarations of every kind, any one target. Bound: 0.5 s.
- 1,000 services, each from 10 sources of its own, any one target. Bound: 5 s.

Usage: python benchmarks/proof.py   (elapsed and CPU, each the shortest of some runs)
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("iptables", "ip6tables", "nft")


_GATEWAY = """site sixty
interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64
interface lan = eth1, "wg*" address 10.8.0.1/24
network lan-net = 10.8.0.0/24
network office = 198.51.100.0/24, 2001:db8:51::/48
network resolvers = 9.9.9.9, 2620:fe::fe
client resolve udp 53; tcp 53 to resolvers untracked
client ntp udp 123 to office untracked
route beyond from lan-net to any on lan out wan mss pmtu
masquerade lan-out from lan-net out wan
icmp ping echo-request from any limit 20/second
icmp clock timestamp-request from office ipv4
trust backup from 203.0.113.77 on wan
trust boss from 198.51.100.7
block bad from 203.0.113.128/25 on wan
block worse from 2001:db8:bad::/48 on wan
service ftp tcp 21 on wan helper ftp
service ssh tcp 22 from office limit 5/minute per source
"""


def sixty() -> str:
    """A gateway with 60 declarations beside its interfaces and networks."""
    draw = random.Random(60)
    rules = [f"service s{n} {_traffic(draw, n)} {_whom(draw)}" for n in range(30)]
    rules += [f"client c{n} tcp {5000 + n}; udp {5000 + n} to office" for n in range(6)]
    rules += [f"peer p{n} udp {4789 + n} with 10.8.0.{n + 2}" for n in range(4)]
    rules += [f"route r{n} tcp {8000 + n} from lan-net to any on lan out wan" for n in range(4)]
    rules += [f"publish w{n} tcp {9000 + n} on wan to 10.8.0.{n + 5} port 443 ipv4" for n in range(4)]
    return _GATEWAY + "\n".join([*rules, ""])


def _traffic(draw: random.Random, n: int) -> str:
    port = 1100 + 7 * n
    return draw.choice([f"tcp {port}", f"udp {port}", f"tcp {port}; udp {port}", f"tcp {port}-{port + 3}"])


def _whom(draw: random.Random) -> str:
    several = "from 198.51.100.0/25, 203.0.113.7 on wan"
    return draw.choice(["on wan", "from office", "from lan-net", "", several])


def thousand(services: int = 1000, sources: int = 10) -> str:
    """Services of one port each, each from single sources of its own."""
    draw = random.Random(1000)
    out = ["site thousand", "interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64"]
    for n in range(services):
        peers = ", ".join(
            f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}" for _ in range(sources)
        )
        out.append(f"service s{n} {'tcp' if n % 2 else 'udp'} {1024 + 3 * n} from {peers}")
    return "\n".join([*out, ""])


def run(site: Path, target: str, times: int) -> tuple[float, float]:
    """The shortest elapsed time and CPU of some whole processes, in seconds. The first one, which is not
    counted, writes the byte code that an installed package has."""
    found: list[tuple[float, float]] = []
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(site.parent), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(times + 1):
        before, used = time.perf_counter(), _children()
        words = [sys.executable, "-m", "notrack", "compile", str(site), "--to", target]
        subprocess.run(words, check=True, capture_output=True, env=environment)
        found.append((time.perf_counter() - before, _children() - used))
    return min(elapsed for elapsed, _ in found[1:]), min(cpu for _, cpu in found[1:])


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured() -> Iterator[tuple[str, str, float, float, float]]:
    """Name, target, elapsed, CPU and bound of every measurement."""
    with tempfile.TemporaryDirectory() as folder:
        sites = (("60 declarations", sixty(), 0.5, 5), ("1,000 x 10", thousand(), 5.0, 2))
        for name, text, bound, times in sites:
            site = Path(folder) / "site.spec"
            site.write_text(text)
            for target in TARGETS:
                yield name, target, *run(site, target, times), bound


def main() -> int:
    failed = False
    for name, target, elapsed, cpu, bound in measured():
        print(f"{name}, {target}: {elapsed:.2f} s, CPU {cpu:.2f} s (bound {bound:g} s)")
        failed |= min(elapsed, cpu) > bound
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
