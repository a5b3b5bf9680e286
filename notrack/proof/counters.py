"""Facts of rules that are read back, in the words of the plan: rates, caps, helpers.

A rate or a cap counts for itself: two rules that say the same may answer differently about one packet. So
each gets a number, in the order in which a walk through the chains of its hook comes to them; what counts in
one place (a named table, a set that packets fill) has one number.
"""

from __future__ import annotations

import re
from collections.abc import Hashable

from notrack.packets.address import Family
from notrack.site.model import ConnectionLimit, Rate
from notrack.text.record import dataclass

_UNITS = {"sec": "second", "min": "minute"}
_SOURCE_BITS = {Family.IPV4: 32, Family.IPV6: 64}  # a source is an address in IPv4, a /64 in IPv6
_MOST = 10000  # what may come at once, at most; both kernels' matches take no more
_RATE = re.compile(r"(\d+)/(\w+)")
_NFT = re.compile(r"limit rate (\d+)/(\w+) burst (\d+) packets")
_NFT_SOURCE = re.compile(r"(update|add) @(\S+) \{ (?:ip saddr|ip6 saddr(?: & (\S+))?) (.*) \}")
_HELPER = re.compile(r'(?:-m helper --helper (\S+)|ct helper "([^"]+)")')
_HALF = "ffff:ffff:ffff:ffff::"


@dataclass(frozen=True, slots=True)
class Counter:
    """What counts, in words that both formats share. `shared`: the table or set in which it counts."""

    text: str
    shared: str = ""
    negated: bool = False


def counter_of(name: str, family: Family) -> Counter | None:
    """The counter that a fact's text stands for; None for every other fact."""
    if name.startswith("-m limit "):
        return _limit(_options(name))
    if name.startswith("-m hashlimit "):
        return _hashlimit(_options(name), family)
    if name.startswith("-m connlimit "):
        return _connlimit(_options(name), family)
    source = _NFT_SOURCE.fullmatch(name)
    if source is not None:
        return _per_source(source, family)
    found = _nft(name, "")
    return None if found is None else Counter(found)


def _options(text: str) -> dict[str, str]:
    words = text.split()[2:]
    return {
        word: "" if after.startswith("--") else after
        for word, after in zip(words, [*words[1:], "--"], strict=True)
        if word.startswith("--")
    }


def _limit(options: dict[str, str]) -> Counter | None:
    speed = _RATE.fullmatch(options.get("--limit", ""))
    if speed is None or options.keys() != {"--limit", "--limit-burst"}:
        return None
    return Counter(_rate(speed[1], speed[2], options["--limit-burst"], ""))


_HASHED = {"--hashlimit-upto", "--hashlimit-burst", "--hashlimit-mode", "--hashlimit-name"}


def _hashlimit(options: dict[str, str], family: Family) -> Counter | None:
    speed = _RATE.fullmatch(options.get("--hashlimit-upto", ""))
    bits = options.get("--hashlimit-srcmask", str(family.bits))
    if speed is None or options.keys() - {"--hashlimit-srcmask"} != _HASHED:
        return None
    if options["--hashlimit-mode"] != "srcip":
        return None
    text = _rate(speed[1], speed[2], options["--hashlimit-burst"], bits)
    return Counter(text, options["--hashlimit-name"])


def _connlimit(options: dict[str, str], family: Family) -> Counter | None:
    if options.keys() != {"--connlimit-upto", "--connlimit-mask", "--connlimit-saddr"}:
        return None
    bits = options["--connlimit-mask"]
    return Counter(_above(options["--connlimit-upto"], "" if bits == "0" else bits), negated=True)


def _nft(text: str, bits: str) -> str | None:
    rate = _NFT.fullmatch(text)
    if rate is not None:
        return _rate(rate[1], rate[2], rate[3], bits)
    count = re.fullmatch(r"ct count over (\d+)", text)
    return None if count is None else _above(count[1], bits)


def _per_source(found: re.Match[str], family: Family) -> Counter | None:
    """`update @set { ip saddr limit rate ... }`, in IPv6 under the mask of a /64."""
    verb, name, mask, inner = found.groups()
    bits = "64" if mask == _HALF else str(family.bits)
    text = _nft(inner, bits)
    if text is None or (mask is not None and mask != _HALF):
        return None
    return Counter(text, name) if (verb == "add") == text.startswith("more") else None


def _rate(count: str, unit: str, burst: str, bits: str) -> str:
    text = f"a rate of {count}/{_UNITS.get(unit, unit)}, {burst} at once"
    return f"{text}, for each source of /{bits}" if bits else text


def _above(count: str, bits: str) -> str:
    text = f"more than {count} connections"
    return f"{text} of a source of /{bits}" if bits else text


def rate_text(rate: Rate, family: Family) -> str:
    """What a rule for this rate must count: all that the unit of time allows may come at once."""
    burst = max(1, min(rate.count, _MOST))
    bits = str(_SOURCE_BITS[family]) if rate.per_source else ""
    return _rate(str(rate.count), rate.unit, str(burst), bits)


def cap_text(cap: ConnectionLimit, family: Family) -> str:
    return _above(str(cap.count), str(_SOURCE_BITS[family]) if cap.per_source else "")


def helper_text(name: str) -> str | None:
    """The fact that a helper expected the connection, in one spelling; None for every other fact."""
    found = _HELPER.fullmatch(name)
    return None if found is None else expected_by(found[1] or found[2])


def expected_by(helper: str) -> str:
    return f"helper {helper} expected the connection"


class Numbers:
    """Names for counters: one for each key, numbered among those that count alike at one hook."""

    def __init__(self) -> None:
        self._named: dict[Hashable, str] = {}
        self._alike: dict[str, int] = {}

    def name(self, hook: str, key: Hashable, text: str) -> str:
        whole = (text, key)
        if whole not in self._named:
            label = f"{text} at {hook}"
            self._alike[label] = self._alike.get(label, 0) + 1
            self._named[whole] = f"{label} (no. {self._alike[label]})"
        return self._named[whole]
