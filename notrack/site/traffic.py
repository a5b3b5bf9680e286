"""`tcp 80, 443; udp 443` and `proto gre` to protocols and exact ports."""

from __future__ import annotations

from notrack.packets.intervals import IntervalSet
from notrack.site.faults import Faults
from notrack.site.model import ALL_PORTS, Traffic
from notrack.site.portbook import PortBook
from notrack.site.syntax import Atom, Clause, Part, Statement
from notrack.site.tables.helper_names import HELPERS, Helper
from notrack.site.tables.protocol_names import AMBIGUOUS, PORT_PROTOCOLS, PROTOCOLS, REFUSED, REFUSED_NAMES
from notrack.text.diagnostic import Related
from notrack.text.nearest import nearest

# Where `tcp` alone means all its ports. Elsewhere a forgotten port would open the host, so that `tcp any`
# must be written.
_WHOLE = frozenset({"client", "route", "expect"})


def traffic(statement: Statement, ports: PortBook, faults: Faults) -> tuple[Traffic, ...] | None:
    """What a declaration is about: one `Traffic` a protocol, in order of the text; None after an error."""
    found: dict[int, IntervalSet] = {}
    failed = False
    for part in statement.parts:
        if part.word.text == "proto":
            for atom in part.items:
                number = protocol(atom, faults)
                failed |= number is None
                found[number or 0] = ALL_PORTS
            continue
        asked = _asked(statement.keyword.text, part, ports, faults)
        failed |= asked is None
        number = PORT_PROTOCOLS[part.word.text]
        found[number] = found.get(number, IntervalSet()) | (asked or IntervalSet())
    return None if failed else tuple(Traffic(number, asked) for number, asked in found.items())


def _asked(keyword: str, part: Part, ports: PortBook, faults: Faults) -> IntervalSet | None:
    if part.items:
        return ports.resolve(part.items)
    if keyword in _WHOLE:
        return ALL_PORTS
    word = part.word.text
    faults.error(
        part.word.span,
        f"`{word}` without ports",
        f"write the ports, as in `{word} 443`, or `{word} any` for all",
    )
    return None


def protocol(atom: Atom, faults: Faults) -> int | None:
    """The number of a protocol behind `proto`; those that have a better form are errors that show it."""
    if atom.type == "NUMBER":
        number: int | None = int(atom.text[:9])
        if number is not None and number > 255:
            faults.error(atom.span, f"there is no protocol {atom.text[:20]}", "protocols are from 1 to 254")
            return None
    else:
        number = PROTOCOLS.get(atom.text, REFUSED_NAMES.get(atom.text))
    if number is None:
        near = nearest(atom.text, PROTOCOLS)
        if atom.text in AMBIGUOUS:
            faults.error(atom.span, f"`proto {atom.text}` can mean two protocols", AMBIGUOUS[atom.text])
            return None
        help = f"did you mean `{near}`?" if near else "write its number, as in `proto 47`"
        faults.error(atom.span, f"unknown protocol `{atom.text}`", help)
        return None
    if number in REFUSED:
        faults.error(atom.span, f"`proto {atom.text}` is not the way to write it", REFUSED[number])
        return None
    return number


def helper(clause: Clause | None, asked: tuple[Traffic, ...] | None, faults: Faults) -> Helper | None:
    """The helper that a clause names, when it fits what the declaration is about; None after an error."""
    if clause is None:
        return None
    atom = clause.atoms[0]
    found = HELPERS.get(atom.text)
    if found is None:
        faults.error(atom.span, f"unknown helper `{atom.text}`", _helper_hint(atom.text))
        return None
    words = " or ".join(word for word, number in PORT_PROTOCOLS.items() if number in found.protocols)
    if asked == ():
        faults.error(
            atom.span,
            f"helper `{atom.text}` without ports",
            f"say where it listens, as in `{words.split()[0]} {found.port}`",
        )
    elif any(t.protocol not in found.protocols for t in asked or ()):
        faults.error(
            atom.span,
            f"helper `{atom.text}` works on {words} only",
            f"write `{words.split()[0]} {found.port}`, and what else there is as a declaration of its own",
        )
    else:
        return found
    return None


def _helper_hint(word: str) -> str:
    if word == "h323":
        return "write `ras` for udp 1719, `q931` for tcp 1720"
    near = nearest(word, HELPERS)
    return f"did you mean `{near}`?" if near else f"known: {', '.join(HELPERS)}"


def contradiction(clauses: dict[str, Clause], faults: Faults) -> None:
    """Clauses that cannot both hold."""
    untracked = clauses.get("untracked")
    pairs = [
        ("tracked", "`tracked` and `untracked` together", "take one of them out"),
        ("helper", "`untracked`, but a helper works by tracking", "take `untracked` or `helper` out"),
        (
            "limit connections",
            "`untracked`, but only tracking knows how many connections there are",
            "take `untracked` or `limit connections` out, or write `limit N/second`",
        ),
    ]
    if untracked is None:
        return
    for key, message, help in pairs:
        if key in clauses:
            related = (Related(clauses[key].span, f"`{key}` is here"),)
            faults.error(untracked.word.span, message, help, related)
