"""Chains that a program writes and rewrites: what is wrong in them is not the operator's to mend."""

from __future__ import annotations

from notrack.ruleset.core import Chain, Table

_PREFIXES = (
    "KUBE-", "cali-", "CILIUM_", "OLD_CILIUM_", "DOCKER", "CNI-", "FLANNEL-", "LIBVIRT_", "WEAVE-", "f2b-",
    "fail2ban-", "ts-", "neutron-", "nova-", "sshuttle-", "NETAVARK", "crowdsec", "CROWDSEC", "AZURE-",
    "ufw-", "ufw6-",
)  # fmt: skip
_OPERATORS = frozenset(
    ("DOCKER-USER", "ufw-user-input", "ufw-user-output", "ufw-user-forward",
     "ufw6-user-input", "ufw6-user-output", "ufw6-user-forward")
)  # fmt: skip
_TABLES = frozenset(
    ("firewalld", "kube-proxy", "docker-bridges", "netavark", "libvirt_network", "fw4", "f2b-table",
     "crowdsec", "cilium", "calico", "incus", "lxd", "tailscale")
)  # fmt: skip


def is_generated(table: Table, chain: Chain) -> bool:
    """Whether the name tells that a program (Docker, Kubernetes, fail2ban, ufw, ...) writes the chain."""
    if table.name.rpartition(" ")[2] in _TABLES:
        return True
    return chain.name.startswith(_PREFIXES) and chain.name not in _OPERATORS
