"""Commas, semicolons and equals signs, and what cannot be told apart without them."""

from __future__ import annotations

from notrack.site.clauses import ALLOWED
from notrack.site.lexer import KEYWORDS
from notrack.site.mistakes.wrong import CLAUSES, PROTOCOLS, Answer, Wrong
from notrack.text.nearest import distance, nearest

_BETWEEN = "between protocols stands `;`, as in `tcp 53; udp 53`"
_VERDICTS = ("accept", "allow", "permit", "pass", "drop", "deny", "reject")
_MEMBERS = {
    "addresses": ("ADDRESS", "WORD", "ANY", "STRING", "DEVICE", "HOST"),
    **dict.fromkeys(("ports", "protocols"), ("NUMBER", "RANGE", "WORD", "ANY")),
    **dict.fromkeys(("interfaces", "devices", "flags", "ICMP types"), ("WORD", "DEVICE", "STRING")),
}
_BEGINNINGS = frozenset(word.upper() for word in KEYWORDS)

CLAUSES_MEANT: dict[str, str] = {
    **dict.fromkeys(("in", "iface", "dev", "interface"), "on"),
    **dict.fromkeys(("src", "source", "for", "by"), "from"),
    **dict.fromkeys(("dst", "dest", "destination"), "to"),
    **dict.fromkeys(("notrack", "stateless"), "untracked"),
    **dict.fromkeys(("ratelimit", "rate"), "limit"),
    **dict.fromkeys(("not", "without", "but"), "except"),
    **dict.fromkeys(("and", "or"), ","),
    "via": "out",
    "sport": "from port",
    "stateful": "tracked",
    "inet": "ipv4",
    "inet6": "ipv6",
}


def equals(wrong: Wrong) -> Answer | None:
    """A missing or superfluous `=`."""
    if wrong.expected == {"EQUAL"}:
        return "`=` is missing behind the name", wrong.form
    if wrong.type != "EQUAL":
        return None
    if wrong.before.type in CLAUSES:
        return f"`=` behind `{wrong.before.text}`", "a blank is enough: take it out"
    if wrong.keyword in ("interface", "network", "ports"):
        return "a second `=`", wrong.form
    return f"`{wrong.keyword}` takes no `=`", wrong.form


def after_sign(wrong: Wrong) -> Answer | None:
    """Behind a comma or a semicolon stands what does not belong there."""
    sign = wrong.before.text
    if sign == "," and wrong.type in PROTOCOLS and wrong.list in ("ports", "protocols"):
        return f"{wrong.said} behind a comma", _BETWEEN
    if sign == ";" and wrong.type in ("NUMBER", "RANGE", "WORD", "ANY"):
        return f"{wrong.said} behind `;`", "between ports stands `,`; behind `;` comes the next protocol"
    if sign in (",", ";") and wrong.type in ("COMMA", "SEMICOLON"):
        return f"{wrong.said} behind `{sign}`", "take one of them out"
    if sign in (",", ";") and wrong.ends_clause:
        return f"nothing behind `{sign}`", f"take the `{sign}` out, or write what is missing"
    return None


def stray_sign(wrong: Wrong) -> Answer | None:
    """A comma or a semicolon where none belongs."""
    if wrong.type == "SEMICOLON" and wrong.following == "$END":
        return "`;` at the end", "a declaration ends with its line: take it out"
    if wrong.type == "SEMICOLON":
        return (
            "`;` in the wrong place",
            "it stands between protocols only, as in `tcp 53; udp 53`; lists take `,`",
        )
    if wrong.type != "COMMA":
        return None
    if wrong.keyword == "tracking":
        return "`,` in a number", "write the number without commas, as in `200000`"
    if wrong.before.type in PROTOCOLS:
        return f"`,` behind `{wrong.before.text}`", "each protocol has its own ports: `tcp 53; udp 53`"
    return "`,` in the wrong place", "it stands between the members of a list only"


def _words(wrong: Wrong) -> set[str]:
    """The words that could stand here and begin a clause or go on with one."""
    found = {key.split()[0] for key in ALLOWED.get(wrong.keyword, ())}
    if "EXCEPT" in wrong.expected:
        found.add("except")
    if "PORT" in wrong.expected and wrong.keyword in ("expect", "publish"):
        found.add("port")
    return found


def unknown_word(wrong: Wrong) -> Answer | None:
    """A word where a clause could begin, which begins none."""
    if wrong.type not in ("WORD", "DEVICE") or "FROM" not in wrong.expected:
        return None
    text, kind, allowed = wrong.text.lower(), wrong.list, ", ".join(ALLOWED.get(wrong.keyword, ()))
    near = _clause(wrong)
    if near:
        return f"unknown word {wrong.said}", f"did you mean `{near}`?"
    if text in _VERDICTS:
        return (
            f"{wrong.said} on a `{wrong.keyword}` line",
            "the keyword says already what becomes of it: leave it out",
        )
    if kind == "ports" and wrong.type == "WORD":
        listed = f"a list takes commas: `{wrong.before.text}, {text}`"
        return f"unknown word {wrong.said}", f"{listed}; `{wrong.keyword}` takes {allowed}"
    if kind is None or (wrong.type == "DEVICE" and kind not in ("devices", "addresses")):
        return f"unknown word {wrong.said}", f"`{wrong.keyword}` takes {allowed}"
    return None


def _clause(wrong: Wrong) -> str | None:
    """The clause that an unknown word stands for; in a list it must be very near, for it may be a member."""
    text, words = wrong.text.lower(), _words(wrong)
    meant = CLAUSES_MEANT.get(text)
    if meant and (meant == "," or meant.split()[0] in words):
        return meant
    near = nearest(wrong.text, words)
    if near is None or wrong.list is None or wrong.following not in ("COMMA", "$END", *CLAUSES):
        return near
    return near if distance(text, near) <= 1 and near not in ("on", "at", "to", "as") else None


def no_comma(wrong: Wrong) -> Answer | None:
    """A member of a list without a comma in front of it."""
    kind = wrong.list
    if wrong.type == "EXCEPT" and kind == "addresses":
        return "a second `except`", "write `except` once, with a comma between what is taken away"
    if kind is None or "COMMA" not in wrong.expected or wrong.type not in _MEMBERS[kind]:
        return None
    if wrong.type == "ANY" and kind == "ports":
        return None
    return (
        f"{wrong.said} without a comma in front of it",
        f"a list takes commas: `{wrong.before.text}, {wrong.text}`",
    )


def no_word(wrong: Wrong) -> Answer | None:
    """An address without `from` or its like, or a declaration within another one."""
    if wrong.type in ("ADDRESS", "ANY", "HOST") and "FROM" in wrong.expected:
        words = _words(wrong)
        first = "`, `".join(word for word in ("from", "to", "with", "at", "as", "address") if word in words)
        return f"{wrong.said} without a word in front of it", f"say what the address is, with `{first}`"
    if wrong.type in _BEGINNINGS and "FROM" in wrong.expected:
        return f"{wrong.said} in the wrong place", "it begins a declaration, which takes a line of its own"
    return None
