"""NT806: a script sets a DROP policy before the rules that let packets through."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.recognition import Format
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if document.format is Format.SHELL:
            from notrack.lint.policy_order import faults

            yield from faults(document)


RULE = Rule(
    code="NT806",
    name="policy-first",
    severity=Severity.WARNING,
    summary="a script sets a DROP policy before the rules that let packets through",
    what="""
        Finds scripts that set the policy of INPUT or OUTPUT to DROP while no rule of the chain lets other
        hosts in, and put such rules in later, command by command; the same with nft, one command at a time.
    """,
    why="""
        Between the two the host answers nobody. Usually that takes a moment, and established connections
        survive it. But if the script stops there, because a command is refused, the session that runs it
        dies or `set -e` ends it, the host stays cut off, and nobody can log in to mend it.
    """,
    limits="""
        It looks at commands that run for certain, and does not weigh what the rules let through: one rule
        for other hosts than the host itself is enough. Text that iptables-restore or `nft -f` loads comes
        into force at once, and is left alone.
    """,
    mending="""
        Where the policy is set on a line of its own outside loops and functions, the fix moves it behind the
        last rule of the chain. It is safe: when the script has run, the same holds.
    """,
    check=check,
    bad=(
        Example(
            "the policies first, as many scripts do",
            """
            #!/bin/sh
            IPT=/sbin/iptables
            $IPT -F
            $IPT -P INPUT DROP  ### NT806
            $IPT -P FORWARD DROP || exit 1
            # the host itself
            $IPT -A INPUT -i lo -j ACCEPT
            $IPT -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            $IPT -A INPUT -p tcp --dport 22 -j ACCEPT
            echo done
            """,
            fixed="""
            #!/bin/sh
            IPT=/sbin/iptables
            $IPT -F
            $IPT -P FORWARD DROP || exit 1
            # the host itself
            $IPT -A INPUT -i lo -j ACCEPT
            $IPT -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            $IPT -A INPUT -p tcp --dport 22 -j ACCEPT
            $IPT -P INPUT DROP
            echo done
            """,
        ),
        Example(
            "rules flushed behind the policy",
            """
            #!/bin/sh
            iptables -A INPUT -p tcp --dport 22 -j ACCEPT
            iptables -F INPUT
            iptables -P INPUT DROP  ### NT806
            for port in 22 80; do
              iptables -A INPUT -p tcp --dport $port -j ACCEPT
            done
            """,
        ),
        Example(
            "nft, command by command",
            """
            #!/bin/sh
            nft add table inet filter
            nft add chain inet filter input '{ type filter hook input priority 0; policy drop; }'  ### NT806
            nft add rule inet filter input tcp dport 22 accept
            """,
        ),
    ),
    good=(
        Example(
            "the policy last",
            """
            #!/bin/sh
            iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            iptables -A INPUT -p tcp --dport 22 -j ACCEPT
            iptables -P INPUT DROP
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "all at once; a chain that lets nothing through on purpose; a policy that lets all through",
            """
            #!/bin/sh
            iptables -P INPUT ACCEPT
            iptables -P FORWARD DROP
            iptables -A FORWARD -i eth1 -j ACCEPT
            ip6tables -P INPUT DROP
            ip6tables -A INPUT -j LOG
            iptables-restore <<END
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            END
            """,
        ),
        Example(
            "one transaction of nft",
            """
            #!/bin/sh
            nft -f - <<END
            add table inet filter
            add chain inet filter input { type filter hook input priority 0; policy drop; }
            add rule inet filter input tcp dport 22 accept
            END
            """,
        ),
    ),
)
