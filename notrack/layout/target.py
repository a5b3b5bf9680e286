"""What iptables rules do and count, in its words."""

from __future__ import annotations

from notrack.layout.merging import Group
from notrack.packets.address import Family, address_text
from notrack.plan.leg import Action, State, Verb
from notrack.site.model import Rate

_UNITS = {"second": "sec", "minute": "min", "hour": "hour", "day": "day"}
_HIGHEST_BURST = 10000
_STATES = (
    (State.INVALID, "INVALID"),
    (State.NEW, "NEW"),
    (State.RELATED, "RELATED"),
    (State.ESTABLISHED, "ESTABLISHED"),
    (State.DNAT, "DNAT"),
)


def target(group: Group, family: Family, coexist: bool) -> str:
    """The `-j` of a group. KEEP ends the walk through raw; beside the rules of others only through ours."""
    action = group.action
    match action.verb:
        case Verb.ACCEPT | Verb.DROP:
            return f"-j {action.verb.name}"
        case Verb.KEEP:
            return "-j RETURN" if coexist else "-j ACCEPT"
        case Verb.UNTRACK:
            return "-j CT --notrack"
        case Verb.HELPER:
            return f"-j CT --helper {action.helper}"
        case Verb.CLAMP:
            return "-j TCPMSS --clamp-mss-to-pmtu"
        case Verb.REJECT:
            return f"-j REJECT --reject-with {'icmp' if family is Family.IPV4 else 'icmp6'}-port-unreachable"
        case Verb.LOG:
            return f'-j LOG --log-prefix "notrack {group.hook.value}: "'
        case Verb.REDIRECT:
            assert action.ports is not None
            return f"-j REDIRECT --to-ports {action.ports[0]}"
    return _address_target(action, family)


def _address_target(action: Action, family: Family) -> str:
    ports = "" if action.ports is None else _range(action.ports)
    if action.verb is Verb.MASQUERADE:
        return f"-j MASQUERADE --to-ports {ports}" if ports else "-j MASQUERADE"
    assert action.address is not None
    address = address_text(action.address, family)
    if ports:
        address = f"{address}:{ports}" if family is Family.IPV4 else f"[{address}]:{ports}"
    word = "SNAT --to-source" if action.verb is Verb.SNAT else "DNAT --to-destination"
    return f"-j {word} {address}"


def _range(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def carried(action: Action, protocol: str) -> str:
    """The conditions that the kernel wants in the very rule that holds this target."""
    if action.verb is Verb.CLAMP:
        return f"{protocol} -m tcp --tcp-flags SYN,RST SYN"
    return protocol if action.ports is not None or action.verb is Verb.HELPER else ""


TRANSLATES = frozenset({Verb.MASQUERADE, Verb.SNAT, Verb.DNAT, Verb.REDIRECT})


def states(group: Group) -> str:
    if not group.states:
        return ""
    return "-m conntrack --ctstate " + ",".join(word for state, word in _STATES if state in group.states)


# A source is an address in IPv4, a /64 in IPv6: who has one /64 has all its addresses, and could fill the
# table of sources with them until no other source finds a place.
SOURCE_BITS = {Family.IPV4: 32, Family.IPV6: 64}


def _source_mask(family: Family) -> str:
    bits = SOURCE_BITS[family]
    return "" if bits == family.bits else f" --hashlimit-srcmask {bits}"


def burst(rate: Rate) -> int:
    """How many may come at once: all that the unit of time allows, as a reader of the site would expect."""
    return max(1, min(rate.count, _HIGHEST_BURST))


def counting(group: Group, family: Family) -> str:
    """The match that counts, or nothing."""
    if group.connections is not None:
        mask = SOURCE_BITS[family] if group.connections.per_source else 0
        above = f"--connlimit-above {group.connections.count}"
        return f"-m connlimit {above} --connlimit-mask {mask} --connlimit-saddr"
    if group.rate is None:
        return ""
    rate = group.rate
    speed = f"{rate.count}/{_UNITS[rate.unit]}"
    if not rate.per_source:
        return f"-m limit --limit {speed} --limit-burst {burst(rate)}"
    # The name holds the rate: the kernel keeps a table of the same name with its old rate across a reload.
    name = f"{group.origins[0].name[:200]}-{rate.count}-{_UNITS[rate.unit]}"
    return (
        f"-m hashlimit --hashlimit-upto {speed} --hashlimit-burst {burst(rate)} "
        f"--hashlimit-mode srcip{_source_mask(family)} --hashlimit-name {name}"
    )
