"""Accepts by source port with the parts that they lack."""

from __future__ import annotations

from notrack.lint.bounds import asks
from notrack.lint.exposure import TCP, UDP
from notrack.lint.mending import Body, Edits, Wording, Written, deleted, find, rewritten
from notrack.lint.source_ports import Unguarded
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.packets.fields import Field


def mended(subject: Subject, view: View, found: Unguarded) -> tuple[str | None, Edits | None]:
    """The rule as it should be, for a message, and the edits that make it so. Each may be missing."""
    if found.needless:
        written = find(subject.documents, found.rule)
        return None, deleted(written) if written else None
    narrowed = _narrowed(subject, view, found)
    return (narrowed[1].text, rewritten(*narrowed)) if narrowed else (None, None)


def _narrowed(subject: Subject, view: View, found: Unguarded) -> tuple[Written, Body] | None:
    """The rule as it stands, and with the parts that it lacks; None where they cannot be written."""
    written = find(subject.documents, found.rule)
    missing = _missing(view, found, written.body.text if written else "")
    if written is None or not missing or "vmap" in written.body.text:
        return None
    body: Body | None = written.body
    for match in missing:
        body = body.narrowed(match) if body is not None else None
    return None if body is None else (written, body)


def _missing(view: View, found: Unguarded, text: str) -> list[Wording]:
    if found.tracked:
        return [ESTABLISHED]
    ported = asks(found.rule.guard, Field.DESTINATION_PORT)
    own = view.host.ephemeral
    low, high = own.widest() if own else (1024, 65535)
    if found.protocols == (TCP,):
        again = "-m tcp " if "multiport" in text else ""
        syn = Wording(f"{again}! --syn", "tcp flags & (fin | syn | rst | ack) != syn")
        return [syn] if ported else [syn, Wording(f"--dport {low}:{high}", f"tcp dport {low}-{high}")]
    if ported:
        return []
    if found.protocols == (UDP,):
        again = "-m udp " if "multiport" in text else ""
        return [Wording(f"{again}--dport 1024:65535", "udp dport 1024-65535")]
    low, high = own.widest() if own else (32768, 60999)
    return [Wording(None, f"th dport {low}-{high}")]


ESTABLISHED = Wording("-m conntrack --ctstate ESTABLISHED", "ct state established")
