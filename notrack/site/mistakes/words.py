"""Words with nothing, or the wrong thing, behind them; settings and expectations."""

from __future__ import annotations

from notrack.site.mistakes.wrong import ADDRESSES, CLAUSES, FLAGS, Answer, Wrong, shortened
from notrack.site.tables.helper_names import HELPERS
from notrack.text.nearest import nearest

_BEHIND = {
    "LIMIT": "write `limit 20/second` or `limit connections 20`",
    "MSS": "write `mss pmtu`",
    "HELPER": f"known: {', '.join(HELPERS)}",
    "FLAGS": "as in `flags syn, ack`",
}


def limit(wrong: Wrong) -> Answer | None:
    """A limit without its unit or number."""
    before = wrong.before
    if before.type == "LIMIT" and wrong.type == "NUMBER":
        rest = [atom.text for atom in wrong.atoms[wrong.at + 1 : wrong.at + 3]]
        unit = rest[1] if rest[:1] == ["per"] and rest[1:] not in ([], ["source"]) else "second"
        return f"the limit {wrong.said} has no unit", f"write `limit {wrong.text}/{unit}`"
    if before.type == "PER":
        return f"{wrong.said} behind `per`", "write `per source`"
    if wrong.at > 1 and wrong.atoms[wrong.at - 2].type == "LIMIT" and before.type == "WORD":
        return f"no number behind `{before.text}`", _BEHIND["LIMIT"]
    return None


def interface(wrong: Wrong) -> Answer | None:
    """Behind `on` or `out` stands what is not the name of an interface."""
    word = wrong.before.text
    if wrong.before.type not in ("ON", "OUT") or wrong.type not in ("DEVICE", "STRING", "ANY"):
        return None
    if wrong.type == "ANY":
        return f"{wrong.said} behind `{word}`", f"for all interfaces leave `{word}` out"
    help = "declare `interface NAME = ...`, and write NAME"
    return f"{wrong.said} behind `{word}` is not the name of an interface", help


def address(wrong: Wrong) -> Answer | None:
    """In the place of an address stands something that is none."""
    if wrong.before.type not in (*ADDRESSES, "COMMA", "EQUAL") or wrong.list != "addresses":
        return None
    if wrong.ends_clause or wrong.type in ("PORT", "EXCEPT"):
        return f"nothing behind `{wrong.before.text}`", "write addresses, names of networks, or `any`"
    if wrong.type == "DEVICE":
        help = "names of hosts are not looked up: write addresses, or names of networks"
    elif wrong.type in ("NUMBER", "RANGE", "RATE", "DURATION"):
        help = "write it as in `192.0.2.0/24` or `2001:db8::/32`"
    else:
        help = "it is a word of the language: write addresses, names of networks, or `any`"
    return f"{wrong.said} is not an address", help


def nothing_behind(wrong: Wrong) -> Answer | None:
    """A word that needs something behind it, and does not have it; clauses on lines that take none."""
    before = wrong.before
    if before.type == "EQUAL" and wrong.atom is None:
        return "nothing behind `=`", wrong.form
    if wrong.type in CLAUSES and wrong.keyword in ("network", "ports", "site", "include"):
        return f"`{wrong.keyword}` takes no {wrong.said}", wrong.form
    if before.type not in (*CLAUSES, "PORT", "EXCEPT") or before.type in FLAGS:
        return None
    if wrong.ends_clause:
        return f"nothing behind `{before.text}`", _BEHIND.get(before.type, wrong.form)
    if before.type in _BEHIND:
        return f"{wrong.said} behind `{before.text}`", _BEHIND[before.type]
    if wrong.text in wrong.language.keywords:
        return f"{wrong.said} behind `{before.text}` is a word of the language", wrong.form
    return None


def setting(wrong: Wrong) -> Answer | None:
    """Lines without clauses: include, ephemeral, log, default, tracking."""
    if wrong.keyword == "include" and wrong.at == 1:
        if wrong.atom is None:
            return "`include` without a file", wrong.form
        return f"the file {wrong.said} without quotes", f'write `include "{shortened(wrong.text)}"`'
    if wrong.keyword == "ephemeral" and wrong.at == 1 and wrong.atom is not None:
        return f"{wrong.said} is not a range of ports", wrong.form
    if wrong.keyword == "log" and wrong.type == "NUMBER":
        return f"the limit {wrong.said} has no unit", f"write `log dropped {wrong.text}/minute`"
    if wrong.atom is None:
        return "the declaration ends too early", wrong.form
    if wrong.type == "DEVICE" and wrong.text.lower() != wrong.text:
        return f"unknown word {wrong.said}", f"words are lower case: `{wrong.text.lower()}`"
    return None


def expectation(wrong: Wrong) -> Answer | None:
    """A packet without a protocol, or with an unknown one."""
    if wrong.keyword != "expect":
        return None
    if wrong.type in CLAUSES and wrong.at <= 3:
        return "the packet has no protocol", wrong.form
    if wrong.type == "WORD" and wrong.before.type == "WORD":
        near = nearest(wrong.text, ("tcp", "udp", "sctp", "proto", "icmp"))
        return (f"unknown word {wrong.said}", f"did you mean `{near}`?") if near else None
    return None


def misspelt_tracking(wrong: Wrong) -> Answer | None:
    """`expect untraked accept`: it is the word before that is wrong."""
    if wrong.keyword != "expect" or wrong.at != 2 or wrong.type != "WORD":
        return None
    word = wrong.before.text
    near = nearest(word, ("tracked", "untracked"))
    return (f"unknown word `{shortened(word)}`", f"did you mean `{near}`?") if near else None
