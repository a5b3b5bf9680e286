"""Ports without a protocol, protocols without ports, and both at the wrong place."""

from __future__ import annotations

import re

from notrack.site.clauses import ALLOWED
from notrack.site.mistakes.lists import CLAUSES_MEANT
from notrack.site.mistakes.wrong import CLAUSES, FLOWS, PROTOCOLS, Answer, Wrong
from notrack.site.tables.icmp_names import ICMP_TYPES
from notrack.site.tables.protocol_names import PROTOCOLS as PROTOCOL_NAMES
from notrack.site.tables.service_names import SERVICE_PORTS
from notrack.text.nearest import distance, nearest

_WORDS = ("tcp", "udp", "sctp", "proto")
_WITHOUT_TRAFFIC = ("route", "masquerade", "snat", "trust", "block")
_OPTIONS = ("dport", "dports", "sport", "sports")


def icmp_type(wrong: Wrong) -> Answer | None:
    """An `icmp` line without a request, or with its number."""
    if wrong.keyword != "icmp":
        return None
    if wrong.at == 2 and wrong.ends_clause:
        return "no request is named", wrong.form
    if wrong.type == "NUMBER" and (wrong.at == 2 or wrong.list == "ICMP types"):
        number = int(wrong.text[:9])
        near = next((kind.name for kind in ICMP_TYPES.values() if number in (kind.v4, kind.v6)), None)
        known = f"write `{near}`" if near else f"known: {', '.join(ICMP_TYPES)}"
        return f"{wrong.said}: requests go by their names", known
    return None


def no_protocol(wrong: Wrong) -> Answer | None:
    """Right behind the name stands something else than a protocol."""
    if wrong.at != 2 or wrong.keyword not in FLOWS:
        return None
    text = wrong.text.lower()
    if wrong.type in ("NUMBER", "RANGE"):
        return f"port {wrong.said} without its protocol", f"write `tcp {text}` or `udp {text}`"
    if wrong.type not in ("WORD", "DEVICE") or _glued(text):
        return None
    if text in PROTOCOL_NAMES:
        return f"{wrong.said} without `proto`", f"write `proto {text}`"
    if text in SERVICE_PORTS:
        return f"port {wrong.said} without its protocol", f"write `tcp {text}` or `udp {text}`"
    return _misspelt_protocol(wrong, text)


def _misspelt_protocol(wrong: Wrong, text: str) -> Answer | None:
    near = text if text in _WORDS else nearest(text, _WORDS)
    clause = nearest(text, {key.split()[0] for key in ALLOWED[wrong.keyword]})
    if near and (clause is None or near == text or distance(text, near) <= distance(text, clause)):
        return f"unknown word {wrong.said}", f"did you mean `{near}`?"
    if clause or text in CLAUSES_MEANT or wrong.keyword in _WITHOUT_TRAFFIC:
        return None
    ports = text if wrong.type == "WORD" else "80"
    return f"unknown word {wrong.said}", f"protocol and ports stand behind the name, as in `tcp {ports}`"


def _glued(text: str) -> re.Match[str] | None:
    return re.fullmatch(r"(tcp|udp|sctp)-?([0-9]+(?:-[0-9]+)?)", text)


def no_port(wrong: Wrong) -> Answer | None:
    """In the place of a port stands something that is none."""
    glued = _glued(wrong.text) if wrong.type == "WORD" else None
    if glued:
        return f"unknown word {wrong.said}", f"write a blank between: `{glued[1]} {glued[2]}`"
    number, _, word = wrong.text.partition("/")
    if wrong.type == "RATE" and word in ("tcp", "udp", "sctp") and wrong.expected & {"NUMBER", "TCP"}:
        return f"{wrong.said}: port and protocol in one", f"write `{word} {number}`"
    if wrong.list == "ports" and wrong.type == "ADDRESS" and "NUMBER" in wrong.expected:
        dots = re.fullmatch(r"([0-9]+)\.\.+([0-9]+)", wrong.text)
        if dots:
            return f"{wrong.said} is not a range", f"write `{dots[1]}-{dots[2]}`"
        return (
            f"{wrong.said} is not a port",
            "write numbers, ranges, names of `ports` or of well-known services",
        )
    if wrong.type == "ANY" and wrong.list == "ports" and "FROM" in wrong.expected:
        word = "to" if "to" in ALLOWED.get(wrong.keyword, ()) else "from"
        return f"{wrong.said} without a word in front of it", f"say what it is about, as in `{word} any`"
    return None


def several_protocols(wrong: Wrong) -> Answer | None:
    """A protocol where none can stand, or one that is not named."""
    if wrong.before.type == "PROTO" and wrong.ends_clause:
        return "nothing behind `proto`", "write the name or the number of a protocol, as in `proto gre`"
    if wrong.type not in PROTOCOLS:
        return None
    if wrong.keyword == "ports":
        return (
            f"{wrong.said} in a list of ports",
            "the protocol goes in front of the name where the ports are used",
        )
    if wrong.keyword in FLOWS and "SEMICOLON" in wrong.expected:
        return (
            f"{wrong.said} without `;` in front of it",
            "between protocols stands `;`, as in `tcp 53; udp 53`",
        )
    if wrong.keyword in FLOWS:
        return f"{wrong.said} in the wrong place", "protocols and ports stand right behind the name"
    return None


def word_port(wrong: Wrong) -> Answer | None:
    """`port` and its relatives from other languages."""
    before, expects = wrong.before, wrong.keyword == "expect"
    if before.text in _OPTIONS and wrong.type in ("NUMBER", "RANGE", "WORD"):
        return (
            f"`{before.text}` in front of {wrong.said}",
            f"ports stand right behind the protocol: `tcp {wrong.text}`",
        )
    if expects and before.type in PROTOCOLS and wrong.type in ("NUMBER", "RANGE"):
        return (
            f"{wrong.said} behind `{before.text}`",
            "in a packet a port stands behind its address: `to host port 80`",
        )
    if wrong.type != "PORT" or before.type in (*CLAUSES, "EXCEPT"):
        return None
    if expects:
        return f"{wrong.said} in the wrong place", "a port stands behind its address, as in `to host port 80`"
    if before.type in PROTOCOLS:
        return (
            f"{wrong.said} behind `{before.text}`",
            "ports stand right behind the protocol: leave `port` out",
        )
    return f"{wrong.said} in the wrong place", "ports stand right behind the protocol, as in `tcp 80`"
