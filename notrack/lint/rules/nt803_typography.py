"""NT803: dashes, quotes and blanks of a word processor."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault, Fix
from notrack.lint.fixes import edited
from notrack.lint.mending.shell_places import ShellPlace, shell_places
from notrack.lint.mending.written import in_file
from notrack.lint.rule import Example, Rule
from notrack.lint.script import command_span
from notrack.lint.subject import Subject
from notrack.lint.typography import ODD, Slip, command_slips, is_tool, nft_slips, restore_slips
from notrack.ruleset.formats import Document
from notrack.ruleset.recognition import Format
from notrack.ruleset.shell.actions import NftText, RestoreText, Script, XtablesCommand
from notrack.ruleset.shell.derived import located
from notrack.text.diagnostic import Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if ODD.search(document.source.text) is None:
            continue
        for slip in _slips(document):
            yield _fault(slip)


def _slips(document: Document) -> Iterator[Slip]:
    if document.format is Format.XTABLES:
        yield from restore_slips(document.source)
    elif document.format is Format.NFT:
        yield from nft_slips(document.source)
    elif document.format is Format.XTABLES_CONFIG:  # the init script sources it
        for place in shell_places(document.source):
            yield from command_slips(place.command)
    elif isinstance(document.tree, Script):
        yield from _script_slips(document, document.tree)


def _script_slips(document: Document, script: Script) -> Iterator[Slip]:
    acting = [
        command_span(script, action) if isinstance(action, XtablesCommand) else located(action.span)
        for action in script.actions
    ]
    for place in shell_places(document.source):
        if ODD.search(place.command.span.text) and (_is_firewall(place) or _acts(place, acting)):
            yield from command_slips(place.command)
    for action in script.actions:
        if isinstance(action, RestoreText) and action.text is not None:
            yield from restore_slips(action.text)
        elif isinstance(action, NftText) and action.text is not None and "\n" in action.text.text:
            yield from nft_slips(action.text)


def _is_firewall(place: ShellPlace) -> bool:
    """Whether a command names a tool among its first words, or sets a variable."""
    if place.command.assignments and not place.command.words:
        return True
    return any(is_tool(word.literal or "") for word in place.command.words[:3])


def _acts(place: ShellPlace, acting: list[Span]) -> bool:
    own = place.command.span
    return any(
        span.source.name == own.source.name and own.start <= span.start and span.end <= own.end
        for span in acting
    )


def _fault(slip: Slip) -> Fault:
    edits = in_file(slip.edits) if slip.edits else None
    place = located(slip.place)
    word = place.text.strip()[:40]
    message = f"`{word}` has a typographic {slip.kind}, which is a letter like any other to the command"
    if not slip.edits:
        return Fault(place, message, 'write plain quotes, `"`, before and behind what belongs together')
    line = slip.place.source.line(slip.place.line)
    start = slip.place.start - slip.place.column + 1
    inside = [edit for edit in slip.edits if start <= edit.span.start and edit.span.end <= start + len(line)]
    whole = edited(slip.place.source.text, inside)
    shown = whole[start:].partition("\n")[0].strip()
    fix = Fix("write it with plain characters", edits) if edits else None
    return Fault(place, message, f"write: {shown}", fix=fix)


RULE = Rule(
    code="NT803",
    name="typography",
    severity=Severity.ERROR,
    summary="a dash, a quote or a blank of a word processor where a plain one belongs",
    what="""
        Finds typographic dashes before options (and inside ranges), typographic quotes around words, and
        blanks that do not break, in restore files, in nft text, and in the commands of a shell script that
        are about the firewall: iptables, nft, ipset, conntrack, sysctl, modprobe, and variables; quotes in
        the settings of iptables-config too.

        One line or command is one finding, marked at the first such character.
    """,
    why="""
        Web pages and word processors turn `--dport` into a long dash and `"` into curly quotes. To the
        loader and to the shell these are letters: the line is refused, and with it a whole restore file, or
        the script goes on without the rule.
    """,
    limits="""
        What stands in plain quotes may hold any character: a comment with a dash in it is fine. Where a
        closing quote is missing, what was meant is not certain, and there is no fix.
    """,
    mending="""
        The fix writes plain characters: one dash before a letter, two before a longer name, double quotes for
        double ones. It is safe: the line did nothing before. What it does then may be a finding of its own.
    """,
    check=check,
    bad=(
        Example(
            "a restore file out of a web page",
            """
            *filter
            :INPUT ACCEPT [0:0]
            –A INPUT –p tcp –m tcp —dport 22 –j ACCEPT  ### NT803
            -A INPUT -p tcp -m tcp --dport 80 -m comment --comment “web – port 80” -j ACCEPT  ### NT803
            -A INPUT -p udp -m multiport --dports 5000–5010 -j ACCEPT  ### NT803
            COMMIT
            """,
            fixed="""
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 80 -m comment --comment "web – port 80" -j ACCEPT
            -A INPUT -p udp -m multiport --dports 5000:5010 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a script",
            """
            #!/bin/sh
            IPT=“/sbin/iptables”  ### NT803
            sysctl –w net.netfilter.nf_conntrack_max=262144  ### NT803
            iptables –A INPUT -p udp –dport 53 -j ACCEPT  ### NT803
            iptable–t filter -A INPUT -p udp --dport 123 -j ACCEPT  ### NT803
            echo “done” – all rules are there
            """,
            fixed="""
            #!/bin/sh
            IPT="/sbin/iptables"
            sysctl -w net.netfilter.nf_conntrack_max=262144
            iptables -A INPUT -p udp --dport 53 -j ACCEPT
            iptables -t filter -A INPUT -p udp --dport 123 -j ACCEPT
            echo “done” – all rules are there
            """,
        ),
        Example(
            "the settings of an init script",
            """
            IPTABLES_MODULES=“nf_conntrack_ftp nf_nat_ftp”  ### NT803
            IPTABLES_SAVE_ON_STOP="no"
            """,
            fixed="""
            IPTABLES_MODULES="nf_conntrack_ftp nf_nat_ftp"
            IPTABLES_SAVE_ON_STOP="no"
            """,
        ),
        Example(
            "nft text",
            """
            table inet filter {
                chain input {
                    type filter hook input priority 0; policy accept;
                    iifname “lo” accept  ### NT803
                    tcp dport 5000–5010 accept  ### NT803
                }
            }
            """,
            fixed="""
            table inet filter {
                chain input {
                    type filter hook input priority 0; policy accept;
                    iifname "lo" accept
                    tcp dport 5000-5010 accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "plain characters",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "inside plain quotes and in comments every character is allowed",
            """
            *filter
            # the “web” server – port 80
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp -m tcp --dport 80 -m comment --comment "it’s the “web” – server" -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a script that says something",
            """
            #!/bin/sh
            # – rules –
            echo “loading” – please wait
            iptables -A INPUT -p tcp --dport 80 -m comment --comment 'the “web” – server' -j ACCEPT
            """,
        ),
        Example(
            "nft text",
            """
            # “input” – what comes in
            table inet filter {
                chain input {
                    type filter hook input priority 0; policy accept;
                    tcp dport 80 accept comment "the “web” – server"
                }
            }
            """,
        ),
    ),
)
