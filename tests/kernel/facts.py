"""What the fact tests share: the default lab's addresses, and rules that tell a packet's state."""

from __future__ import annotations

from tests.kernel.lab import LAN, WAN, Lab

OWN = {4: WAN.host_address(4), 6: WAN.host_address(6)}
LAN_OWN = {4: LAN.host_address(4), 6: LAN.host_address(6)}
FAR = {4: LAN.peer_address(4), 6: LAN.peer_address(6)}
STRANGER = {4: "203.0.113.9", 6: "2001:db8:99::9"}
OFFICE = {4: "198.51.100.7", 6: "2001:db8:51::7"}
RESOLVER = {4: "9.9.9.9", 6: "2620:fe::fe"}
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
UNTRACK = "CT --notrack"


def state_rules(backend: str, place: str, match: str = "", tag: str = "") -> list[str]:
    """One counting rule for each state. `place` is an xtables chain (unused for nft), `tag` names the set."""
    tag = tag or place
    if backend == "nft":
        return [f'{match} ct state {state.lower()} counter comment "{tag}-{state}"' for state in STATES]
    return [
        f"-A {place} {match} -m conntrack --ctstate {state} -m comment --comment {tag}-{state}"
        for state in STATES
    ]


def states(lab: Lab, backend: str, tag: str) -> dict[str, int]:
    """How many packets each state had, states that none had left out."""
    found: dict[str, int] = {}
    for one in lab.counters(backend):
        name, _, state = one.comment.rpartition("-")
        if name == tag and state in STATES and one.packets:
            found[state] = found.get(state, 0) + one.packets
    return found
