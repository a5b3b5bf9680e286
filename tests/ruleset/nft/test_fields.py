"""Every field of the catalogue with every form of value: the kernel says which of them are rules."""

from __future__ import annotations

from notrack.ruleset.nft import catalogue as c
from notrack.ruleset.nft.reader import read_rule
from notrack.ruleset.nft.writer import write_item

NUMBERS = (
    "5",
    "!= 5",
    "5-9",
    "!= 5-9",
    "{ 5, 7 }",
    "!= { 5, 7 }",
    "{ 5-9 }",
    "< 5",
    ">= 5",
    "& 0x3 == 0x1",
    "set 5",
)
VMAP = ("vmap { 5 : accept, 7 : drop }",)
NAMES = ("exists", "missing", "type 0")


def fields() -> list[str]:
    found = [f"{protocol} {name}" for protocol, names in c.PAYLOADS.items() for name in sorted(names)]
    found += [f"{header} {name}" for header, names in c.EXTENSIONS.items() for name in sorted(names)]
    found += [f"meta {key}" for key in sorted(c.META_KEYS)]
    found += [f"ct {key}" for key in sorted(c.CT_KEYS)]
    found += [f"ct original {key}" for key in sorted(c.CT_KEYS)]
    found += [f"socket {key}" for key in sorted(c.SOCKET_KEYS)]
    found += [
        f"tcp option {name} {field}" for name in sorted(c.TCP_OPTIONS) for field in sorted(c.OPTION_FIELDS)
    ]
    return found


def candidates() -> list[str]:
    forms = (*NUMBERS, *VMAP)
    rules = [f"{field} {form}" for field in fields() for form in forms]
    # nft 1.0.6 cannot list a set of labels, and then no other set either
    rules = [rule for rule in rules if not ("ct label" in rule and "{" in rule)]
    rules += [f"{protocol} option {name} {form}" for protocol, name in options() for form in NAMES]
    rules += [f"sctp chunk {name} {form}" for name in sorted(c.SCTP_CHUNKS) for form in NAMES]
    rules += [f"exthdr {header} {form}" for header in sorted(c.EXTENSIONS) for form in ("exists", "missing")]
    rules += [f"fib {selectors} {result} {form}" for selectors in SELECTORS for result, form in RESULTS]
    return rules


SELECTORS = ("saddr", "daddr", "saddr . iif", "daddr . mark . iif", "saddr . oif")
RESULTS = (("type", "local"), ("type", "!= { local, multicast }"), ("oif", "exists"), ("oifname", '"lo"'))


def options() -> list[tuple[str, str]]:
    named = {"tcp": c.TCP_OPTIONS, "ip": c.IP_OPTIONS}
    return [(protocol, name) for protocol, names in named.items() for name in sorted(names)]


def test_what_the_kernel_accepts_reads_and_lists_the_same(lab) -> None:
    place = "inet x"
    rules = dict(enumerate(candidates()))
    original = probed(lab, place, rules)
    assert len(original) > 1000
    written = {number: write_item(read_rule(rules[number])) for number in original}
    again = lab.listings(f"add table {place}", place, written)
    assert {number: text for number, text in original.items() if again.get(number) != text} == {}
    legible = [text for text in original.values() if " unknown " not in text]  # nft lost the field's name
    assert len(legible) > 0.98 * len(original)
    for text in legible:
        assert read_rule(write_item(read_rule(text))) == read_rule(text)


def probed(lab, place: str, rules: dict[int, str]) -> dict[int, str]:
    """The listings of the rules that load. nft stops at ten errors, so one field is tried at a time."""
    groups: dict[str, dict[int, str]] = {}
    for number, rule in rules.items():
        groups.setdefault(" ".join(rule.split()[:2]), {})[number] = rule
    kept: dict[int, str] = {}
    for group in groups.values():
        kept |= lab.listings(f"add table {place}", place, group)
    return kept
