"""`notrack test --kernel`: the expectations' packets, sent through the real kernel."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace

from notrack.cli.messages import note
from notrack.host.kernel import Device, KernelRefused, Load, Seen, Shot, shoot
from notrack.host.system import System
from notrack.layout.output import emit
from notrack.netfilter.host import Host
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.plan.planner import Plan
from notrack.proof.expectation import Check, Verdict
from notrack.proof.sitehost import device_addresses
from notrack.report.expectation import Outcome, Probe
from notrack.site.model import Expectation

_RESTORE = {"iptables": "iptables-restore", "ip6tables": "ip6tables-restore"}
_DONE = {"accept": "accepted", "drop": "dropped", "reject": "rejected"}


def tested(
    system: System,
    plan: Plan,
    hosts: Mapping[Family, Host],
    verdicts: Sequence[Verdict],
    forms: Sequence[str],
) -> list[Outcome]:
    """Every expectation with what the kernel did with its packets. Raises `KernelRefused`.

    A form of the rules whose tools are not installed is left out, as long as there is another.
    """
    probes: dict[int, list[Probe]] = {}
    lacking: list[KernelRefused] = []
    for form in forms:
        checks = [
            (number, check)
            for number, verdict in enumerate(verdicts)
            for name, check in verdict.checks
            if name == form and check.journey is not None
        ]
        devices, shots = _devices(plan, hosts, checks), [_shot(one) for _, one in checks]
        try:
            found = shoot(system, devices, _load(plan, form), shots)
        except KernelRefused as refused:
            if not refused.missing:
                raise
            lacking.append(refused)
            continue
        for (number, check), seen in zip(checks, found, strict=True):
            probes.setdefault(number, []).append(_probe(form, check, seen))
    if len(lacking) == len(forms):
        raise lacking[0]
    for lack in lacking:
        note(str(lack))
    return [Outcome(one, tuple(probes.get(number, ()))) for number, one in enumerate(verdicts)]


def _devices(plan: Plan, hosts: Mapping[Family, Host], checks: Sequence[tuple[int, Check]]) -> list[Device]:
    """The devices of the site, and those that packets pass beside them."""
    known = dict(device_addresses(plan.site))
    for host in dict.fromkeys(hosts.values()):
        for interface in host.interfaces or ():
            if interface.name != "lo" and interface.addresses:
                known[interface.name] = tuple(str(address) for address in interface.addresses)
    for _, check in checks:
        for name in (check.packet.in_interface, check.packet.out_interface):
            if name is not None and name != "lo":
                known.setdefault(name, ())
    return [Device(name, addresses) for name, addresses in known.items()]


def _load(plan: Plan, form: str) -> list[Load]:
    if form == "nft":
        return [Load(("nft", "-f", "-"), emit(plan, "nft").text)]
    return [Load((command,), emit(plan, target).text) for target, command in _RESTORE.items()]


def _shot(check: Check) -> Shot:
    assert check.journey is not None
    trace = check.journey.trace
    packet = check.packet
    if packet.protocol == 6 and not packet.flags:
        packet = replace(packet, flags=2)
    end = trace.values[Field.DESTINATION], trace.values[Field.DESTINATION_PORT]
    return Shot(packet, trace.way.value, *end)


def _probe(form: str, check: Check, seen: Seen) -> Probe:
    expected = check.case.expectation
    faults = tuple(_faults(expected, seen))
    notes: tuple[str, ...] = ()
    if check.journey is not None and check.journey.trace.verdict != seen.verdict:
        notes = (f"the model says {_DONE.get(check.journey.trace.verdict, 'something else')}",)
    return Probe(form, str(check.packet), seen.verdict, faults, notes)


def _faults(expected: Expectation, seen: Seen) -> list[str]:
    """What was not as expected. What does not pass leaves no entry, tracked or not: that is not seen."""
    faults = []
    if seen.verdict != expected.verdict:
        faults.append(f"{_DONE[seen.verdict]}, but `{expected.verdict}` is expected")
    if seen.verdict == "accept" and expected.tracking == "untracked" and seen.entries:
        faults.append("it left an entry, but `untracked` is expected")
    if seen.verdict == "accept" and expected.tracking == "tracked" and not seen.entries:
        faults.append("it left no entry, but `tracked` is expected")
    return faults


def kernel_name() -> str:
    return f"Linux {platform.release()}"
