"""NT603: a rule that no packet comes to."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.entries import Entry
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import Shadow
from notrack.lint.subject import Subject
from notrack.packets.budget import TooHard
from notrack.ruleset.core import Verdict
from notrack.text.diagnostic import Related, Severity

_NAMED = 6  # rules in front that are shown


def check(subject: Subject) -> Iterator[Fault]:
    for shadow in subject.shadows.found:
        span = shadow.entry.span
        if span is not None:
            yield Fault(span, _message(shadow), _help(shadow), _related(shadow), shadow.packets.witness())
    if subject.shadows.undecided:
        raise TooHard("not every table could be decided")


def _message(shadow: Shadow) -> str:
    rest = "one" if len(shadow.behind) == 1 else str(len(shadow.behind))
    also = f", nor to the {rest} behind it" if shadow.behind else ""
    if not shadow.front:
        return "no packet comes to this rule: none that it matches is sent to its chain"
    if len(shadow.front) > 1:
        return f"no packet comes to this rule: {len(shadow.front)} rules in front take them all"
    front = shadow.front[0]
    where = f"line {front.span.line}" if front.span is not None else "a rule in front"
    if shadow.more:
        return f"no packet comes to this rule and to {len(shadow.more)} more: {where} takes them all"
    return f"no packet comes to this rule{also}: {where} takes them all"


def _help(shadow: Shadow) -> str:
    kinds = {_kind(entry) for entry in shadow.front}
    if shadow.front and kinds == {_kind(shadow.entry)} and not shadow.behind and None not in kinds:
        return "it would decide the same: take it out"
    if not shadow.front:
        return "jump to the chain for these packets too, or take the rule out"
    return "if it is meant to do something, put it in front; otherwise take it out"


def _kind(entry: Entry) -> str | None:
    """What a rule does to packets, as far as it is one plain verdict."""
    final = entry.final
    if final in (Verdict.DROP, Verdict.REJECT):
        return "stops"
    return final.value if isinstance(final, Verdict) else None


def _related(shadow: Shadow) -> tuple[Related, ...]:
    if not shadow.front:
        spans = [entry.span for entry in shadow.callers if entry.span is not None]
        return tuple(Related(span, "jumps here with other packets") for span in spans[:_NAMED])
    message = "takes all of them" if len(shadow.front) == 1 else "takes some of them"
    front = [entry.span for entry in shadow.front if entry.span is not None]
    also = [entry.span for entry in shadow.more if entry.span is not None]
    return (
        *(Related(span, message) for span in front[:_NAMED]),
        *(Related(span, "neither comes any to this one") for span in also[:_NAMED]),
    )


RULE = Rule(
    code="NT603",
    name="shadowed",
    severity=Severity.WARNING,
    summary="a rule that no packet comes to, for rules in front take them all",
    what="""
        Finds rules to which no packet can come: rules in front of it, one alone or several together, in its
        own chain or in those that jump to it, take every packet that it matches. It names them. Rules
        behind one that takes everything are one finding, at the first of them.
    """,
    why="""
        The rule looks as if it did something. A NOTRACK behind an ACCEPT leaves its flow tracked; an ACCEPT
        that was appended behind the final REJECT opens nothing; a DROP behind an ACCEPT closes nothing.
    """,
    limits="""
        Decided exactly, on sets of packets: a rule that is named is never reached. What only a limit, a
        script's condition or a mark decides counts as possible, and so does what other tables or the host's
        addresses exclude. Chains that nothing jumps to are passed over, rules that only count, a last rule
        that drops the rest once more, and chains that a program (Docker, Kubernetes, fail2ban, ufw) writes.
        The same rule twice is NT607. Very large tables may be left undecided.
    """,
    mending="There is no automatic fix: whether the rule or its place is wrong is for the operator to say.",
    check=check,
    yields_to=("NT205", "NT604"),
    bad=(
        Example(
            "NOTRACK behind an ACCEPT, and rules behind a final REJECT",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING ! -p icmp -j ACCEPT
            -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT603
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            -A INPUT -p tcp --dport 80 -j ACCEPT  ### NT603
            -A INPUT -p tcp --dport 443 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "several rules together, and a chain that takes everything",
            """
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            :known - [0:0]
            -A INPUT -s 10.0.0.0/9 -p tcp -j ACCEPT
            -A INPUT -s 10.128.0.0/9 -p tcp --dport 1:1023 -j DROP
            -A INPUT -s 10.0.0.0/8 -p tcp -m multiport --dports 22,80 -j ACCEPT  ### NT603
            -A known -s 192.0.2.1 -j ACCEPT
            -A known ! -s 192.0.2.1 -j DROP
            -A FORWARD -i eth1 -g known
            -A FORWARD -i eth1 -p tcp --dport 25 -j REJECT  ### NT603
            COMMIT
            """,
        ),
        Example(
            "nft, both families; what a jump brings, and what it does not",
            """
            table inet t {
              chain services {
                tcp dport 22 accept
                udp dport 53 accept  ### NT603
                ip saddr 192.0.2.66 tcp dport 80 accept  ### NT603
              }
              chain input {
                type filter hook input priority filter; policy drop;
                ip saddr 192.0.2.0/24 drop
                meta l4proto tcp jump services
                ct state { new, established } accept
                ct state new limit rate 5/second accept  ### NT603
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "from the narrow to the wide",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 192.0.2.66 -j DROP
            -A INPUT -s 192.0.2.0/24 -p tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a limit lets packets pass, a mark may have changed, logging ends nothing",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -m limit --limit 5/second -j ACCEPT
            -A INPUT -p icmp -m limit --limit 5/second -j LOG
            -A INPUT -p icmp -m icmp --icmp-type echo-request -m limit --limit 5/second -j ACCEPT
            -A INPUT -p icmp -j DROP
            -A INPUT -m mark --mark 1 -j ACCEPT
            -A INPUT -j LOG
            -A INPUT -p tcp -j MARK --set-mark 1
            -A INPUT -m mark --mark 1 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "fail2ban, a chain in reserve, a last word that was said already, a policy of accept",
            """
            *filter
            :INPUT ACCEPT [0:0]
            :f2b-sshd - [0:0]
            :spare - [0:0]
            :tcp - [0:0]
            -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
            -A f2b-sshd -s 203.0.113.5/32 -j REJECT
            -A f2b-sshd -j RETURN
            -A spare -j DROP
            -A spare -p tcp -j ACCEPT
            -A INPUT -p tcp -j tcp
            -A tcp --source 192.0.2.0/24 -j ACCEPT
            -A tcp -j RETURN
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -p tcp -j REJECT --reject-with tcp-reset
            -A INPUT ! -p tcp -j REJECT
            -A INPUT -j DROP
            COMMIT
            """,
        ),
        Example(
            "rules for one family each, and for interfaces that no rule in front names",
            """
            table inet t {
              chain input {
                type filter hook input priority filter; policy drop;
                ip saddr 0.0.0.0/0 tcp dport 22 accept
                tcp dport 22 drop
                iifname "lo" accept
                iifname != "lo" ip saddr 127.0.0.0/8 drop
                iifname "eth*" udp dport 53 accept
                iifname "wlan0" udp dport 53 accept
              }
            }
            """,
        ),
        Example(
            "logging chains that several rules share",
            """
            *filter
            :INPUT DROP [0:0]
            :logdrop - [0:0]
            -A logdrop -p tcp -j LOG --log-prefix "tcp "
            -A logdrop -p udp -j LOG --log-prefix "udp "
            -A logdrop -j DROP
            -A INPUT -p tcp --dport 23 -j logdrop
            COMMIT
            """,
        ),
    ),
)
