"""What only tracking gives (5xx), in rulesets of every shape that are no examples of the rules."""

from __future__ import annotations

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.rule import Example
from tests.lint.examples import case

FAMILIES = "NT5"
QUIET = ("NT605", "NT606", "NT608")  # mere information, marked where it is what a case is about
CASES = (
    Example(
        "501 sip via both, v6 helper",
        {
            "rules.v6": """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 5060 -j CT --notrack  ### NT501
            -A PREROUTING -p udp --dport 5060 -j CT --helper sip
            -A OUTPUT -p udp --sport 5060 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            COMMIT
            """,
        },
    ),
    Example(
        "501 negated port notrack all but ssh",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p tcp ! --dport 22 -j CT --notrack  ### NT501
        -A OUTPUT -p tcp ! --sport 22 -j CT --notrack
        COMMIT
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -p tcp -m multiport --dports 20:22,80 -j ACCEPT
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "501 ftp via ipset ports in user chain",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        :UNTR - [0:0]
        -A PREROUTING -i eth0 -j UNTR
        -A UNTR -p tcp -m tcp --dport 20:21 -j NOTRACK  ### NT501
        -A OUTPUT -o eth0 -p tcp -m tcp --sport 20:21 -j NOTRACK
        COMMIT
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -p tcp -m tcp --dport 20:21 -j ACCEPT
        -A INPUT -m state --state RELATED -p tcp --dport 1024: -j ACCEPT
        -A INPUT -m state --state ESTABLISHED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "501 tftp related without evidence: silent",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p udp --dport 69 -j CT --notrack
        -A OUTPUT -p udp --sport 69 -j CT --notrack
        COMMIT
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -p udp --dport 69 -j ACCEPT
        -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "502 invalid drop in user chain",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p tcp --dport 443 -j CT --notrack
        -A OUTPUT -p tcp --sport 443 -j CT --notrack
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        :BAD - [0:0]
        -A INPUT -i lo -j ACCEPT
        -A INPUT -j BAD
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -p tcp --dport 443 -j ACCEPT
        -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
        -A INPUT -j REJECT
        -A BAD -m state --state INVALID -j DROP  ### NT502
        -A BAD -p tcp --tcp-flags ALL NONE -j DROP
        COMMIT
        """,
    ),
    Example(
        "502 only time-exceeded and echo accepted, v6",
        {
            "rules.v6": """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -j CT --notrack
            -A OUTPUT -p tcp --sport 443 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]  ### NT502
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 3 -j ACCEPT
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT
            -A INPUT -p tcp --dport 443 -j ACCEPT
            -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        },
    ),
    Example(
        "502 raw drop of all icmp",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p icmp -j DROP  ### NT502
        -A PREROUTING -p tcp --dport 443 -j CT --notrack
        -A OUTPUT -p tcp --sport 443 -j CT --notrack
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        -A INPUT -m state --state INVALID -j DROP
        COMMIT
        """,
    ),
    Example(
        "502 ok: INVALID drop for tcp only",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p tcp --dport 443 -j CT --notrack
        -A OUTPUT -p tcp --sport 443 -j CT --notrack
        COMMIT
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p tcp -m state --state INVALID -j DROP
        -A INPUT -p icmp --icmp-type destination-unreachable -j ACCEPT
        -A INPUT -p tcp --dport 443 -j ACCEPT
        -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "502 ok: blocklist first",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p tcp --dport 443 -j CT --notrack
        -A OUTPUT -p tcp --sport 443 -j CT --notrack
        COMMIT
        *filter
        :INPUT DROP [0:0]
        -A INPUT -s 203.0.113.0/24 -j DROP
        -A INPUT -m set --match-set bad src -j DROP
        -A INPUT -p icmp --icmp-type 3 -j ACCEPT
        -A INPUT -p tcp --dport 443 -j ACCEPT
        -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "502 nft inet vmap ct state with invalid drop first",
        """
        table inet f {
          chain p { type filter hook prerouting priority raw; policy accept;
            tcp dport { 80, 443 } notrack
          }
          chain o { type filter hook output priority raw; policy accept;
            tcp sport { 80, 443 } notrack
          }
          chain input {
            type filter hook input priority filter; policy drop;
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
            ct state vmap { established : accept, invalid : drop }  ### NT502
            icmp type { destination-unreachable, echo-request } accept
            icmpv6 type packet-too-big accept
            tcp dport { 80, 443 } accept
          }
        }
        """,
    ),
    Example(
        "503 goto chain, reject",
        {
            "rules.v6": """
            *filter
            :INPUT ACCEPT [0:0]
            :IN6 - [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -g IN6
            -A IN6 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A IN6 -p tcp --dport 443 -j ACCEPT
            -A IN6 -p ipv6-icmp --icmpv6-type echo-request -j ACCEPT
            -A IN6 -j REJECT  ### NT503
            COMMIT
            """,
        },
    ),
    Example(
        "503 icmpv6 types dropped explicitly in raw",
        {
            "rules.v6": """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j DROP  ### NT503
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            COMMIT
            """,
        },
    ),
    Example(
        "503 rate-limited and hl ok",
        {
            "rules.v6": """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -m limit --limit 9/s -j ACCEPT
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 2 -j ACCEPT
            -A INPUT -p tcp --dport 443 -j ACCEPT
            COMMIT
            """,
        },
    ),
    Example(
        "504 connbytes forward; helper",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -s 10.0.0.0/8 -p tcp --dport 873 -j CT --notrack
        -A PREROUTING -d 10.0.0.0/8 -p tcp --sport 873 -j CT --notrack
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        :FORWARD ACCEPT [0:0]
        -A FORWARD -s 10.0.0.0/8 -p tcp --dport 873 -m connbytes --connbytes 9: -j DROP  ### NT504
        -A FORWARD -s 10.0.0.0/8 -p tcp --dport 873 -m conntrack --ctstatus ASSURED -j ACCEPT  ### NT504
        -A FORWARD -p tcp -m connlimit --connlimit-above 100 -j REJECT
        COMMIT
        """,
    ),
    Example(
        "505 v6 forward nft unknown host",
        """
        table ip6 f {
          chain forward {
            type filter hook forward priority filter; policy drop;
            tcp dport 80 accept  ### NT505
            tcp sport 80 accept
          }
        }
        """,
    ),
    Example(
        "505 ok with tracking elsewhere",
        """
        *filter
        :FORWARD DROP [0:0]
        -A FORWARD -p udp --dport 53 -j ACCEPT
        COMMIT
        """,
        host='{"tracking_elsewhere": true}',
    ),
)


@pytest.mark.parametrize("example", [pytest.param(one, id=one.title) for one in CASES])
def test_marked_lines_and_no_others_are_found(example: Example) -> None:
    made = case(example)
    result = lint(made.subject, collected())
    found = {
        (one.span.source.name, one.span.line, one.code)
        for one in result.findings
        if one.code.startswith(FAMILIES) and (one.code not in QUIET)
    }
    assert found == made.wanted
    assert not result.undecided
