"""The same words in the two languages of rules."""

from __future__ import annotations

from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """A match or a target as iptables writes it and as nft does. One of them may be missing: then the change
    cannot be made to rules of that kind.
    """

    xtables: str | None
    nft: str | None


ACCEPT = Wording("-j ACCEPT", "accept")
DROP = Wording("-j DROP", "drop")
NOTRACK = Wording("-j CT --notrack", "notrack")
UNTRACKED = Wording("-m conntrack --ctstate UNTRACKED", "ct state untracked")
