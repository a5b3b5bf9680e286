"""Chunks of text that are no token of the language: what is wrong with each, and what was meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from notrack.site.prefixes import Prefix, Slip, covering, read_address
from notrack.site.syntax import Atom
from notrack.text.source import Span

_DASHES = "‐‑‒–—―−﹘﹣-"
_QUOTES = "“”„‟″«»＂"
_SINGLE = "‘’‚‛′'`"
_PROTOCOLS = "tcp|udp|sctp"


def junk(atom: Atom) -> tuple[Span, str, str | None]:
    """The place, what is wrong there, and how to mend it."""
    text = atom.text
    strange = _strange(atom)
    if strange is not None:
        return strange
    for pattern, answer in _SHAPES:
        match = pattern.fullmatch(text)
        if match:
            slip = answer(match)
            return atom.span, slip.message, slip.help
    return atom.span, f"cannot read `{_short(text)}`", _name_hint(text)


def _strange(atom: Atom) -> tuple[Span, str, str | None] | None:
    """A character that no part of the language holds, with its own place."""
    for i, char in enumerate(atom.text):
        place = Span(atom.source, atom.start + i, atom.start + i + 1)
        if char in _DASHES and char != "-":
            plain = "".join("-" if c in _DASHES else c for c in atom.text)
            return place, f"a typographic dash (U+{ord(char):04X})", f"write `-`: `{_short(plain)}`"
        if char in _QUOTES:
            return place, f"a typographic quote (U+{ord(char):04X})", 'write `"`'
        if char in _SINGLE:
            return (
                place,
                f"`{char}` is not a quote here",
                'names and numbers need none; files and patterns take `"`',
            )
        if char != " " and unicodedata.category(char) in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            name = unicodedata.name(char, "control character").lower()
            return (
                place,
                f"an invisible character (U+{ord(char):04X}, {name})",
                "take it out, or write a plain blank",
            )
        if not char.isascii():
            return place, f"`{char}` (U+{ord(char):04X}) outside quotes", "names are made of a-z, 0-9 and `-`"
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _name_hint(text: str) -> str | None:
    words = re.findall(r"[a-z0-9]+", text.lower())
    plain = "-".join(words).lstrip("0123456789-")
    if plain and len(plain) <= 40:
        return f"names are lower-case words with `-`: `{plain}`"
    return "names are lower-case words with `-`"


def _address_range(match: re.Match[str]) -> Slip:
    first, last = read_address(match["a"]), read_address(match["b"])
    message = f"`{_short(match.group())}`: a range of addresses"
    if isinstance(first, Prefix) and isinstance(last, Prefix) and first.family is last.family:
        if first.value > last.value:
            return Slip(message, "its end lies in front of its start; write prefixes instead")
        parts = covering(first.value, last.value, first.family)
        if len(parts) <= 8:
            return Slip(message, f"write prefixes: `{', '.join(parts)}`")
    return Slip(message, "write prefixes instead")


def _address_port(match: re.Match[str]) -> Slip:
    address, port = match["a"].strip("[]"), match["p"]
    return Slip(
        f"`{_short(match.group())}`: an address with a port",
        f"write `{address} port {port}`, or the port behind `tcp`",
    )


def _port_range(match: re.Match[str]) -> Slip:
    found = match.groupdict()
    low, high = found.get("a") or "", found.get("b") or found.get("c") or ""
    if low and high:
        return Slip(f"`{_short(match.group())}` is not a range", f"write `{low}-{high}`")
    meant = f"{low}-65535" if low else f"1-{high}"
    return Slip(f"`{_short(match.group())}` is half a range", f"write both ends, as in `{meant}`")


def _protocol_port(match: re.Match[str]) -> Slip:
    return Slip(f"`{_short(match.group())}`: protocol and port in one", f"write `{match['t']} {match['p']}`")


def _quoted_pattern(match: re.Match[str]) -> Slip:
    return Slip(f"`{_short(match.group())}` is a pattern", f'a pattern stands in quotes: `"{match["n"]}*"`')


def _network_like(match: re.Match[str]) -> Slip:
    found = read_address(match.group())
    return found if isinstance(found, Slip) else Slip(f"cannot read `{_short(match.group())}`")


def _inverted(match: re.Match[str]) -> Slip:
    rest = match["rest"] or "192.0.2.0/24"
    return Slip(f"`{_short(match.group())}`: `!` is not of this language", f"write `any except {rest}`")


def _fixed(message: str, help: str) -> Callable[[re.Match[str]], Slip]:
    return lambda match: Slip(
        message.replace("{}", _short(match.group())), help.replace("{}", _short(match.group()))
    )


def _shape(
    pattern: str, answer: Callable[[re.Match[str]], Slip]
) -> tuple[re.Pattern[str], Callable[[re.Match[str]], Slip]]:
    return re.compile(pattern, re.DOTALL), answer


_V4 = r"\d+\.\d+\.\d+\.\d+"
_SHAPES = (
    _shape(r'"[^"]*', _fixed("the quote is not closed on this line", 'write `"` at the end of the name')),
    _shape(rf"(?P<a>{_V4}|[0-9a-f:]*::?[0-9a-f:]+)-(?P<b>{_V4}|[0-9a-f:]+)", _address_range),
    _shape(rf"(?P<a>{_V4}|\[[0-9A-Fa-f:.]+\]):(?P<p>\d+)", _address_port),
    _shape(
        r"\[[^\]]*\]", _fixed("`{}`: brackets are not of this language", "write the address without them")
    ),
    _shape(r"(?P<a>\d+)(?:\.\.+|-+|:|~)(?P<b>\d+)?|-+(?P<c>\d+)", _port_range),
    _shape(r"-", _fixed("a lonely `-`", "a range is written without blanks, as in `8000-8010`")),
    _shape(r":", _fixed("a lonely `:`", "after a name stands `=`, in a range `-`")),
    _shape(
        r"(?P<n>\d+)(?P<u>s|m|h|d)[a-z]+",
        lambda m: Slip(f"`{_short(m.group())}` is not a duration", f"write `{m['n']}{m['u']}`"),
    ),
    _shape(
        r"(?P<n>\d+)[kK]", lambda m: Slip(f"`{_short(m.group())}` is not a number", f"write `{m['n']}000`")
    ),
    _shape(
        r"(?P<n>\d+)M", lambda m: Slip(f"`{_short(m.group())}` is not a number", f"write `{m['n']}000000`")
    ),
    _shape(r"(?P<a>\d+)\+(?P<b>)", _port_range),
    _shape(r">=?(?P<a>\d+)(?P<b>)", _port_range),
    _shape(r"<=?(?P<b>\d+)(?P<a>)", _port_range),
    _shape(rf"(?P<t>{_PROTOCOLS})[/:.](?P<p>[0-9]+(-[0-9]+)?)", _protocol_port),
    _shape(rf"(?P<p>[0-9]+-[0-9]+)/(?P<t>{_PROTOCOLS})", _protocol_port),
    _shape(
        rf"(?:{_PROTOCOLS})(?:[/+|&](?:{_PROTOCOLS}))+",
        _fixed("`{}`: two protocols in one", "write one part each, as in `tcp 53; udp 53`"),
    ),
    _shape(r"!(?P<rest>.*)", _inverted),
    _shape(r"(?:\*|0/0|::/0\*|\+)", _fixed("`{}` does not mean everything here", "write `any`")),
    _shape(r"(?P<n>[A-Za-z][A-Za-z0-9_.@-]*)[*+]", _quoted_pattern),
    _shape(
        r"(?P<n>[A-Za-z]+\d+):\d+",
        _fixed("`{}` is an alias of a device", "packets come in on the device itself"),
    ),
    _shape(
        r"\$.*", _fixed("`{}`: there are no variables", "declare a `network` or `ports`, and write its name")
    ),
    _shape(
        r"--?[a-z]+(?:-[a-z]+)*",
        _fixed(
            "`{}`: options of other programs are not of this language",
            "as in `service NAME tcp 80 from 192.0.2.0/24`",
        ),
    ),
    _shape(r"(?://|--|/\*|REM\b|%).*", _fixed("`{}` does not start a comment", "comments start with `#`")),
    _shape(
        r".*[{}()].*",
        _fixed("`{}`: braces are not of this language", "a list is its members with commas between"),
    ),
    _shape(r"\\", _fixed("a backslash does not go on with a line", "indent the next line deeper instead")),
    _shape(
        r"&&|\|\||\||&", _fixed("`{}` is not of this language", "lists take `,`, protocols `;` between them")
    ),
    _shape(r"=+[=><]*|[<>]=?", _fixed("`{}` is not of this language", "write `=`")),
    _shape(r"[0-9]+/[A-Z]+[A-Za-z]*|[0-9]+/", _fixed("`{}` is not a rate", "as in `20/second`")),
    _shape(
        r"[0-9]+[A-Za-z]+",
        _fixed(
            "`{}` is neither a number nor a name",
            "durations are as in `30s`, `5m`, `3h`, `2d`; names begin with a letter",
        ),
    ),
    _shape(
        r"(?P<w>[a-z][a-z0-9-]*):",
        lambda m: Slip(f"`{_short(m.group())}`: a colon ends nothing here", f"write `{m['w']}`"),
    ),
    _shape(
        r"[0-9a-fA-F:.]+%.*|[0-9.]+\.[0-9./]*[^0-9.].*|[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+){2,3}(?:/.*)?|[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:/.*)?",
        _network_like,
    ),
)
