"""What iptables 1.8.9 knows: every match and target with its options, as data for reader and writer alike.

A declaration is written as a manual page writes it: `! --sport --source-port PORTS` is an option that may
be negated, its spellings (the first is the one iptables-save prints), and one word for each value; `RATE?`
is a value that may be missing. A `~` in front says that the option asks for what no header tells.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from functools import cache

from notrack.packets.address import Family
from notrack.text.record import dataclass

IPV4_ONLY = frozenset({Family.IPV4})
IPV6_ONLY = frozenset({Family.IPV6})
BOTH = frozenset(Family)


class Kind(enum.Enum):
    """What a value is. The word in a declaration is the member's name."""

    __hash__ = object.__hash__  # the enum's own is written in Python and takes most of a check's time

    ADDRESS = "an address, a name or a prefix, with a length or a mask"
    HOST = "an address or a name"
    RANGE = "two addresses with a dash between"
    TRANSLATION = "addresses and ports of a translation"
    INTERFACE = "an interface, or the beginning of its name and a plus"
    PROTOCOL = "a protocol by name or number"
    PORT = "a port or a service"
    PORTS = "a port, a service or a range with a colon"
    PORTLIST = "up to 15 ports, ranges counting twice"
    FLAGS = "TCP flags with commas"
    ICMP = "an ICMP type, type/code or name"
    ICMPV6 = "an ICMPv6 type, type/code or name"
    STATES = "connection states with commas"
    STATUS = "connection status bits with commas"
    DIRECTION = "ORIGINAL or REPLY"
    TYPES = "address types with commas"
    MARK = "a number, with a slash and a mask or without"
    INTEGER = "a number"
    INTEGERS = "a number or a range with a colon"
    MAC = "a link-layer address"
    DSCP = "a code point by number or class"
    TOS = "a type of service by number or name, with a mask or without"
    RATE = "so many a second, minute, hour or day, or bytes"
    SET = "the name of an ipset"
    SETFIELDS = "src and dst with commas, one for each part of the set's key"
    HEADERS = "names of IPv6 headers with commas"
    ZONE = "a connection tracking zone"
    LIST = "words with commas"
    TEXT = "any text; iptables-save quotes it unless it is plain"
    QUOTED = "any text; iptables-save always quotes it"
    WORD = "one word"


class Exactness(enum.Enum):
    """Whether the headers, the interfaces and the state of a packet decide if a match holds."""

    EXACT = "exact"
    MAYBE = "may match"
    ALWAYS = "always holds"


@dataclass(frozen=True, slots=True)
class OptionForm:
    """One option as it may be written; `optional` is the kind of a value that may be missing."""

    name: str
    spellings: tuple[str, ...]
    kinds: tuple[Kind, ...]
    negatable: bool
    exact: bool
    optional: Kind | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A match or a target. `terminal` (targets): no later rule sees a packet that it took."""

    name: str
    options: tuple[OptionForm, ...]
    families: frozenset[Family] = BOTH
    exactness: Exactness = Exactness.EXACT
    aliases: tuple[str, ...] = ()
    terminal: bool = False
    spelled: Mapping[str, OptionForm] = field(default_factory=dict, compare=False, repr=False)

    def option(self, name: str) -> OptionForm | None:
        """The form behind one exact spelling."""
        return self.spelled.get(name)


def declared(declaration: str) -> OptionForm:
    """The form that a declaration describes. ValueError if it names no option or an unknown kind."""
    words = declaration.split()
    exact = "~" not in words
    negatable = "!" in words
    spellings = tuple(word for word in words if word.startswith("-"))
    kinds = tuple(Kind[word] for word in words if word.isalnum())
    optional = next((Kind[word[:-1]] for word in words if word.endswith("?")), None)
    if not spellings:
        raise ValueError(f"no option in {declaration!r}")
    return OptionForm(spellings[0], spellings, kinds, negatable, exact, optional)


def extension(
    name: str,
    *declarations: str,
    families: frozenset[Family] = BOTH,
    exactness: Exactness = Exactness.EXACT,
    aliases: tuple[str, ...] = (),
    terminal: bool = False,
) -> Extension:
    """An extension from its declarations."""
    options = tuple(declared(declaration) for declaration in declarations)
    spelled = {spelling: form for form in options for spelling in form.spellings}
    return Extension(name, options, families, exactness, aliases, terminal, spelled)


def match_named(name: str, family: Family | None = None) -> Extension | None:
    """The match that `-m name` loads; None if iptables 1.8.9 has none of that name in the family."""
    return _in_family(_catalogues()[0].get(name), family)


def target_named(name: str, family: Family | None = None) -> Extension | None:
    """The target that `-j name` loads; None for chains, verdicts and whatever is not known."""
    return _in_family(_catalogues()[1].get(name), family)


def matches() -> tuple[Extension, ...]:
    """Every match, each once, in the order of the alphabet."""
    return _distinct(_catalogues()[0])


def targets() -> tuple[Extension, ...]:
    """Every target, each once, in the order of the alphabet."""
    return _distinct(_catalogues()[1])


VERDICTS = frozenset(("ACCEPT", "DROP", "RETURN", "QUEUE"))

BASE = tuple(
    declared(text)
    for text in (
        "! -s --source --src ADDRESS",
        "! -d --destination --dst ADDRESS",
        "! -i --in-interface INTERFACE",
        "! -o --out-interface INTERFACE",
        "! -p --protocol PROTOCOL",
        "! -f --fragments",
    )
)

BASE_SPELLED = {spelling: form for form in BASE for spelling in form.spellings}

# The match that an option such as --dport calls up under `-p` alone.
IMPLIED = {
    "tcp": "tcp",
    "6": "tcp",
    "udp": "udp",
    "17": "udp",
    "icmp": "icmp",
    "1": "icmp",
    "icmpv6": "icmp6",
    "ipv6-icmp": "icmp6",
    "58": "icmp6",
    "sctp": "sctp",
    "132": "sctp",
    "dccp": "dccp",
    "33": "dccp",
    "esp": "esp",
    "50": "esp",
    "ah": "ah",
    "51": "ah",
    "ipcomp": "ipcomp",
    "108": "ipcomp",
    "ipv6-mh": "mh",
    "mobility-header": "mh",
    "135": "mh",
}


def _in_family(found: tuple[Extension, ...] | None, family: Family | None) -> Extension | None:
    return next((form for form in found or () if family is None or family in form.families), None)


def _distinct(catalogue: Mapping[str, tuple[Extension, ...]]) -> tuple[Extension, ...]:
    return tuple(form for name, forms in sorted(catalogue.items()) for form in forms if form.name == name)


@cache
def _catalogues() -> tuple[Mapping[str, tuple[Extension, ...]], Mapping[str, tuple[Extension, ...]]]:
    from notrack.ruleset.xtables.match_catalogue import MATCHES
    from notrack.ruleset.xtables.target_catalogue import TARGETS

    return _by_name(MATCHES), _by_name(TARGETS)


def _by_name(extensions: tuple[Extension, ...]) -> Mapping[str, tuple[Extension, ...]]:
    found: dict[str, tuple[Extension, ...]] = {}
    for form in extensions:
        for name in (form.name, *form.aliases):
            found[name] = (*found.get(name, ()), form)
    return found
