"""The sides of the host: interface lines, and what `on`, `out` and `at` say about them."""

from __future__ import annotations

from dataclasses import field

from notrack.packets.address import ANY, AddressSet, Family, address_text
from notrack.packets.intervals import IntervalSet
from notrack.site.addresses import AddressBook, families_of, of_prefixes
from notrack.site.clauses import checked_clauses, places
from notrack.site.faults import Faults
from notrack.site.model import NOBODY, Interface, Origin
from notrack.site.prefixes import Prefix, Slip, read_address
from notrack.site.scope import Scope
from notrack.site.syntax import Addresses, Atom, Clause, Statement, joined
from notrack.text.diagnostic import Related
from notrack.text.nearest import nearest
from notrack.text.record import dataclass
from notrack.text.source import Span

_LONGEST_DEVICE = 15  # IFNAMSIZ less the closing NUL

MULTICAST = AddressSet(
    IntervalSet(((224 << 24, (240 << 24) - 1),)), IntervalSet(((0xFF << 120, 2**128 - 1),))
)
_EVERYBODY = AddressSet(IntervalSet.single(2**32 - 1))
_UNSPECIFIED = AddressSet(IntervalSet.single(0), IntervalSet.single(0))


@dataclass(slots=True)
class Sides:
    """The declared interfaces by name."""

    scope: Scope
    book: AddressBook
    faults: Faults
    interfaces: dict[str, Interface] = field(default_factory=dict)

    def declare(self, statement: Statement) -> Interface | None:
        """Read an interface line; None after an error."""
        before = self.faults.mark
        clauses = checked_clauses(statement, self.faults)
        devices = [self._device(atom) for atom in statement.atoms]
        for i, atom in enumerate(statement.atoms):
            if devices[i] is not None and devices[i] in devices[:i]:
                self.faults.error(
                    atom.span, f"`{atom.text}` stands twice in this list", "take one of them out"
                )
        prefixes = self._own(clauses["address"]) if "address" in clauses else []
        if self.faults.mark > before or statement.name is None:
            return None
        origin = Origin("interface", statement.name.text, statement.head, places(clauses))
        singles = of_prefixes([Prefix(p.family, p.value, p.family.bits) for p in prefixes])
        found = Interface(origin, tuple(d for d in devices if d), singles, of_prefixes(prefixes))
        self.interfaces[statement.name.text] = found
        return found

    def devices(self, clause: Clause | None) -> tuple[str, ...] | None:
        """The devices that `on` or `out` names, each once; () without the clause, None after an error."""
        if clause is None:
            return ()
        found: dict[str, None] = {}
        failed = False
        for atom in clause.atoms:
            interface = self._interface(atom)
            failed |= interface is None
            found.update(dict.fromkeys(interface.devices if interface else ()))
        return None if failed else tuple(found)

    def _interface(self, atom: Atom) -> Interface | None:
        if atom.text not in self.scope.entries:
            owner = next((i for i in self.interfaces.values() if atom.text in i.devices), None)
            if owner is not None:
                self.scope.used.add(owner.origin.name)
                self.faults.error(
                    atom.span,
                    f"`{atom.text}` is a device, not the name of an interface",
                    f"write `{owner.origin.name}`",
                    (Related(owner.origin.span, f"`{atom.text}` belongs to this interface"),),
                )
                return None
        entry = self.scope.find(atom, "interface")
        found = self.interfaces.get(entry.name.text) if entry else None
        self.faults.silent += found is None
        return found

    def _device(self, atom: Atom) -> str | None:
        name = atom.value
        slip = device_slip(name)
        if slip is not None:
            self.faults.error(atom.span, slip.message, slip.help)
            return None
        return name

    def _own(self, clause: Clause) -> list[Prefix]:
        """The addresses of an interface, host bits kept."""
        assert clause.addresses is not None
        if clause.addresses.excepted:
            place = joined(clause.addresses.excepted[0], clause.last)
            self.faults.error(
                place, "`except` in the addresses of an interface", "list the addresses themselves"
            )
        if clause.port is not None:
            self.faults.error(
                clause.port.span, "ports on an interface", "an interface has devices and addresses"
            )
        found: list[Prefix] = []
        for atom in clause.addresses.items:
            prefix = self._own_address(atom)
            if prefix is not None and any(
                (p.family, p.value) == (prefix.family, prefix.value) for p in found
            ):
                self.faults.error(
                    atom.span, f"`{atom.text}` stands twice in this list", "take one of them out"
                )
            elif prefix is not None:
                found.append(prefix)
        return found

    def _own_address(self, atom: Atom) -> Prefix | None:
        if atom.type != "ADDRESS":
            self.faults.error(
                atom.span,
                f"`{atom.text}` is not an address of an interface",
                "write it as in `192.0.2.80/24`",
            )
            return None
        found = read_address(atom.text)
        slip = found if isinstance(found, Slip) else no_host(found)
        if slip is not None:
            self.faults.error(atom.span, slip.message, slip.help)
            return None
        assert isinstance(found, Prefix)
        return found

    def own(self, clause: Clause, addresses: AddressSet, on: Clause | None) -> None:
        """Check what `at` says against the addresses that interfaces declare."""
        declared = [i for i in self.interfaces.values() if i.addresses]
        if addresses == ANY or not declared:
            return
        known = AddressSet()
        for interface in declared:
            known = known | interface.addresses
        named = [self.interfaces.get(atom.text) for atom in on.atoms] if on is not None else []
        for family in families_of(addresses):
            strange = addresses.family(family) - known.family(family)
            if not addresses.family(family).isdisjoint(known.family(family)) or not strange:
                continue
            if on is not None and all(i is not None and i.addresses.family(family) for i in named):
                self.faults.error(*self._strange(clause, strange, family))
            elif any(i.addresses.family(family) for i in declared):
                self.faults.warn(*self._strange(clause, strange, family))

    def _strange(self, clause: Clause, strange: IntervalSet, family: Family) -> tuple[Span, str, str]:
        text = address_text(strange.least(), family)
        owns = [
            address_text(low, family)
            for i in self.interfaces.values()
            for low, _ in i.addresses.family(family)
        ]
        near = nearest(text, owns)
        hint = (
            f"did you mean `{near}`?"
            if near
            else "add it behind `address` in the `interface` line that has it"
        )
        assert clause.addresses is not None
        return clause.addresses.span, f"no interface declares the address {text}", hint


def device_slip(name: str) -> Slip | None:
    """What is wrong with the name of a device or a pattern such as `wg*`, if anything."""
    stem = name.removesuffix("*")
    if "@" in name:
        stem = name.partition("@")[0]
        return Slip(f"`{name}` is a device and what it stands on", f"the device itself is called `{stem}`")
    if "," in name:
        return Slip(f"`{name}` is several devices", "each in quotes of its own, with a comma between")
    if not name:
        return Slip("the name of a device is empty", "write it as in `eth0`")
    if not stem:
        return Slip("`*` is every device", "leave `on` or `out` out where all interfaces are meant")
    if stem.endswith("+"):
        return Slip(f"`{name}` is not a pattern", f'write `"{stem[:-1]}*"`')
    if "*" in stem:
        return Slip(f"`*` inside `{name}`", "a pattern has one `*`, at its end")
    if ":" in stem:
        return Slip(f"`{name}` is an alias", f"packets come in on `{stem.partition(':')[0]}`: write that")
    if len(stem) > _LONGEST_DEVICE:
        return Slip(f"`{name}` is too long for a device", f"the kernel holds {_LONGEST_DEVICE} characters")
    if stem in (".", "..") or not all("!" <= char <= "~" and char not in "/\"'\\" for char in stem):
        return Slip(
            f"`{name}` cannot be the name of a device", "as in `eth0`, `eth0.100`, or a pattern `wg*`"
        )
    return None


def no_host(prefix: Prefix) -> Slip | None:
    """Why no host can have that address with that prefix, if so."""
    bits = prefix.family.bits
    if of_prefixes([Prefix(prefix.family, prefix.value, bits)]) & MULTICAST:
        return Slip(f"{prefix.address()} is a multicast group", "no interface has a group as its address")
    if prefix.value == 0:
        return Slip(f"{prefix.address()} is no address of an interface", "write the address that it has")
    if prefix.length >= bits - 1:
        return None
    if prefix.value == prefix.low:
        return Slip(
            f"{prefix.address()}/{prefix.length} is the prefix, not an address in it",
            "write the address of the interface with the length of its prefix, as in `192.0.2.80/24`",
        )
    if prefix.family is Family.IPV4 and prefix.value == prefix.high:
        return Slip(
            f"{prefix.address()} is the broadcast address of its prefix", "write the interface's own address"
        )
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """What an `at` clause says: own addresses (None: none named), groups, broadcast."""

    own: AddressSet | None = None
    groups: AddressSet = NOBODY
    broadcast: bool = False


def place(clause: Clause | None, sides: Sides, on: Clause | None, keyword: str) -> Place | None:
    """Read an `at` clause; only that of a `peer` may name multicast groups and broadcast."""
    if clause is None:
        return Place()
    assert clause.addresses is not None
    items = clause.addresses.items
    kept = tuple(atom for atom in items if not (keyword == "peer" and atom.type == "BROADCAST"))
    broadcast = len(kept) < len(items)
    if not kept:
        return Place(broadcast=True)
    found = sides.book.resolve(Addresses(kept, clause.addresses.excepted))
    if found is None:
        return None
    if found == ANY:
        return Place(broadcast=broadcast)
    slip = _at_slip(found, keyword)
    if slip is not None:
        sides.faults.error(clause.addresses.span, slip.message, slip.help)
        return None
    if keyword == "peer" and found & _EVERYBODY:
        broadcast, found = True, found - _EVERYBODY
    own = found - MULTICAST
    if own:
        sides.own(clause, own, on)
    return Place(own or None, found & MULTICAST, broadcast)


def _at_slip(found: AddressSet, keyword: str) -> Slip | None:
    """Why no packet for this host can be addressed like that, if so."""
    if found & _UNSPECIFIED == found:
        return Slip("no packet is ever sent to this address", "for all own addresses leave `at` out")
    if keyword == "peer":
        return None
    help = "only a `peer` is reached there: write `peer NAME ... with ... at ...`"
    if found & MULTICAST:
        return Slip(f"a multicast group behind the `at` of a `{keyword}`", help)
    if found & _EVERYBODY:
        return Slip(f"the broadcast address behind the `at` of a `{keyword}`", help)
    return None
