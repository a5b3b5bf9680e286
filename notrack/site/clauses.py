"""Which clauses go with which keyword, and the clauses of one declaration, each there once."""

from __future__ import annotations

from notrack.site.faults import Faults
from notrack.site.syntax import Clause, Statement
from notrack.text.diagnostic import Related
from notrack.text.source import Span

_FAMILIES = ("ipv4", "ipv6")
_TRACKING = ("tracked", "untracked")
_LIMITS = ("limit", "limit connections")

ALLOWED: dict[str, tuple[str, ...]] = {
    "interface": ("address",),
    "service": ("from", "at", "on", *_TRACKING, *_LIMITS, "helper", *_FAMILIES),
    "client": ("to", "from port", "out", *_TRACKING, "helper", *_FAMILIES),
    "peer": ("with", "at", "on", *_TRACKING, *_LIMITS, "helper", *_FAMILIES),
    "route": ("from", "to", "on", "out", "mss", *_TRACKING, *_LIMITS, "helper", *_FAMILIES),
    "masquerade": ("from", "to", "out", *_FAMILIES),
    "snat": ("from", "to", "out", "as", *_FAMILIES),
    "publish": ("from", "at", "on", "to", *_LIMITS, "helper", *_FAMILIES),
    "redirect": ("from", "at", "on", "to port", *_LIMITS, *_FAMILIES),
    "trust": ("from", "on", *_TRACKING, "limit", *_FAMILIES),
    "block": ("from", "on", *_FAMILIES),
    "icmp": ("from", "on", *_TRACKING, "limit", *_FAMILIES),
    "expect": ("from", "to", "on", "out", "flags"),
}

_TRANSLATIONS = ("masquerade", "snat", "publish", "redirect")
_INSTEAD: dict[tuple[str, str], str] = {
    ("service", "to"): "own addresses go behind `at`; for a host behind this one write `publish` or `route`",
    ("service", "with"): "who may ask goes behind `from`; where either side starts, write `peer`",
    ("service", "out"): "answers may leave by any interface; where the questions come in goes behind `on`",
    ("service", "from port"): "the source ports of those who ask are theirs: leave it out",
    (
        "client",
        "from",
    ): "what the host asks leaves from its own addresses; its own ports go behind `from port`",
    ("client", "on"): "the way out goes behind `out`",
    ("client", "with"): "who is asked goes behind `to`",
    ("client", "at"): "what the host asks leaves from its own addresses: leave it out",
    ("peer", "from"): "the others go behind `with`",
    ("peer", "to"): "the others go behind `with`",
    ("peer", "out"): "either side may start; the interface goes behind `on`",
    ("route", "with"): "write `from` for one side and `to` for the other",
    ("route", "at"): "a route passes through the host: addresses go behind `from` and `to`",
    ("masquerade", "on"): "translation happens on the way out: write `out`",
    ("snat", "on"): "translation happens on the way out: write `out`",
    ("masquerade", "as"): "`masquerade` takes the address of the way out; for a fixed one write `snat`",
    ("publish", "out"): "the way in goes behind `on`; the way out follows from the target",
    (
        "publish",
        "to port",
    ): "write the address in front, as in `to 10.8.0.5 port 443`; on this host write `redirect`",
    ("publish", "as"): "the target goes behind `to`",
    ("redirect", "to"): "`redirect` stays on this host: `to port 8080`; for another host write `publish`",
    ("trust", "to"): "a trust reaches the host itself; what lies behind it needs a `route`",
    ("trust", "at"): "a trust reaches all own addresses; for one of them write `service`",
    ("block", "limit"): "a block lets nothing through at all",
    ("icmp", "to"): "requests are answered at every own address: leave it out",
    ("icmp", "at"): "requests are answered at every own address: leave it out",
}


def clause_key(clause: Clause) -> str:
    """The word under which a clause is known: mostly its first, but `from port`, `limit connections`."""
    word = clause.word.text
    if word in ("from", "to") and clause.addresses is None:
        return f"{word} port"
    if word == "limit" and clause.atoms[0].type == "WORD":
        return "limit connections"
    return word


def checked_clauses(statement: Statement, faults: Faults) -> dict[str, Clause]:
    """The clauses by key, without those that do not belong there or stand twice: these are reported."""
    found: dict[str, Clause] = {}
    keyword = statement.keyword.text
    for clause in statement.clauses:
        key = clause_key(clause)
        if key not in ALLOWED.get(keyword, ()):
            _misplaced(keyword, key, clause, faults)
        elif key in found:
            faults.error(
                clause.word.span,
                f"a second `{key}` in one declaration",
                _MERGE.get(key, "take one of them out"),
                (Related(found[key].word.span, "the first one"),),
            )
        else:
            found[key] = clause
    return found


_MERGE = {
    word: f"write `{word}` once, with a comma between its members"
    for word in ("from", "to", "with", "at", "on", "out")
}


def _misplaced(keyword: str, key: str, clause: Clause, faults: Faults) -> None:
    if keyword in _TRANSLATIONS and key in _TRACKING:
        message = f"`{key}` on a `{keyword}` line"
        if key == "untracked":
            message = f"`untracked` on a `{keyword}` line: translation works by tracking"
        faults.error(clause.word.span, message, f"a translated flow is always tracked: leave `{key}` out")
        return
    allowed = ALLOWED.get(keyword, ())
    listed = ", ".join(allowed) if allowed else "no clause"
    instead = _INSTEAD.get((keyword, key))
    help = f"`{keyword}` takes {listed}"
    faults.error(clause.word.span, f"`{keyword}` takes no `{key}`", f"{instead}\n{help}" if instead else help)


def places(clauses: dict[str, Clause]) -> dict[str, Span]:
    """For `Origin.clauses`: the place of each clause by its word; `from port` is also under `from`."""
    found: dict[str, Span] = {}
    for key, clause in clauses.items():
        found[key] = clause.span
        found.setdefault(key.split()[0], clause.span)
    return found
