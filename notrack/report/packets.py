"""Boxes of packets in words: `tcp 22, 80-90 from 198.51.100.0/24 in eth0`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notrack.netfilter.ways import Way
from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.fields import (
    NO_ICMP_TYPE,
    NO_MAC,
    PORT_PROTOCOLS,
    AddressType,
    Field,
    Fragment,
    PacketType,
    interface_name,
    interface_prefix,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import PROTOCOL_NAMES, icmp_name, mac_text
from notrack.packets.packet_set import PacketSet
from notrack.proof.difference_boxes import Bound, Box

_MOST = 6  # values that are written out
_FEW = 4  # and protocols
_KINDS = {
    AddressType.UNICAST: "other hosts",
    AddressType.LOCAL: "the host itself",
    AddressType.BROADCAST: "broadcast addresses",
    AddressType.MULTICAST: "groups",
}
_USUAL = {
    Way.LOCAL_IN: IntervalSet.single(AddressType.LOCAL),
    Way.FORWARD: IntervalSet.single(AddressType.UNICAST),
    Way.LOCAL_OUT: IntervalSet.single(AddressType.UNICAST),
    Way.LOOPBACK: IntervalSet.single(AddressType.LOCAL),
}
_TOLD = frozenset(
    (
        Field.PROTOCOL, Field.ICMP_TYPE, Field.ICMP_CODE, Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT,
        Field.DESTINATION_PORT, Field.SOURCE_TYPE, Field.DESTINATION_TYPE, Field.IN, Field.OUT,
        Field.FRAGMENT, Field.MAC, Field.PACKET_TYPE, Field.LENGTH, Field.TTL, Field.TOS, Field.FLAGS,
    )
)  # fmt: skip
_FRAMES = {PacketType.BROADCAST: "broadcast", PacketType.MULTICAST: "multicast", PacketType.HOST: "unicast"}


def box_words(box: Box, packets: PacketSet, way: Way) -> str:
    """The packets of a box that take a way, in words, which leave out what is free."""
    family = packets.space.family
    words = [_protocol_words(box, packets)]
    for field, word in ((Field.SOURCE, "from"), (Field.DESTINATION, "to")):
        bound = box.get(field)
        if bound is not None:
            words.append(f"{word} {_choice(bound, lambda values: address_words(values, family))}")
    words += _kinds(box, way)
    for field, word in ((Field.IN, "in"), (Field.OUT, "out")):
        bound = box.get(field)
        if bound is not None:
            words.append(f"{word} {_choice(bound, interface_words)}")
    words += _rest(box)
    return " ".join(words) + (" (not every combination)" if box.loose else "")


def _protocol_words(box: Box, packets: PacketSet) -> str:
    """The protocol with ports or type: `tcp 80`, `udp from port 53`, `icmp echo-request`, `everything`."""
    protocols = packets.may().project(Field.PROTOCOL)
    family = packets.space.family
    asked, own = box.get(Field.DESTINATION_PORT), box.get(Field.SOURCE_PORT)
    kind = box.get(Field.ICMP_TYPE)
    if protocols.size() <= _FEW:
        name = ", ".join(_names(protocols))
    elif asked or own:
        missing = PORT_PROTOCOLS - protocols
        but = f" but {', '.join(_names(missing))}" if missing else ""
        name = f"every protocol with ports{but}" if protocols <= PORT_PROTOCOLS else f"every protocol{but},"
    else:
        missing = IntervalSet(((0, 255),)) - protocols
        name = (
            "everything"
            if not missing or box.get(Field.PROTOCOL) is None
            else (
                f"everything but {', '.join(_names(missing))}"
                if missing.size() <= _FEW
                else "several protocols"
            )
        )
    if own is not None:
        name += f" from {_port_choice(own)}"
        name += f" to {_port_choice(asked)}" if asked is not None else ""
    elif asked is not None:
        name += f" {_choice(asked, port_words, 'all ports but')}"
    if kind is not None and kind.values - IntervalSet.single(NO_ICMP_TYPE):
        name += f" {_choice(kind, lambda values: _types(values, family))}"
    return name


def _port_choice(bound: Bound) -> str:
    but = len(bound.others.spans) < len(bound.values.spans)
    if but and bound.others:
        return f"any port but {port_words(bound.others)}"
    return f"{'port' if bound.values.size() == 1 else 'ports'} {port_words(bound.values)}"


def _names(protocols: IntervalSet) -> list[str]:
    numbers = [number for low, high in protocols for number in range(low, high + 1)]
    ordered = sorted(numbers, key=lambda number: (number not in (6, 17), number))
    return [PROTOCOL_NAMES.get(number, f"protocol {number}") for number in ordered]


def _choice(bound: Bound, words: Callable[[IntervalSet], str], but: str = "any but") -> str:
    """The values, or what they leave out if that is less to say."""
    if bound.others and len(bound.others.spans) < len(bound.values.spans):
        left_out = words(bound.others)
        if " but " not in left_out:
            return f"{but} {left_out}"
    return words(bound.values)


def port_words(values: IntervalSet) -> str:
    spans = [str(low) if low == high else f"{low}-{high}" for low, high in values]
    return _listed(spans, f"{values.size():,} ports")


def address_words(values: IntervalSet, family: Family) -> str:
    found = _prefixes(values, family)
    if len(found) > _MOST:
        around = _around(values, family)
        holes = _prefixes(around - values, family)
        if len(holes) <= _FEW:
            return f"{', '.join(_prefixes(around, family))} but {', '.join(holes)}"
    return _listed(found, f"{len(found):,} prefixes")


def _prefixes(values: IntervalSet, family: Family) -> list[str]:
    return [prefix_text(low, length, family) for low, length in prefixes(values, family)]


def _around(values: IntervalSet, family: Family) -> IntervalSet:
    """The smallest prefix that holds all values."""
    low, high = values.spans[0][0], values.spans[-1][1]
    size = (low ^ high).bit_length()
    return IntervalSet(((low >> size << size, (low >> size << size) + (1 << size) - 1),))


def interface_words(values: IntervalSet) -> str:
    return _listed([_interface(low, high) for low, high in values], "several interfaces")


def _interface(low: int, high: int) -> str:
    name = interface_name(low) or "no interface"
    if low == high:
        return name
    for length in range(len(name), 0, -1):
        if interface_prefix(name[:length]).spans == ((low, high),):
            return f"{name[:length]}*"
    return f"{name} and behind it in the dictionary"


def _types(values: IntervalSet, family: Family) -> str:
    kinds = [kind for low, high in values for kind in range(low, min(high, NO_ICMP_TYPE - 1) + 1)]
    return _listed([icmp_name(kind, family) for kind in kinds[: _MOST + 1]], f"{len(kinds)} types")


def _kinds(box: Box, way: Way) -> list[str]:
    """What the addresses are to the host, where that alone tells packets apart."""
    words = []
    for field, address, word in (
        (Field.SOURCE_TYPE, Field.SOURCE, "from"),
        (Field.DESTINATION_TYPE, Field.DESTINATION, "to"),
    ):
        bound = box.get(field)
        if field is Field.DESTINATION_TYPE and bound is not None and bound.values == _USUAL[way]:
            continue
        if bound is not None and box.get(address) is None:
            known = [name for kind, name in _KINDS.items() if kind in bound.values]
            words += [f"{word} {' and '.join(known)}"] if known else []
    return words


def _rest(box: Box) -> list[str]:
    """Fields of which people speak rarely."""
    words: list[str] = []
    fragment = box.get(Field.FRAGMENT)
    if fragment is not None:
        names = {Fragment.WHOLE: "whole", Fragment.FIRST: "first", Fragment.LATER: "later"}
        parts = [name for kind, name in names.items() if kind in fragment.values]
        words.append(f"({' and '.join(parts)} {'packets' if parts == ['whole'] else 'fragments'})")
    mac = box.get(Field.MAC)
    if mac is not None:
        words.append(f"mac {_choice(mac, _macs)}")
    frame = box.get(Field.PACKET_TYPE)
    if frame is not None:
        words.append(
            f"in {' or '.join(name for kind, name in _FRAMES.items() if kind in frame.values)} frames"
        )
    for field in (Field.LENGTH, Field.TTL, Field.TOS, Field.ICMP_CODE):
        bound = box.get(field)
        if bound is not None:
            words.append(f"{field.value} {_choice(bound, port_words)}")
    flags = box.get(Field.FLAGS)
    if flags is not None:
        words.append(_flags(flags))
    for field, bound in box.fields:
        if field not in _TOLD:
            said = interface_words if field.value.startswith("bridge") else port_words
            words.append(f"{field.value} {_choice(bound, said)}")
    return [*words, "with certain marks"] if box.marked else words


def _macs(values: IntervalSet) -> str:
    known = [mac_text(low) for low, high in values if low == high and low != NO_MAC]
    return _listed(known, "several addresses") if known else "none"


_SHOWN_FLAGS = ((2, "syn"), (16, "ack"), (1, "fin"), (4, "rst"))


def _flags(bound: Bound) -> str:
    """Which of the four flags that matter the packets have for certain."""
    members = [value for low, high in bound.values for value in range(low, high + 1)]
    sure = [name for bit, name in _SHOWN_FLAGS if all(value & bit for value in members)]
    return f"flags {', '.join(sure)}" if sure else "with certain flags"


def ends_words(addresses: IntervalSet | None, ports: IntervalSet | None) -> str:
    """A translated end: address, port or both; nothing where neither is said."""
    if addresses is None and ports is None:
        return ""
    family = Family.IPV6 if addresses is not None and addresses.spans[-1][1] >= 1 << 32 else Family.IPV4
    text = ""
    if addresses is not None:
        found = _prefixes(addresses, family)
        text = "an address of the host" if len(found) > _MOST else ", ".join(found)
    if ports is not None:
        text += (" " if text else "") + f"port {port_words(ports)}"
    return text


def _listed(items: Sequence[str], many: str) -> str:
    if len(items) <= _MOST:
        return ", ".join(items)
    return f"{many} ({', '.join(items[:3])}, ...)"
