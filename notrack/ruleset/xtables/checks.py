"""What iptables would say against the values of a rule, remembered for words that come again and again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from notrack.packets.address import Family
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.catalogue import Kind

Check = Callable[[str, Family], object]

_ANY_FAMILY: Mapping[Kind, Callable[[str], object]] = {
    Kind.INTERFACE: values.interface,
    Kind.PROTOCOL: values.protocol,
    Kind.PORT: values.port,
    Kind.PORTS: values.ports,
    Kind.PORTLIST: values.port_list,
    Kind.FLAGS: values.flags,
    Kind.STATES: values.states,
    Kind.STATUS: values.statuses,
    Kind.TYPES: values.address_types,
    Kind.MARK: values.mark,
    Kind.MAC: values.mac,
    Kind.DSCP: values.dscp,
    Kind.TOS: values.tos,
    Kind.SETFIELDS: values.set_fields,
}
_BY_FAMILY: Mapping[Kind, Check] = {
    Kind.ADDRESS: values.addresses,
    Kind.RANGE: values.address_range,
    Kind.ICMP: lambda word, _: values.icmp(word, Family.IPV4),
    Kind.ICMPV6: lambda word, _: values.icmp(word, Family.IPV6),
}
SUGGESTIONS = 100

_PORT = r"[1-9][0-9]{0,3}"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}(?:/(?:3[0-2]|[12]?\d))?", re.ASCII).fullmatch

# What most values look like: seen to be right at once, without being remembered.
_PLAIN: Mapping[Kind, Callable[[str], object]] = {
    Kind.PORT: re.compile(_PORT).fullmatch,
    Kind.PORTS: re.compile(_PORT).fullmatch,
    Kind.PORTLIST: re.compile(rf"{_PORT}(?:,{_PORT}){{0,14}}").fullmatch,
    Kind.MAC: re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}", re.IGNORECASE).fullmatch,
    Kind.PROTOCOL: frozenset(("tcp", "udp", "icmp")).__contains__,
    Kind.INTERFACE: re.compile(r"[\w.-]{1,15}", re.ASCII).fullmatch,
}
_ALL: Mapping[Kind, Callable[[str], object]] = {
    kind: lambda _: True for kind in Kind if kind not in _ANY_FAMILY and kind not in _BY_FAMILY
}
_QUICK: Mapping[Kind, Callable[[str], object]] = {**_ALL, **_PLAIN}
_QUICK4: Mapping[Kind, Callable[[str], object]] = {**_QUICK, Kind.ADDRESS: _ADDRESS}


class Checks:
    """Complaints about values; one instance for one text, so that nothing is checked twice."""

    __slots__ = ("_known", "_searches")

    def __init__(self) -> None:
        self._searches = SUGGESTIONS
        self._known: dict[Family | None, dict[Kind, dict[str, str | None]]] = {}

    def suggestion(self, word: str, known: Iterable[str]) -> str | None:
        """A question with the nearest known word. Only the first words of a text get one: a search takes
        milliseconds, and a text may hold many thousand words that nobody knows."""
        self._searches -= 1
        return _closest(word, known) if self._searches >= 0 and len(word) < 64 else None

    def complaint(self, kind: Kind, value: str, family: Family | None) -> str | None:
        """What is wrong with a value; None if nothing is, or if only a resolver or a kernel could tell."""
        plain = (_QUICK4 if family is Family.IPV4 else _QUICK).get(kind)
        if plain is not None and plain(value):
            return None
        kinds = self._known.get(family)
        if kinds is None:
            kinds = self._known[family] = {kind: {} for kind in Kind}
        known = kinds[kind]
        try:
            return known[value]
        except KeyError:
            found = known[value] = _complaint(kind, value, family)
            return found


def _closest(word: str, known: Iterable[str]) -> str | None:
    import difflib  # only for what is misspelt: start-up counts

    near = difflib.get_close_matches(word, sorted(known), 1)
    return f"did you mean {near[0]}?" if near else None


def _complaint(kind: Kind, value: str, family: Family | None) -> str | None:
    try:
        if kind in _ANY_FAMILY:
            _ANY_FAMILY[kind](value)
        elif kind in _BY_FAMILY:
            _in_some_family(_BY_FAMILY[kind], value, family)
    except values.Meaningless as fault:
        return str(fault)
    return None


def _in_some_family(check: Check, value: str, family: Family | None) -> None:
    if family is not None:
        check(value, family)
        return
    try:
        check(value, Family.IPV4)
    except values.Meaningless:
        check(value, Family.IPV6)
