"""One address or prefix as text: read exactly, or told what is wrong with it."""

from __future__ import annotations

import ipaddress
import re
from _socket import AF_INET, AF_INET6, inet_pton  # the whole of socket takes its time to load

from notrack.packets.address import Family, address_text, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """`value` as written, host bits included."""

    family: Family
    value: int
    length: int

    @property
    def mask(self) -> int:
        bits = self.family.bits
        return (1 << bits) - (1 << (bits - self.length))

    @property
    def low(self) -> int:
        return self.value & self.mask

    @property
    def high(self) -> int:
        return self.low | ((1 << (self.family.bits - self.length)) - 1)

    @property
    def single(self) -> bool:
        return self.length == self.family.bits

    def address(self) -> str:
        return address_text(self.value, self.family)

    def __str__(self) -> str:
        return prefix_text(self.low, self.length, self.family)


@dataclass(frozen=True, slots=True)
class Slip:
    """What is wrong with a text, and how to mend it."""

    message: str
    help: str | None = None


def read_prefix(text: str) -> Prefix | Slip:
    """`192.0.2.0/24`, `2001:db8::1`: an address or a prefix without host bits."""
    prefix = read_address(text)
    if isinstance(prefix, Slip) or prefix.value == prefix.low:
        return prefix
    return Slip(
        f"`{text}` has bits set behind its prefix length",
        f"write `{prefix}` for the whole prefix, `{prefix.address()}` for the one address",
    )


def read_address(text: str) -> Prefix | Slip:
    """As `read_prefix`, but host bits may be set, as in the address of an interface."""
    address, slash, tail = text.partition("/")
    family = Family.IPV6 if ":" in address else Family.IPV4
    try:
        packed = inet_pton(AF_INET6 if family is Family.IPV6 else AF_INET, address)
    except (OSError, ValueError):
        return _bad_address(text, address, slash, tail)
    value = int.from_bytes(packed, "big")
    if not slash:
        return Prefix(family, value, family.bits)
    if not tail.isascii() or not tail.isdigit() or len(tail) > 4:
        return _bad_length(text, address, tail, family)
    length = int(tail)
    if length > family.bits:
        return Slip(
            f"prefix length {length} is too long in `{text}`",
            f"an {family.label} prefix has at most {family.bits} bits: write `{address}` for the one address",
        )
    return Prefix(family, value, length)


def _bad_length(text: str, address: str, tail: str, family: Family) -> Slip:
    if not tail:
        return Slip(f"the prefix length is missing in `{text}`", f"write `{address}` for the one address")
    if family is Family.IPV4 and "." in tail.rstrip("."):
        try:
            length = ipaddress.IPv4Network(f"0.0.0.0/{tail}").prefixlen
        except ValueError:
            return Slip(f"bad netmask `{tail}`", f"write a prefix length, as in `{address}/24`")
        return Slip(f"a netmask in `{text}`", f"write the prefix length: `{address}/{length}`")
    digits = re.match(r"\d{0,3}", tail)
    found = digits.group() if digits else ""
    meant = f"`{address}/{found}`" if found and int(found) <= family.bits else "a number behind the `/`"
    return Slip(f"bad prefix length `{tail}`", f"write {meant}")


def _bad_address(text: str, address: str, slash: str, tail: str) -> Slip:
    if "%" in address:
        bare = address.partition("%")[0]
        return Slip(
            f"`{text}` names a zone", f"write `{bare}{slash}{tail}`, and the interface with `on` or `out`"
        )
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", address):
        return Slip(f"`{text}` is a hardware address", "rules of this language know IP addresses only")
    if ":" in address:
        return Slip(f"`{text}` is not an IPv6 address", _ipv6_hint(address))
    parts = address.rstrip(".").split(".")
    large = next((part for part in parts if part.isdigit() and int(part[:9]) > 255), None)
    if large is not None:
        return Slip(f"`{large}` in `{text}` is larger than 255", "each of the four numbers is from 0 to 255")
    padded = next((part for part in parts if len(part) > 1 and part.startswith("0")), None)
    if padded is not None and len(parts) == 4:
        plain = ".".join(str(int(part)) if part.isdigit() else part for part in parts)
        return Slip(
            f"`{padded}` in `{text}` has a leading zero", f"some programs read that as octal: write `{plain}`"
        )
    if len(parts) < 4 and all(part.isdigit() for part in parts) and slash and tail.isdigit():
        full = ".".join([*parts, *["0"] * (4 - len(parts))])
        return Slip(f"`{text}` has only {_counted(len(parts))}", f"write `{full}/{tail}`")
    if len(parts) != 4:
        return Slip(
            f"`{text}` has {_counted(len(parts))}, not four", "an IPv4 address is four numbers from 0 to 255"
        )
    if address.endswith("."):
        return Slip(f"`{text}` ends in a dot", f"write `{address.rstrip('.')}{slash}{tail}`")
    return Slip(f"`{text}` is not an IPv4 address", "an IPv4 address is four numbers from 0 to 255")


def _counted(count: int) -> str:
    return "only one number" if count == 1 else f"{count} numbers"


def _ipv6_hint(address: str) -> str:
    if address.count("::") > 1 or ":::" in address:
        return "`::` may stand in it once"
    groups = [group for group in address.split(":") if group]
    if any(len(group) > 4 and "." not in group for group in groups):
        return "each group has at most four hexadecimal digits"
    if "::" not in address and len(groups) < 8:
        return f"it has {len(groups)} groups of 8: leave zeros out with `::`"
    return "an IPv6 address is eight groups of hexadecimal digits, `::` for a run of zeros"


def covering(low: int, high: int, family: Family) -> list[str]:
    """The prefixes that cover an address range exactly, as text."""
    return [
        prefix_text(value, length, family) for value, length in prefixes(IntervalSet(((low, high),)), family)
    ]
