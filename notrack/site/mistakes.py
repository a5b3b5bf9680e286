"""What somebody probably meant who wrote a line that the grammar does not take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from notrack.site.clauses import ALLOWED
from notrack.site.faults import Faults
from notrack.site.forms import FORMS, MEANT
from notrack.site.grammar import Grammar
from notrack.site.junk import junk
from notrack.site.lexer import KEYWORDS, end_of
from notrack.site.syntax import Atom
from notrack.site.tables.helper_names import HELPERS
from notrack.site.tables.icmp_names import ICMP_TYPES
from notrack.site.tables.protocol_names import PROTOCOLS
from notrack.site.tables.service_names import SERVICE_PORTS
from notrack.text.nearest import distance, nearest
from notrack.text.source import Span

_FLOWS = frozenset(ALLOWED) - {"interface", "expect", "icmp"}
_NAMED = _FLOWS | {"site", "interface", "network", "ports", "icmp"}
_WITH_EQUALS = ("interface", "network", "ports")
_PROTOCOLS = ("TCP", "UDP", "SCTP", "PROTO")
_CLAUSES = ("FROM", "TO", "WITH", "AT", "AS", "ON", "OUT", "LIMIT", "HELPER", "MSS", "FLAGS", "OWN_ADDRESS",
            "TRACKED", "UNTRACKED", "IPV4", "IPV6")  # fmt: skip
_PORT_PROTOCOLS = ("tcp", "udp", "sctp", "proto")
_VERDICTS = ("accept", "allow", "permit", "pass", "drop", "deny", "reject")
_BEHIND = {"LIMIT": "write `limit 20/second` or `limit connections 20`", "MSS": "write `mss pmtu`",
           "HELPER": f"known: {', '.join(HELPERS)}", "FLAGS": "as in `flags syn, ack`"}  # fmt: skip
_ADDRESSES = ("FROM", "TO", "WITH", "AT", "AS", "EXCEPT", "OWN_ADDRESS")
_LISTS = {**dict.fromkeys(_ADDRESSES, "addresses"), "ON": "interfaces", "OUT": "interfaces", "PORT": "ports",
          "TCP": "ports", "UDP": "ports", "SCTP": "ports", "PROTO": "protocols", "FLAGS": "flags"}  # fmt: skip
_CLAUSES_MEANT = {"in": "on", "via": "out", "iface": "on", "dev": "on", "interface": "on", "src": "from",
                  "source": "from", "dst": "to", "dest": "to", "destination": "to", "for": "from", "by": "from",
                  "sport": "from port", "notrack": "untracked", "stateless": "untracked", "stateful": "tracked",
                  "inet": "ipv4", "inet6": "ipv6", "ratelimit": "limit", "rate": "limit", "not": "except",
                  "without": "except", "but": "except", "and": ",", "or": ",", "mirror": "with"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrong:
    """A declaration, the token at which it stopped making sense (None: its end), and what could stand there."""

    atoms: list[Atom]
    at: int
    expected: set[str]
    language: Grammar

    @property
    def atom(self) -> Atom | None:
        return self.atoms[self.at] if self.at < len(self.atoms) else None

    @property
    def type(self) -> str:
        return self.atom.type if self.atom is not None else "$END"

    @property
    def before(self) -> Atom:
        return self.atoms[self.at - 1]

    @property
    def keyword(self) -> str:
        return self.atoms[0].text

    @property
    def form(self) -> str:
        return f"write it as in `{FORMS[self.keyword]}`"

    @property
    def list(self) -> str | None:
        """What the list holds whose member the token before is, if that is in one."""
        for i in range(self.at - 1, 0, -1):
            kind = self.atoms[i].type
            if kind == "EQUAL":
                return {"interface": "devices", "network": "addresses", "ports": "ports"}.get(self.keyword)
            if kind in _LISTS:
                return _LISTS[kind]
            if kind in (*_CLAUSES, "SEMICOLON", "PER"):
                return None
        return "ICMP types" if self.keyword == "icmp" and self.at > 2 else None


Answer = tuple[str, str | None]


def explain(atoms: list[Atom], at: int, expected: set[str], language: Grammar, faults: Faults) -> None:
    """Report the one fault of a declaration that could not be parsed."""
    wrong = Wrong(atoms, at, expected, language)
    atom = wrong.atom
    if at == 0 and atom is not None:
        faults.error(atom.span, *_first_word(atom, atoms))
        return
    if atom is not None and atom.type == "JUNK":
        faults.error(*_junk(wrong, atom))
        return
    if wrong.keyword == "expect" and at == 2 and atom is not None and atom.type == "WORD":
        near = nearest(atoms[1].text, ("tracked", "untracked"))
        if near:
            faults.error(atoms[1].span, f"unknown word `{_short(atoms[1].text)}`", f"did you mean `{near}`?")
            return
    span = atom.span if atom is not None else end_of(atoms[-1])
    for ask in _QUESTIONS:
        answer = ask(wrong)
        if answer is not None:
            faults.error(span, *answer)
            return
    faults.error(span, f"unexpected {_said(wrong)}", wrong.form)


def _junk(wrong: Wrong, atom: Atom) -> tuple[Span, str, str | None]:
    span, message, help = junk(atom)
    if wrong.at == 1 and wrong.keyword in _NAMED and span == atom.span and atom.text[0] != '"':
        plain = "-".join(re.findall(r"[a-z0-9]+", atom.text.lower())).lstrip("0123456789-")
        meant = f": `{plain}`" if 0 < len(plain) <= 40 else ""
        message = f"`{_short(atom.text)}` cannot be a name"
        help = f"names are lower-case words with `-`, and begin with a letter{meant}"
    return span, message, help


def _said(wrong: Wrong) -> str:
    return f"`{_short(wrong.atom.text)}`" if wrong.atom is not None else "end of the declaration"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _first_word(atom: Atom, atoms: list[Atom]) -> Answer:
    text = _short(atom.text)
    if text == "port" and any(other.type == "EQUAL" for other in atoms):
        return "unknown word `port`", "did you mean `ports`?"
    if text.lower() in KEYWORDS:
        return f"unknown word `{text}`", f"keywords are lower case: `{text.lower()}`"
    if atom.type == "JUNK" and text.startswith("["):
        return f"`{text}`: there are no sections", "every declaration is a line of its own"
    if atom.type == "JUNK" and text in ("}", "{"):
        return (
            f"`{text}`: there are no blocks",
            "indent the lines that go on with a declaration deeper than its first",
        )
    if atom.type == "JUNK":
        _, message, help = junk(atom)
        return message, help
    if atom.type in (*_CLAUSES, *_PROTOCOLS, "COMMA", "EXCEPT", "PORT"):
        return (
            f"`{text}` cannot begin a declaration",
            "indent the line to go on with the declaration above it",
        )
    if atom.type == "SEMICOLON":
        return "`;` cannot begin a declaration", "comments start with `#`"
    near = nearest(text, KEYWORDS)
    exact = MEANT.get(text.lower())
    meant = exact or near
    if meant:
        return f"unknown word `{text}`", f"did you mean `{meant}`?"
    return f"unknown word `{text}`", f"a declaration begins with one of: {', '.join(KEYWORDS)}"


def _name(wrong: Wrong) -> Answer | None:
    """The name of a declaration is missing or cannot be one."""
    if wrong.at != 1 or wrong.keyword not in _NAMED:
        return None
    keyword, atom = wrong.keyword, wrong.atom
    if atom is None:
        return f"`{keyword}` without a name", wrong.form
    text = _short(atom.text)
    if atom.type == "EQUAL":
        return f"`{keyword}` without a name", wrong.form
    if (
        atom.type in (*_PROTOCOLS, "ADDRESS", "NUMBER", "RANGE", "FROM", "TO", "ON", "OUT", "WITH")
        and keyword != "site"
    ):
        return f"`{keyword}` without a name: `{text}` stands in its place", wrong.form
    if atom.type == "STRING":
        return (
            f"the name {text} stands in quotes",
            f"write it without: `{keyword} {atom.value.lower() or 'NAME'}`",
        )
    if atom.type == "DEVICE":
        plain = "-".join(atom.text.lower().replace("_", "-").replace(".", "-").replace("@", "-").split("-"))
        return f"`{text}` cannot be a name", f"names are lower-case words with `-`: `{plain[:60]}`"
    if text in wrong.language.keywords:
        return (
            f"`{text}` is a word of the language and cannot be a name",
            f"choose another one, as `my-{text}`",
        )
    return f"`{text}` cannot be a name", "names are lower-case words with `-`, and begin with a letter"


def _equals(wrong: Wrong) -> Answer | None:
    if wrong.expected == {"EQUAL"}:
        return "`=` is missing behind the name", wrong.form
    if wrong.type == "EQUAL":
        if wrong.before.type in _CLAUSES:
            return f"`=` behind `{wrong.before.text}`", "a blank is enough: take it out"
        if wrong.keyword in _WITH_EQUALS:
            return "a second `=`", wrong.form
        return f"`{wrong.keyword}` takes no `=`", wrong.form
    return None


def _lonely_comma(wrong: Wrong) -> Answer | None:
    """Commas and semicolons at the wrong places."""
    before = wrong.before.type
    if wrong.keyword == "tracking" and wrong.type == "COMMA":
        return "`,` in a number", "write the number without commas, as in `200000`"
    if before == "COMMA" and wrong.type in (*_PROTOCOLS, "PROTO") and wrong.list in ("ports", "protocols"):
        return f"{_said(wrong)} behind a comma", "between protocols stands `;`, as in `tcp 53; udp 53`"
    if before == "SEMICOLON" and wrong.type in ("NUMBER", "RANGE", "WORD", "ANY"):
        return f"{_said(wrong)} behind `;`", "between ports stands `,`; behind `;` comes the next protocol"
    if before in ("COMMA", "SEMICOLON"):
        sign = wrong.before.text
        if wrong.type in ("COMMA", "SEMICOLON"):
            return f"`{wrong.atom.text if wrong.atom else ''}` behind `{sign}`", "take one of them out"
        if wrong.atom is None or wrong.type in _CLAUSES:
            return f"nothing behind `{sign}`", f"take the `{sign}` out, or write what is missing"
    if wrong.type == "SEMICOLON":
        if wrong.at == len(wrong.atoms) - 1:
            return "`;` at the end", "a declaration ends with its line: take it out"
        return (
            "`;` in the wrong place",
            "it stands between protocols only, as in `tcp 53; udp 53`; lists take `,`",
        )
    if wrong.type == "COMMA" and before in _PROTOCOLS:
        return f"`,` behind `{wrong.before.text}`", "each protocol has its own ports: `tcp 53; udp 53`"
    if wrong.type == "COMMA":
        return "`,` in the wrong place", "it stands between the members of a list only"
    return None


def _traffic(wrong: Wrong) -> Answer | None:
    """Ports without a protocol, protocols without `;`, and the like."""
    said = _said(wrong)
    if wrong.keyword == "icmp":
        return _icmp_types(wrong)
    if wrong.at == 2 and wrong.type in ("NUMBER", "RANGE") and wrong.keyword in _FLOWS:
        number = wrong.atom.text if wrong.atom else ""
        return f"port {said} without its protocol", f"write `tcp {number}` or `udp {number}`"
    if wrong.keyword in _FLOWS and wrong.at == 2 and wrong.type in ("WORD", "DEVICE") and wrong.atom:
        return _no_protocol(wrong, wrong.atom)
    if wrong.list == "ports" and wrong.type == "ADDRESS" and wrong.atom and "NUMBER" in wrong.expected:
        dots = re.fullmatch(r"([0-9]+)\.\.+([0-9]+)", wrong.atom.text)
        if dots:
            return f"{said} is not a range", f"write `{dots[1]}-{dots[2]}`"
        return f"{said} is not a port", "write numbers, ranges, names of `ports` or of well-known services"
    if wrong.keyword == "ports" and wrong.type in _PROTOCOLS:
        return f"{said} in a list of ports", "the protocol goes in front of the name where the ports are used"
    if wrong.before.text in ("dport", "dports", "sport", "sports") and wrong.type in (
        "NUMBER",
        "RANGE",
        "WORD",
    ):
        return (
            f"`{wrong.before.text}` in front of {said}",
            f"ports stand right behind the protocol: `tcp {wrong.atom.text if wrong.atom else ''}`",
        )
    if wrong.before.type == "PROTO" and (wrong.atom is None or wrong.type in _CLAUSES):
        return "nothing behind `proto`", "write the name or the number of a protocol, as in `proto gre`"
    glued = re.fullmatch(r"(tcp|udp|sctp)-?([0-9]+(?:-[0-9]+)?)", wrong.atom.text) if wrong.atom else None
    if glued and wrong.type == "WORD":
        return f"unknown word {said}", f"write a blank between: `{glued[1]} {glued[2]}`"
    if wrong.type == "RATE" and ("NUMBER" in wrong.expected or "TCP" in wrong.expected) and wrong.atom:
        number, _, word = wrong.atom.text.partition("/")
        if word in ("tcp", "udp", "sctp"):
            return f"{said}: port and protocol in one", f"write `{word} {number}`"
    if wrong.type in _PROTOCOLS and wrong.keyword in _FLOWS:
        if "SEMICOLON" in wrong.expected:
            return (
                f"{said} without `;` in front of it",
                "between protocols stands `;`, as in `tcp 53; udp 53`",
            )
        return f"{said} in the wrong place", "protocols and ports stand right behind the name"
    if wrong.type == "PORT" and wrong.before.type in _PROTOCOLS and wrong.keyword != "expect":
        return (
            f"{said} behind `{wrong.before.text}`",
            "ports stand right behind the protocol: leave `port` out",
        )
    if wrong.type == "PORT":
        if wrong.keyword == "expect":
            return f"{said} in the wrong place", "a port stands behind its address, as in `to host port 80`"
        return f"{said} in the wrong place", "ports stand right behind the protocol, as in `tcp 80`"
    if wrong.keyword == "expect" and wrong.before.type in _PROTOCOLS and wrong.type in ("NUMBER", "RANGE"):
        return (
            f"{said} behind `{wrong.before.text}`",
            "in a packet a port stands behind its address: `to host port 80`",
        )
    return None


def _no_protocol(wrong: Wrong, atom: Atom) -> Answer | None:
    """A word right behind the name of a declaration, where its protocol could stand."""
    text, said = atom.text.lower(), _said(wrong)
    glued = re.fullmatch(r"(tcp|udp|sctp)-?([0-9]+(?:-[0-9]+)?)", text)
    if glued:
        return f"unknown word {said}", f"write a blank between: `{glued[1]} {glued[2]}`"
    near = text if text in _PORT_PROTOCOLS else nearest(text, _PORT_PROTOCOLS)
    clause = nearest(text, {key.split()[0] for key in ALLOWED[wrong.keyword]})
    if text in PROTOCOLS:
        return f"{said} without `proto`", f"write `proto {text}`"
    if text in SERVICE_PORTS:
        return f"port {said} without its protocol", f"write `tcp {text}` or `udp {text}`"
    if near and (clause is None or text in _PORT_PROTOCOLS or distance(text, near) <= distance(text, clause)):
        return f"unknown word {said}", f"did you mean `{near}`?"
    if (
        clause
        or _CLAUSES_MEANT.get(text)
        or wrong.keyword in ("route", "masquerade", "snat", "trust", "block")
    ):
        return None
    return (
        f"unknown word {said}",
        f"protocol and ports stand behind the name, as in `tcp {text if wrong.type == 'WORD' else 80}`",
    )


def _icmp_types(wrong: Wrong) -> Answer | None:
    if wrong.at == 2 and (wrong.atom is None or wrong.type in _CLAUSES):
        return "no request is named", wrong.form
    if wrong.type == "NUMBER" and wrong.atom is not None:
        number = int(wrong.atom.text[:9])
        near = next((kind.name for kind in ICMP_TYPES.values() if number in (kind.v4, kind.v6)), None)
        known = f"write `{near}`" if near else f"known: {', '.join(ICMP_TYPES)}"
        return f"{_said(wrong)}: requests go by their names", known
    return None


def _behind(wrong: Wrong) -> Answer | None:
    """A word that needs something behind it, and does not have it."""
    before, said = wrong.before, _said(wrong)
    text = before.text
    if before.type == "LIMIT" and wrong.type == "NUMBER" and wrong.atom:
        rest = [atom.text for atom in wrong.atoms[wrong.at + 1 :]]
        unit = rest[1] if rest[:1] == ["per"] and len(rest) > 1 and rest[1] != "source" else "second"
        return f"the limit {said} has no unit", f"write `limit {wrong.atom.text}/{unit}`"
    if before.type == "PER":
        return f"{said} behind `per`", "write `per source`"
    if before.type in ("ON", "OUT") and wrong.type in ("DEVICE", "STRING", "ANY"):
        if wrong.type == "ANY":
            return f"{said} behind `{text}`", f"for all interfaces leave `{text}` out"
        return (
            f"{said} behind `{text}` is not the name of an interface",
            "declare `interface NAME = ...`, and write NAME",
        )
    if before.type in (*_ADDRESSES, "COMMA", "EQUAL") and wrong.list == "addresses":
        return _no_address(wrong)
    if wrong.at > 1 and wrong.atoms[wrong.at - 2].type == "LIMIT" and before.type == "WORD":
        return f"no number behind `{text}`", _BEHIND["LIMIT"]
    if before.type == "EQUAL" and wrong.atom is None:
        return "nothing behind `=`", wrong.form
    if wrong.type in _CLAUSES and wrong.keyword in ("network", "ports", "site", "include"):
        return f"`{wrong.keyword}` takes no {said}", wrong.form
    if before.type in (*_CLAUSES, "PORT", "EXCEPT") and before.type not in (
        "TRACKED",
        "UNTRACKED",
        "IPV4",
        "IPV6",
    ):
        if wrong.atom is None or wrong.type in _CLAUSES:
            return f"nothing behind `{text}`", _BEHIND.get(before.type, wrong.form)
        if before.type in _BEHIND:
            return f"{said} behind `{text}`", _BEHIND[before.type]
        if wrong.atom.text in wrong.language.keywords:
            return f"{said} behind `{text}` is a word of the language", wrong.form
    return None


def _no_address(wrong: Wrong) -> Answer:
    text, said = wrong.before.text, _said(wrong)
    if wrong.atom is None or wrong.type in (*_CLAUSES, "PORT", "EXCEPT"):
        return f"nothing behind `{text}`", "write addresses, names of networks, or `any`"
    if wrong.type == "DEVICE":
        return (
            f"{said} is not an address",
            "names of hosts are not looked up: write addresses, or names of networks",
        )
    if wrong.type in ("NUMBER", "RANGE", "RATE", "DURATION"):
        return f"{said} is not an address", "write it as in `192.0.2.0/24` or `2001:db8::/32`"
    return (
        f"{said} is not an address",
        "it is a word of the language: write addresses, names of networks, or `any`",
    )


def _joined(wrong: Wrong) -> Answer | None:
    """A member of a list without a comma in front of it, or a clause that nobody knows."""
    if wrong.type == "EXCEPT" and wrong.list == "addresses":
        return "a second `except`", "write `except` once, with a comma between what is taken away"
    if wrong.atom is None or not wrong.expected & {"FROM", "COMMA", "EXCEPT"}:
        return None
    kind, said, text = wrong.list, _said(wrong), wrong.atom.text
    allowed = ALLOWED.get(wrong.keyword, ())
    words = {key.split()[0] for key in allowed}
    words |= {"except"} if "EXCEPT" in wrong.expected else set()
    words |= {"port"} if "PORT" in wrong.expected and wrong.keyword in ("expect", "publish") else set()
    if wrong.type in ("WORD", "DEVICE") and "FROM" in wrong.expected:
        meant = _CLAUSES_MEANT.get(text.lower())
        near = (
            meant
            if meant and (meant.split()[0] in words or meant == ",")
            else _near_clause(text, words, kind, wrong)
        )
        if near:
            return f"unknown word {said}", f"did you mean `{near}`?"
        if text.lower() in _VERDICTS:
            return (
                f"{said} on a `{wrong.keyword}` line",
                "the keyword says already what becomes of it: leave it out",
            )
        if kind == "ports" and wrong.type == "WORD":
            list_ = f"a list takes commas: `{wrong.before.text}, {text}`"
            return f"unknown word {said}", f"{list_}; `{wrong.keyword}` takes {', '.join(allowed)}"
        if kind is None or (wrong.type == "DEVICE" and kind not in ("devices", "addresses")):
            listed = ", ".join(allowed) or "no clauses"
            return f"unknown word {said}", f"`{wrong.keyword}` takes {listed}"
    if wrong.type == "ANY" and kind == "ports" and "FROM" in wrong.expected:
        return (
            f"{said} without a word in front of it",
            f"say what it is about, as in `{'to' if 'to' in words else 'from'} any`",
        )
    if kind == "addresses" and wrong.type in ("ADDRESS", "WORD", "ANY", "STRING", "DEVICE", "HOST"):
        return f"{said} without a comma in front of it", f"a list takes commas: `{wrong.before.text}, {text}`"
    if kind in ("ports", "protocols") and wrong.type in ("NUMBER", "RANGE", "WORD", "ANY"):
        if wrong.before.type in ("TCP", "UDP", "SCTP"):
            return None
        return f"{said} without a comma in front of it", f"a list takes commas: `{wrong.before.text}, {text}`"
    if kind in ("interfaces", "devices", "flags", "ICMP types") and wrong.type in (
        "WORD",
        "DEVICE",
        "STRING",
    ):
        return f"{said} without a comma in front of it", f"a list takes commas: `{wrong.before.text}, {text}`"
    if wrong.type in ("ADDRESS", "ANY", "HOST") and "FROM" in wrong.expected:
        first = "`, `".join(w for w in ("from", "to", "with", "at", "as", "address") if w in words)
        return f"{said} without a word in front of it", f"say what the address is, with `{first}`"
    if wrong.type in KEYWORDS_UPPER:
        return f"{said} in the wrong place", "it begins a declaration, which takes a line of its own"
    return None


def _near_clause(text: str, words: set[str], kind: str | None, wrong: Wrong) -> str | None:
    """The clause that an unknown word is nearest to; in a list only when it is very near."""
    near = nearest(text, words)
    following = wrong.atoms[wrong.at + 1].type if wrong.at + 1 < len(wrong.atoms) else "$END"
    if near is None or kind is None or following not in ("COMMA", "$END", *_CLAUSES):
        return near
    return near if distance(text.lower(), near) <= 1 and near not in ("on", "at", "to", "as") else None


def _setting(wrong: Wrong) -> Answer | None:
    if wrong.keyword == "include":
        if wrong.atom is not None and wrong.at == 1:
            return f"the file {_said(wrong)} without quotes", f'write `include "{_short(wrong.atom.text)}"`'
        return (f"unexpected {_said(wrong)}" if wrong.atom else "`include` without a file"), wrong.form
    if wrong.keyword == "ephemeral" and wrong.atom is not None and wrong.at == 1:
        return f"{_said(wrong)} is not a range of ports", wrong.form
    if wrong.keyword == "log" and wrong.type == "NUMBER" and wrong.atom:
        return f"the limit {_said(wrong)} has no unit", f"write `log dropped {wrong.atom.text}/minute`"
    if wrong.atom is None:
        return "the declaration ends too early", wrong.form
    if wrong.type == "DEVICE" and wrong.atom.text.lower() != wrong.atom.text:
        return f"unknown word {_said(wrong)}", f"words are lower case: `{wrong.atom.text.lower()}`"
    if wrong.keyword == "expect" and wrong.type in _CLAUSES and wrong.at <= 3:
        return "the packet has no protocol", wrong.form
    if wrong.keyword == "expect" and wrong.type == "WORD" and wrong.before.type == "WORD":
        near = nearest(wrong.atom.text, ("tcp", "udp", "sctp", "proto", "icmp"))
        if near:
            return f"unknown word {_said(wrong)}", f"did you mean `{near}`?"
    return None


KEYWORDS_UPPER = frozenset(word.upper() for word in KEYWORDS)
_QUESTIONS: tuple[Callable[[Wrong], Answer | None], ...] = (
    _name, _equals, _lonely_comma, _traffic, _behind, _joined, _setting,
)  # fmt: skip
