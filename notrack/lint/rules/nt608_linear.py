"""NT608: many rules where one would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.finding import Edit, Fault, Fix
from notrack.lint.linear import MULTIPORT, PORTS, Form, Stretch, slots, stretches
from notrack.lint.owners import is_generated
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Related, Severity

if TYPE_CHECKING:
    from notrack.lint.mending import Body

_NAMES = {
    Field.DESTINATION_PORT: "destination port",
    Field.SOURCE_PORT: "source port",
    Field.SOURCE: "source address",
    Field.DESTINATION: "destination address",
    Field.IN: "interface",
    Field.OUT: "interface",
}
_HELP = {
    Form.MULTIPORT: "match the ports with `-m multiport`, up to 15 in a rule",
    Form.IPSET: "put the addresses into an ipset, and match it with `-m set --match-set NAME src` (or dst)",
    Form.SET: "put the values into one set: `{ ..., ... }`, or a named one",
    Form.MAP: "write one verdict map: `vmap { value : verdict, ... }`",
}
_OPTIONS = {Field.DESTINATION_PORT: ("--dport", "--dports"), Field.SOURCE_PORT: ("--sport", "--sports")}
_SIDES = {
    Field.DESTINATION_PORT: (
        "tcp dport",
        "udp dport",
        "th dport",
        "sctp dport",
        "dccp dport",
        "udplite dport",
    ),
    Field.SOURCE_PORT: ("tcp sport", "udp sport", "th sport", "sctp sport", "dccp sport", "udplite sport"),
    Field.SOURCE: ("ip saddr", "ip6 saddr"),
    Field.DESTINATION: ("ip daddr", "ip6 daddr"),
}


def check(subject: Subject) -> Iterator[Fault]:
    for table in subject.ruleset.tables:
        for stretch in stretches(table):
            first, last = stretch.entries[0], stretch.entries[-1]
            if first.span is None or last.span is None or is_generated(table, first.chain):
                continue
            if len({entry.span for entry in stretch.entries}) < len(stretch.entries):
                continue  # a loop of a script: one command already
            yield Fault(
                first.span,
                f"{len(stretch.entries)} rules from here on differ in their {_NAMES[stretch.field]} alone",
                _HELP[stretch.form],
                (Related(last.span, "the last of them"),),
                fix=_fix(subject, stretch),
            )


def _fix(subject: Subject, stretch: Stretch) -> Fix | None:
    """All values in the first rule (of every 15 ports), the other rules taken out."""
    from notrack.lint.mending import deleted, find, rewritten
    from notrack.lint.remarks import says_more

    if stretch.form in (Form.IPSET, Form.MAP) or stretch.field in (Field.IN, Field.OUT):
        return None
    found = [find(subject.documents, entry.rules[0]) for entry in stretch.entries]
    written = [one for one in found if one is not None]
    if len(written) < len(found) or any(map(says_more, written)):
        return None
    parts = _parts(stretch)
    edits: list[Edit] = []
    for one, values in zip(written, parts, strict=False):
        body = _asking(one.body, stretch, values)
        made = rewritten(one, body) if body is not None else None
        if made is None:
            return None
        edits += made
    for one in written[len(parts) :]:
        made = deleted(one)
        if made is None:
            return None
        edits += made
    return Fix(f"one rule for {len(written)}" if len(parts) == 1 else f"{len(parts)} rules", tuple(edits))


def _parts(stretch: Stretch) -> list[IntervalSet]:
    """The values, as many at once as one rule takes."""
    if stretch.form is not Form.MULTIPORT:
        return [stretch.values]
    parts: list[list[tuple[int, int]]] = [[]]
    for span in stretch.values:
        if slots(IntervalSet((*parts[-1], span))) > MULTIPORT:
            parts.append([])
        parts[-1].append(span)
    return [IntervalSet(tuple(part)) for part in parts]


def _asking(body: Body, stretch: Stretch, values: IntervalSet) -> Body | None:
    """The rule with other values."""
    from notrack.lint.mending import Wording
    from notrack.lint.mending.xtables_body import XtablesBody

    if isinstance(body, XtablesBody):
        one, several = _OPTIONS[stretch.field]
        text = ",".join(_port(span, ":") for span in values)
        if several in body.text:
            return body.asking(Wording(several, None), Wording(text, None))
        bare = body.without(Wording(one, None))
        return bare.narrowed(Wording(f"-m multiport {several} {text}", None)) if bare is not None else None
    text = ", ".join(_texts(stretch, values))
    made = (
        body.asking(Wording(None, side), Wording(None, f"{{ {text} }}")) for side in _SIDES[stretch.field]
    )
    return next((one for one in made if one is not None), None)


def _texts(stretch: Stretch, values: IntervalSet) -> list[str]:
    if stretch.field in PORTS:
        return [_port(span, "-") for span in values]
    family = Family.IPV6 if values.spans[-1][1] >> 32 else Family.IPV4
    return [prefix_text(*prefix, family) for prefix in prefixes(values, family)]


def _port(span: tuple[int, int], sign: str) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}{sign}{span[1]}"


RULE = Rule(
    code="NT608",
    name="linear",
    severity=Severity.INFO,
    summary="many rules that one multiport match, set or verdict map would replace",
    what="""
        Finds five or more rules of a chain that do the same and differ in one port alone, a dozen or more
        that differ in one address, and in nft as many that differ in one value and in what they do.
    """,
    why="""
        Rules are tried one after the other, for every packet. A thousand services as two thousand linear
        rules cost fifteen times what a single one does; one set or map costs the same whatever it holds.
        Ports and addresses are also easier to read in one place.
    """,
    limits="""
        Rules that log, count into a limit, reject or differ in several things are passed over, and so are
        chains that a program writes and commands in a loop.
    """,
    mending="""
        For ports in iptables and for sets in nft the fix writes one rule (of each 15 ports) in the place of
        the first, and takes the others out. It is safe: the same packets match. There is none where a rule
        has a comment or has counted packets, for ipsets, and for maps.
    """,
    check=check,
    bad=(
        Example(
            "ports, tcp and udp by turns",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT  ### NT608
            -A INPUT -p udp -m udp --dport 53 -j ACCEPT  ### NT608
            -A INPUT -p tcp --dport 53 -j ACCEPT
            -A INPUT -p udp -m udp --dport 123 -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -p udp -m udp --dport 161 -j ACCEPT
            -A INPUT -p tcp --dport 443 -j ACCEPT
            -A INPUT -p udp -m udp --dport 514 -j ACCEPT
            -A INPUT -p tcp --dport 8000:8080 -j ACCEPT
            -A INPUT -p udp -m udp --dport 4500 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 22,53,80,443,8000:8080 -j ACCEPT
            -A INPUT -p udp -m multiport --dports 53,123,161,514,4500 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft: a set, and a map",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack  ### NT608
                udp dport 123 notrack
                udp dport 161-162 notrack
                udp dport 389 notrack
                udp dport 514 notrack
              }
              chain web { accept; }
              chain input {
                type filter hook input priority filter; policy drop;
                tcp dport 22 accept  ### NT608
                tcp dport 80 jump web
                tcp dport 443 jump web
                tcp dport 25 drop
                tcp dport 993 accept
              }
            }
            """,
        ),
        Example(
            "a list of addresses",
            {
                "rules.v4": "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 203.0.113.1/32 -j DROP  ### NT608\n"
                + "".join(f"-A INPUT -s 203.0.113.{number}/32 -j DROP\n" for number in range(3, 40, 2))
                + "COMMIT\n"
            },
        ),
    ),
    good=(
        Example(
            "multiport and sets",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp -m multiport --dports 22,53,80,443,8000:8080 -j ACCEPT
            -A INPUT -p udp -m multiport --dports 53,123,161,514,4500 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "what stands between them may not change places",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp --dport 53 -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -s 192.0.2.0/24 -j DROP
            -A INPUT -p tcp --dport 443 -j ACCEPT
            -A INPUT -p tcp --dport 993 -j ACCEPT
            -A INPUT -p tcp --dport 995 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "each port for its own network, with its own limit; a loop",
            {
                "rules.v4": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -s 192.0.2.1 -p tcp --dport 22 -j ACCEPT
                -A INPUT -s 192.0.2.2 -p tcp --dport 53 -j ACCEPT
                -A INPUT -s 192.0.2.3 -p tcp --dport 80 -j ACCEPT
                -A INPUT -s 192.0.2.4 -p tcp --dport 443 -j ACCEPT
                -A INPUT -s 192.0.2.5 -p tcp --dport 993 -j ACCEPT
                -A INPUT -p udp --dport 1 -m limit --limit 5/second -j ACCEPT
                -A INPUT -p udp --dport 2 -m limit --limit 5/second -j ACCEPT
                -A INPUT -p udp --dport 3 -m limit --limit 5/second -j ACCEPT
                -A INPUT -p udp --dport 4 -m limit --limit 5/second -j ACCEPT
                -A INPUT -p udp --dport 5 -m limit --limit 5/second -j ACCEPT
                COMMIT
                """,
                "firewall.sh": """
                #!/bin/sh
                for port in 22 80 443 993 995 8080; do
                  ip6tables -A INPUT -p tcp --dport $port -j ACCEPT
                done
                """,
            },
        ),
    ),
)
