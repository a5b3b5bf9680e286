"""A throw-away host in namespaces of its own, and real packets through it.

Started as a script, alone and isolated (`python -I bench.py`), with one request as JSON on standard input. It
answers on standard output and takes everything with it when it ends: the namespaces have no names, and
nothing of the machine's own is touched. It needs no root where user namespaces are allowed.

Request: `devices` (name, addresses), `load` (commands with their input), `probes`: each with `packet` in hex,
`way`, `in`, `out`, `family`, `protocol`, the `links` that must be known (address and device), `own` addresses
beside those of the devices, `served`, a TCP port at which somebody must answer, and `goes_on`: the packet
belongs to what was sent before it, so the table is not emptied first.
Answer: `probes`, each with `seen` (accept, drop, reject) and the `entries` that it left; or `error`, `stage`.

Only the standard library, and nothing of this project: the process lives in another user namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS = 0x10000000, 0x40000000, 0x00020000
PR_SET_PDEATHSIG = 1
ALL, SETTLED = 0x0003, 0x88B5  # every frame; the ethertype for local experiments
MARK = b"notrack probe "  # in the payload of every probe, before its number
IPV6_HDRINCL = 36
PATIENCE = 5.0  # seconds until a packet that must come has not come
GRACE = 0.05  # and for what nothing follows
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/icmp_msgs_per_sec": "100000",
    "net/ipv6/icmp/ratelimit": "0",
}
libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel or a tool did not do what was asked."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def unshare(flags: int) -> None:
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter() -> None:
    """Into a network namespace of its own, with a user namespace around it where that is needed."""
    user, group = os.getuid(), os.getgid()
    try:
        unshare(CLONE_NEWNET)
    except OSError:
        try:
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
        except OSError as error:
            raise Refused("namespaces", f"no namespace may be made here: {error.strerror}") from None
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def run(stage: str, words: list[str], text: str = "") -> None:
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        raise Refused("tools", f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Refused(stage, f"{words[0]} does not come to an end") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise Refused(stage, f"{' '.join(words)}: {said}")


def sleeper() -> int:
    """A process that holds the namespace of the host, so that `ip` can name it; it dies with this one."""
    made = os.fork()
    if made == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.closerange(0, 256)
        while True:
            signal.pause()
    return made


class Bench:
    """The host's namespace and one behind each device, with sockets that see what comes and goes."""

    def __init__(self, devices: list[dict[str, Any]]) -> None:
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.holder = sleeper()
        self.peers: dict[str, socket.socket] = {}
        self.near: dict[str, socket.socket] = {}
        self.macs: dict[str, tuple[bytes, bytes]] = {}
        self.raw: dict[tuple[int, int], socket.socket] = {}
        self.known: dict[str, str] = {}  # the device behind which an address is just now
        self.own: set[str] = set()
        self.served: dict[tuple[int, int], socket.socket] = {}
        self.arrived: dict[str, list[bytes]] = {}
        self.settings()
        run("devices", ["ip", "link", "set", "lo", "up"])
        for number, device in enumerate(devices):
            self.wire(number, device["name"])
        for device in devices:
            for address in device["addresses"]:
                self.address(device["name"], address)

    def settings(self) -> None:
        for name, value in SYSCTLS.items():
            with contextlib.suppress(OSError):  # older kernels lack some, or keep them for the whole machine
                Path("/proc/sys", name).write_text(value)

    def wire(self, number: int, name: str) -> None:
        """A device of the host, whose other end is in a namespace with a socket that sees every frame."""
        near, far = (bytes((2, 0, 0, 0, number, end)) for end in (1, 2))
        self.macs[name] = (near, far)
        unshare(CLONE_NEWNET)
        self.settings()
        made = ["ip", "link", "add", "peer", "address", text_of(far), "type", "veth", "peer", "name", name]
        run("devices", [*made, "address", text_of(near), "netns", str(self.holder)])
        run("devices", ["ip", "link", "set", "peer", "arp", "off", "up"])
        self.peers[name] = tap("peer", ALL)
        if libc.setns(self.home, CLONE_NEWNET) != 0:
            raise Refused("namespaces", "the first namespace cannot be entered again")
        run("devices", ["ip", "link", "set", name, "up"])
        self.near[name] = tap(name, SETTLED)

    def address(self, device: str, address: str) -> None:
        self.own.add(address.partition("/")[0])
        words = ["ip", "address", "replace", address, "dev", device]
        run("devices", [*words, "nodad"] if ":" in address else words)

    def link(self, address: str, device: str) -> None:
        """Make the host know the way to an address: behind a device, at the MAC of its other end."""
        if self.known.get(address) == device or address in self.own:
            return
        self.known[address] = device
        family = "-6" if ":" in address else "-4"
        length = 128 if ":" in address else 32
        run("routes", ["ip", family, "route", "replace", f"{address}/{length}", "dev", device])
        mac = text_of(self.macs[device][1])
        run("routes", ["ip", "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent"])

    def listen(self, family: int, protocol: int) -> None:
        """A raw socket gets what INPUT lets through, before any program."""
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        for number in (protocol, 58 if family == 6 else 1, 6):
            if (family, number) not in self.raw:
                made = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number)
                self.raw[family, number] = made

    def serve(self, family: int, port: int) -> None:
        """Someone must answer at a TCP port: a RST would take the flow's entry out of the table at once."""
        if (family, port) in self.served:
            return
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        made = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("::" if family == 6 else "0.0.0.0", port))
        made.listen(16)
        self.served[family, port] = made

    def probe(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        packet = bytes.fromhex(asked["packet"])
        for address, device in asked["own"]:
            if address.partition("/")[0] not in self.own:
                self.address(device, address)
        for address, device in asked["links"]:
            self.link(address, device)
        self.listen(asked["family"], asked["protocol"])
        if asked["protocol"] == 6 and asked["served"]:
            self.serve(asked["family"], asked["served"])
        if not asked["goes_on"]:
            flush()
        self.drain()
        before = entries()
        mark = MARK + struct.pack(">I", number)
        kind = 0x86DD if asked["family"] == 6 else 0x0800
        if asked["way"] in ("local in", "forward"):
            near, far = self.macs[asked["in"]]
            self.peers[asked["in"]].send(near + far + struct.pack(">H", kind) + packet)
            self.settled(asked["in"])
        else:
            self.send(asked, packet)
            self.flushed()
        seen = self.seen(asked, mark)
        if seen == "drop":
            time.sleep(GRACE)
            seen = self.seen(asked, mark)
        after = entries()
        left = None if after is None else after - (before or 0)
        return {"seen": seen, "entries": left}

    def send(self, asked: dict[str, Any], packet: bytes) -> None:
        """What the host itself sends; a drop in OUTPUT is told to the sender at once."""
        with contextlib.suppress(PermissionError):
            if asked["family"] == 6:
                with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
                    made.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
                    made.sendto(packet, (asked["destination"], 0))
            else:
                with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
                    made.sendto(packet, (asked["destination"], 0))

    def settled(self, device: str) -> None:
        """Wait until the host has dealt with all that was sent to a device, and what it sent has arrived."""
        near, far = self.macs[device]
        self.peers[device].send(near + far + struct.pack(">H", SETTLED) + bytes(46))
        await_frame(self.near[device], near)
        self.flushed()

    def flushed(self) -> None:
        """Wait until everything that the host sent by any device has arrived; keeps what arrives."""
        self.arrived = {}
        for device, (near, far) in self.macs.items():
            self.near[device].send(far + near + struct.pack(">H", SETTLED) + bytes(46))
            self.arrived[device] = await_frame(self.peers[device], far)

    def seen(self, asked: dict[str, Any], mark: bytes) -> str:
        """What became of a packet: where it arrived, or what came back to its sender."""
        heard = [data for made in self.raw.values() for data in received(made)]
        for device, frames in self.arrived.items():
            frames += received(self.peers[device])
        if asked["way"] in ("local in", "loopback"):
            arrived = any(mark in data and not is_error(data, mark) for data in heard)
        else:
            near = self.macs[asked["out"]][0]
            passed = [data for data in self.arrived.get(asked["out"], []) if data[6:12] == near]
            arrived = any(mark in data and not quotes(data[14:], mark) for data in passed)
        if arrived:
            return "accept"
        if asked["way"] in ("local in", "forward"):
            near = self.macs[asked["in"]][0]
            back = [data[14:] for data in self.arrived.get(asked["in"], []) if data[6:12] == near]
        else:
            back = heard
        return "reject" if any(quotes(data, mark) or is_reset(data, asked) for data in back) else "drop"

    def drain(self) -> None:
        for made in (*self.peers.values(), *self.near.values(), *self.raw.values()):
            received(made)


def text_of(mac: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in mac)


def tap(device: str, kind: int) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(kind))
    made.bind((device, kind))
    return made


def received(made: socket.socket) -> list[bytes]:
    """Everything that waits at a socket; of frames only those that came, not those that left."""
    out: list[bytes] = []
    while True:
        try:
            data, sender = made.recvfrom(65535)
        except OSError:
            return out
        if made.family != socket.AF_PACKET or sender[2] != 4:  # PACKET_OUTGOING
            out.append(data)


def await_frame(made: socket.socket, mac: bytes) -> list[bytes]:
    """Wait for the frame that says that all before it was dealt with; returns what came before."""
    came: list[bytes] = []
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        select.select([made], [], [], 0.1)
        for data in received(made):
            if data[12:14] == struct.pack(">H", SETTLED) and data[:6] == mac:
                return came
            came.append(data)
    raise Refused("probes", "a frame between two namespaces was lost")


def layers(data: bytes) -> tuple[int, bytes]:
    """Protocol and payload of an IP packet."""
    if data[:1] and data[0] >> 4 == 4:
        return data[9], data[(data[0] & 15) * 4 :]
    if data[:1] and data[0] >> 4 == 6 and len(data) > 40:
        return data[6], data[40:]
    return -1, b""


def quotes(data: bytes, mark: bytes) -> bool:
    """Whether an IP packet is an ICMP error about the probe."""
    protocol, inner = layers(data)
    if mark not in data or not inner:
        return False
    return (protocol == 1 and inner[0] in (3, 11, 12)) or (protocol == 58 and inner[0] < 128)


def is_error(data: bytes, mark: bytes) -> bool:
    """The same of what a raw socket got: without the header of IPv6."""
    return quotes(data, mark) or (layers(data)[0] == -1 and data[:1] in (b"\1", b"\2", b"\3", b"\4"))


def is_reset(data: bytes, asked: dict[str, Any]) -> bool:
    """Whether a packet is a RST that answers the probe."""
    protocol, inner = layers(data)
    if asked["protocol"] != 6 or protocol != 6 or len(inner) < 14:
        return False
    ports = struct.unpack(">HH", inner[:4])
    return ports == tuple(asked["ports"][::-1]) and bool(inner[13] & 4)


def entries() -> int | None:
    """How many entries the table of this namespace has; None where connection tracking is not there."""
    try:
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except (OSError, ValueError):
        return None


def flush() -> None:
    """Empty the table, so that no probe meets the flow of an earlier one: ctnetlink, delete all."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as made:
        made.settimeout(1)
        made.send(struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 1, 0) + struct.pack("=BBH", 0, 0, 0))
        made.recv(4096)


def main() -> int:
    request = json.load(sys.stdin)
    try:
        enter()
        with tempfile.TemporaryDirectory(prefix="notrack-") as folder:
            os.environ["XTABLES_LOCKFILE"] = f"{folder}/xtables.lock"
            bench = Bench(request["devices"])
            try:
                for command in request["load"]:
                    run("rules", command["words"], command["input"])
                found = [bench.probe(number, asked) for number, asked in enumerate(request["probes"], 1)]
            finally:
                os.kill(bench.holder, signal.SIGKILL)
                os.waitpid(bench.holder, 0)
    except Refused as refused:
        json.dump({"error": str(refused), "stage": refused.stage}, sys.stdout)
        return 1
    json.dump({"probes": found}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
