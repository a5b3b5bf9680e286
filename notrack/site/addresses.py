"""Addresses as written to exact sets: literals, names of networks, files, `any`, `except`."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import Interval, IntervalSet
from notrack.site.faults import Faults
from notrack.site.files import read_source
from notrack.site.lookups import Lookups
from notrack.site.prefixes import Prefix, Slip, read_prefix
from notrack.site.scope import Entry, Scope
from notrack.site.syntax import Addresses, Atom
from notrack.text.diagnostic import Related
from notrack.text.record import dataclass
from notrack.text.source import Source

_MOST_SLIPS = 20  # errors of one file of prefixes
_EVERYBODY = "for all addresses write `any`"
_ITSELF = "a declaration means the host itself anyway: leave it out, or write the address"
_MEANT: dict[str, str] = {
    **dict.fromkeys(
        ("all", "everyone", "everybody", "anywhere", "anyone", "everywhere", "world", "internet"), _EVERYBODY
    ),
    **dict.fromkeys(("self", "me", "this", "localhost", "own", "local"), _ITSELF),
}


@dataclass(slots=True)
class AddressBook:
    """Resolves addresses; every answer of None means that an error has been reported."""

    scope: Scope
    faults: Faults
    folders: dict[int, Path]  # where each source lies, by id
    names: Lookups[AddressSet] = field(init=False)

    def __post_init__(self) -> None:
        self.names = Lookups("network", self.scope, self.faults)

    def network(self, entry: Entry, used: Atom) -> AddressSet | None:
        """What a network stands for."""
        addresses = entry.statement.addresses if entry.statement is not None else None
        work = None if addresses is None else lambda: self.resolve(addresses, files=True)
        return self.names.value(entry, used, work)

    def resolve(self, addresses: Addresses, *, files: bool = False) -> AddressSet | None:
        """The set that `a, b except c` stands for; never empty."""
        parts = [self._item(atom, files) for atom in addresses.items]
        holes = [self._item(atom, files) for atom in addresses.excepted]
        if None in parts or None in holes:
            return None
        whole = union(parts)
        found = whole - union(holes)
        if not found:
            self.faults.error(
                addresses.span,
                "no address is left behind `except`",
                "what is taken away covers everything in front",
            )
            return None
        if addresses.excepted and found == whole:
            self.faults.warn(
                Addresses(addresses.excepted).span,
                "`except` takes nothing away: none of this is in front of it",
            )
        return found

    def _item(self, atom: Atom, files: bool) -> AddressSet | None:
        if atom.type == "ANY":
            return ANY
        if atom.type == "ADDRESS":
            return self._literal(atom)
        if atom.type == "STRING":
            if files:
                return self._file(atom)
            self._stray_file(atom)
            return None
        if atom.type == "WORD":
            if atom.text not in self.scope.entries and atom.text in _MEANT:
                self.faults.error(atom.span, f"unknown network `{atom.text}`", _MEANT[atom.text])
                return None
            entry = self.scope.find(atom, "network")
            return self.network(entry, atom) if entry else None
        self._special(atom)
        return None

    def _literal(self, atom: Atom) -> AddressSet | None:
        prefix = read_prefix(atom.text)
        if isinstance(prefix, Slip):
            self.faults.error(atom.span, prefix.message, prefix.help)
            return None
        return of_prefixes([prefix])

    def _special(self, atom: Atom) -> None:
        if atom.type == "HOST":
            self.faults.error(
                atom.span,
                "`host` stands only in an `expect` line",
                "a declaration means the host itself anyway: leave it out, or write the address",
            )
        else:
            self.faults.error(
                atom.span,
                "`broadcast` stands only behind the `at` of a `peer`",
                "write addresses here; the address itself is `255.255.255.255`",
            )

    def _stray_file(self, atom: Atom) -> None:
        self.faults.error(
            atom.span,
            "a file of prefixes stands only in a `network` line",
            f"declare `network NAME = {atom.text}`, and write NAME here",
        )

    def _file(self, atom: Atom) -> AddressSet | None:
        if not atom.value.strip():
            self.faults.error(atom.span, "the name of the file is empty", 'write `"prefixes.txt"`')
            return None
        folder = self.folders[id(atom.source)]
        path = folder / atom.value
        name = str(path) if folder != Path(".") else atom.value
        source = read_source(path, name, self.faults, atom.span)
        return self._prefixes(source, atom) if source else None

    def _prefixes(self, source: Source, atom: Atom) -> AddressSet | None:
        """The set in a file: an address or a prefix a line, `#` and `;` start comments."""
        spans: dict[Family, list[Interval]] = {Family.IPV4: [], Family.IPV6: []}
        slips = start = 0
        for line in source.text.split("\n"):
            text = line.partition("#")[0].partition(";")[0]
            word = text.strip()
            if word:
                prefix = read_prefix(word)
                if isinstance(prefix, Prefix):
                    spans[prefix.family].append((prefix.low, prefix.high))
                else:
                    slips += 1
                    if slips <= _MOST_SLIPS:
                        place = start + text.index(word)
                        self._slip(source, place, word, prefix, atom)
            start += len(line) + 1
        if slips > _MOST_SLIPS:
            self.faults.error(
                atom.span, f"{slips - _MOST_SLIPS} more bad lines in `{source.name}` are not shown"
            )
        if slips:
            return None
        if not any(spans.values()):
            self.faults.error(
                atom.span, f"no address in `{source.name}`", "a list that nothing is in would match nothing"
            )
            return None
        return AddressSet(IntervalSet.of(spans[Family.IPV4]), IntervalSet.of(spans[Family.IPV6]))

    def _slip(self, source: Source, place: int, word: str, slip: Slip, atom: Atom) -> None:
        message, help = slip.message, slip.help
        if len(word.split()) > 1 or "," in word:
            message, help = (
                "more than one word on a line",
                "one address or prefix a line; `#` starts a comment",
            )
        elif not any(char.isdigit() for char in word) and ":" not in word:
            message = f"`{word[:60]}` is neither an address nor a prefix"
            help = "one address or prefix a line; `#` starts a comment"
        related = (Related(atom.span, "this file is read here"),)
        self.faults.error(source.span(place, place + len(word)), message, help, related)


def union(sets: list[AddressSet | None]) -> AddressSet:
    """The union; None counts as empty."""
    present = [s for s in sets if s is not None]
    if len(present) == 1:
        return present[0]
    v4 = IntervalSet.of(span for s in present for span in s.v4)
    v6 = IntervalSet.of(span for s in present for span in s.v6)
    return AddressSet(v4, v6)


def of_prefixes(prefixes: list[Prefix]) -> AddressSet:
    spans: dict[Family, list[Interval]] = {Family.IPV4: [], Family.IPV6: []}
    for prefix in prefixes:
        spans[prefix.family].append((prefix.low, prefix.high))
    return AddressSet(IntervalSet.of(spans[Family.IPV4]), IntervalSet.of(spans[Family.IPV6]))


def families_of(addresses: AddressSet) -> frozenset[Family]:
    """The families that have members."""
    return frozenset(family for family in Family if addresses.family(family))


def is_single(addresses: AddressSet) -> bool:
    """Whether it is exactly one address of one family."""
    return addresses.v4.size() + addresses.v6.size() == 1
