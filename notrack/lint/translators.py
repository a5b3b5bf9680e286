"""Programs that translate addresses on a host by themselves, known by their chains or as facts."""

from __future__ import annotations

from collections.abc import Mapping

from notrack.lint.view import View
from notrack.ruleset.core import Chain, Table
from notrack.text.record import dataclass
from notrack.text.source import Span

_CHAINS: Mapping[str, str] = {
    "DOCKER": "Docker",
    "KUBE-": "kube-proxy",
    "cali-": "Calico",
    "CILIUM_": "Cilium",
    "OLD_CILIUM_": "Cilium",
    "CNI-": "a CNI plugin",
    "NETAVARK": "Podman",
}
_TABLES: Mapping[str, str] = {
    "docker-bridges": "Docker",
    "kube-proxy": "kube-proxy",
    "calico": "Calico",
    "cilium": "Cilium",
    "netavark": "Podman",
}
_FACTS: Mapping[str, str] = {
    "docker": "Docker",
    "kube-proxy": "kube-proxy",
    "kubernetes": "kube-proxy",
    "calico": "Calico",
    "cilium": "Cilium",
    "ipvs": "IPVS",
    "podman": "Podman",
}


@dataclass(frozen=True, slots=True)
class Translator:
    """Such a program; `place`: a rule or chain of its own, None where only the host's facts tell of it."""

    name: str
    place: Span | None = None


def translators(view: View) -> tuple[Translator, ...]:
    """Every such program, each once."""
    found: dict[str, Translator] = {}
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        for chain in table.chains:
            name = _owner(table, chain)
            if name is not None and (name not in found or found[name].place is None):
                found[name] = Translator(name, _place(chain))
    for fact in view.host.translators or ():
        name = _FACTS.get(fact.lower(), fact)
        found.setdefault(name, Translator(name))
    return tuple(found.values())


def _owner(table: Table, chain: Chain) -> str | None:
    held = _TABLES.get(table.name.rpartition(" ")[2])
    return held or next((name for prefix, name in _CHAINS.items() if chain.name.startswith(prefix)), None)


def _place(chain: Chain) -> Span | None:
    if chain.origin.span is not None:
        return chain.origin.span
    return next((rule.origin.span for rule in chain.rules if rule.origin.span is not None), None)
