"""NT803: dashes, quotes and blanks of a word processor."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if not document.source.text.isascii():
            from notrack.lint.slips import faults

            yield from faults(document)


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
