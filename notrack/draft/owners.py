"""Programs that write rules themselves, known by the names of their tables and chains, and where lines of
others belong beside them."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.ruleset.core import Ruleset
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """`chains`: beginnings of names of its chains; `tables`: names of its tables. `advice`: what to do with
    lines of one's own. `rewrites`: it writes its rules anew, and others in its chains are lost."""

    name: str
    chains: tuple[str, ...]
    tables: tuple[str, ...]
    rewrites: bool
    advice: str


OWNERS = (
    Owner(
        "firewalld",
        ("INPUT_ZONES", "INPUT_direct", "IN_public", "PREROUTING_direct", "filter_IN_", "raw_PREROUTING_"),
        ("firewalld", "firewalld_ipv4"),
        True,
        "it writes its tables anew at every reload. Keep the raw rules as direct rules"
        " (`firewall-cmd --permanent --direct --add-rule ipv4 raw PREROUTING 0 ...`, the same for OUTPUT and"
        " ipv6), or in an nft table of your own; services of its zones accept untracked packets already",
    ),
    Owner(
        "ufw",
        ("ufw-", "ufw6-"),
        (),
        True,
        "it loads /etc/ufw/before.rules and before6.rules. Put the raw rules there as a `*raw` section behind"
        " the COMMIT of `*filter`, and the accept rules into ufw-before-input and ufw-before-output, above"
        " that COMMIT; then `ufw reload`",
    ),
    Owner(
        "Docker",
        ("DOCKER",),
        ("docker-bridges",),
        False,
        "it adds its rules again when it starts, and leaves lines of others alone; published ports are"
        " translated, and stay tracked. What is for containers belongs into DOCKER-USER",
    ),
    Owner(
        "Kubernetes",
        ("KUBE-", "cali-", "CILIUM_", "FLANNEL-"),
        ("kube-proxy", "calico"),
        False,
        "kube-proxy and the network plugin write their chains again and again; own rules stand outside of"
        " chains with their names",
    ),
    Owner(
        "libvirt",
        ("LIBVIRT_",),
        ("libvirt_network",),
        False,
        "it adds its chains again when a network starts; own rules stay in the built-in chains",
    ),
)


def owners(ruleset: Ruleset) -> Iterator[Owner]:
    """Those whose tables or chains are in the rules."""
    tables = {table.name for table in ruleset.tables}
    plain = {name.split()[-1] for name in tables if name.strip()}
    chains = {chain.name for table in ruleset.tables for chain in table.chains}
    for owner in OWNERS:
        named = any(chain.startswith(owner.chains) for chain in chains) if owner.chains else False
        if named or plain & set(owner.tables):
            yield owner
