"""What nft sees of later fragments: the ports of its rules may be found where none are.

Without reassembly nft reads ports, TCP flags and ICMP types of a later fragment from what stands in their
place: in IPv4 the fragment's data, in IPv6 the beginning of the IPv6 header. So they may be anything that a
sender likes.
"""

from __future__ import annotations

import zlib

from notrack.netfilter.guards import fields_of
from notrack.packets.fields import Field, Fragment
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Among, Fact, Guard, Literal, OneOf

_LATER = Among(Field.FRAGMENT, IntervalSet.single(Fragment.LATER))
_OF_TRANSPORT = frozenset(
    (Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE)
)
_SHOWN = 4  # intervals in the name of a fact; more of them are told apart by a checksum


def misread(guard: Guard) -> Guard | None:
    """When a guard holds for a later fragment that is misread; None if it asks for nothing of transport.

    Each thing that it asks of ports, flags or ICMP is a fact; everything else stays.
    """
    if not fields_of(guard) & _OF_TRANSPORT:
        return None
    return (_LATER, *(_misread(literal) for literal in guard))


def _misread(literal: Literal) -> Literal:
    if isinstance(literal, Among) and literal.field in _OF_TRANSPORT:
        name = f"a later fragment looks like {literal.field.value} {_short(literal.values)}"
        return Fact(name, literal.negated)
    if isinstance(literal, OneOf) and fields_of((literal,)) & _OF_TRANSPORT:
        if literal.negated:
            name = f"a later fragment looks like one of {len(literal.guards)} ({_sum(literal.guards)})"
            return Fact(name, negated=True)
        return OneOf(tuple(misread(inner) or inner for inner in literal.guards))
    return literal


def _short(values: IntervalSet) -> str:
    shown = ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in values.spans[:_SHOWN])
    more = len(values.spans) - _SHOWN
    return f"{shown} and {more} more ({_sum(values)})" if more > 0 else shown


def _sum(of: object) -> str:
    return f"{zlib.crc32(repr(of).encode()):08x}"
