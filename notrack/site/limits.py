"""Rates, connection limits and durations, within what the kernel can count."""

from __future__ import annotations

from notrack.site.faults import Faults
from notrack.site.model import ConnectionLimit, Rate
from notrack.site.syntax import Atom, Clause
from notrack.site.tables.timeout_names import LONGEST
from notrack.text.nearest import nearest

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_SHORT = {"s": "second", "sec": "second", "secs": "second", "m": "minute", "min": "minute", "h": "hour",
          "hr": "hour", "d": "day"}  # fmt: skip
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# xt_limit keeps the time between two packets in ten-thousandths of a second (XT_LIMIT_SCALE).
FASTEST = 10_000
_MOST_CONNECTIONS = 2**32 - 1


def rate(atom: Atom, faults: Faults, per_source: bool = False) -> Rate | None:
    """`20/second`; None after an error."""
    digits, _, word = atom.text.partition("/")
    count = int(digits[:12])
    unit = _SHORT.get(word, word)
    if word not in UNITS:
        near = unit if unit in UNITS else nearest(word, UNITS)
        help = f"write `{digits}/{near}`" if near else "the units are second, minute, hour, day"
        faults.error(atom.span, f"unknown unit `{word}` of a rate", help)
        return None
    if count == 0:
        faults.error(atom.span, "a rate of nothing", "write at least 1, or leave the declaration out")
        return None
    if count > FASTEST * UNITS[unit]:
        faults.error(
            atom.span,
            f"the kernel counts at most {FASTEST}/second",
            f"write `{FASTEST}/second` or less, or leave the limit out",
        )
        return None
    return Rate(count, unit, per_source)


def per_source(clause: Clause, faults: Faults) -> bool:
    """Whether a limit holds `per source`; anything else behind `per` is an error."""
    if clause.per is None:
        return False
    if clause.per.text != "source":
        faults.error(clause.per.span, f"unknown word `{clause.per.text}` behind `per`", "write `per source`")
    return True


def connection_limit(clause: Clause, faults: Faults) -> ConnectionLimit | None:
    """`limit connections 20 per source`; None after an error."""
    word, number = clause.atoms
    each = per_source(clause, faults)
    if word.text != "connections":
        near = nearest(word.text, ("connections",))
        help = "did you mean `connections`?" if near else "write `limit 20/second` or `limit connections 20`"
        faults.error(word.span, f"unknown word `{word.text}` behind `limit`", help)
        return None
    count = int(number.text[:12])
    if not 1 <= count <= _MOST_CONNECTIONS:
        faults.error(number.span, f"a limit of {number.text[:20]} connections", "write a number from 1 on")
        return None
    return ConnectionLimit(count, each)


def duration(atom: Atom, faults: Faults) -> int | None:
    """`3h` in seconds; None after an error."""
    seconds = int(atom.text[:-1][:12]) * _SECONDS[atom.text[-1]]
    if not 1 <= seconds <= LONGEST:
        faults.error(
            atom.span, f"a timeout of `{atom.text[:20]}`", f"the kernel holds from 1s to {LONGEST}s (24d)"
        )
        return None
    return seconds
