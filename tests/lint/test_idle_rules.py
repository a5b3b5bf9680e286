"""Rules that do not do what they seem to (6xx), in rulesets that are no examples of the rules."""

from __future__ import annotations

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.rule import Example
from notrack.text.diagnostic import Severity
from tests.lint.examples import case

FAMILIES = ("NT5", "NT6")
QUIET = ("NT605", "NT606", "NT608")  # mere information, marked where it is what a case is about
CASES = (
    Example(
        "601 named priority with offset; output filter",
        """
        table ip t {
          chain a { type filter hook prerouting priority raw + 100; policy accept;
            udp dport 53 notrack  ### NT601
          }
          chain b { type filter hook output priority filter; policy accept;
            udp sport 53 notrack  ### NT601
          }
          chain c { type filter hook prerouting priority raw + 99; policy accept;
            udp dport 54 notrack
          }
        }
        """,
    ),
    Example(
        "601 add rule commands",
        """
        add table inet t
        add chain inet t pre { type filter hook prerouting priority -150; policy accept; }
        add rule inet t pre udp dport 53 notrack  ### NT601
        """,
    ),
    Example(
        "601 postrouting, forward",
        """
        table inet t {
          chain f { type filter hook forward priority -300; policy accept;
            tcp dport 80 notrack  ### NT601
          }
          chain p { type filter hook postrouting priority raw; policy accept;
            meta l4proto { tcp, udp } th dport 53 notrack  ### NT601
          }
        }
        """,
    ),
    Example(
        "602 helper and notrack, v6 script",
        """
        #!/bin/sh
        ip6tables -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp --notrack  ### NT602
        ip6tables -t raw -I OUTPUT -p tcp --sport 21 -j CT  ### NT602
        iptables -t raw -A OUTPUT -p tcp --sport 80 -j CT --notrack
        iptables -t raw -A PREROUTING -p tcp --dport 80 -j CT --notrack
        """,
    ),
    Example(
        "603 two user chains, ranges",
        """
        *filter
        :INPUT DROP [0:0]
        :a - [0:0]
        :b - [0:0]
        -A INPUT -p tcp --dport 1:1000 -j a
        -A INPUT -p tcp --dport 500:600 -j b  ### NT603
        -A INPUT -p tcp --dport 1001:2000 -j b
        -A a -s 10.0.0.0/8 -j ACCEPT
        -A a -j DROP
        -A b -p tcp --dport 1500 -j ACCEPT
        -A b -p tcp --dport 700 -j ACCEPT  ### NT603
        COMMIT
        """,
    ),
    Example(
        "603 return in front",
        """
        *filter
        :INPUT DROP [0:0]
        :ssh - [0:0]
        -A INPUT -p tcp --dport 22 -j ssh
        -A ssh -s 10.0.0.0/8 -j RETURN
        -A ssh -s 10.1.0.0/16 -j ACCEPT  ### NT603
        -A ssh -s 192.168.0.0/16 -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "603 nft interval set and named set covering",
        """
        table inet t {
          set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 } }
          chain input { type filter hook input priority 0; policy accept;
            ip saddr @nets accept
            ip saddr 10.2.3.4 tcp dport 22 drop  ### NT603
            ip saddr { 10.0.0.1, 172.16.0.1 } drop
            ip6 saddr fd00::/8 accept
            ip6 saddr fd12::/16 udp dport 1 drop  ### NT603
            iifname "eth0" tcp dport 22 accept
            meta mark 1 accept
            meta mark & 0xff == 1 accept
            meta mark 0x1 drop  ### NT603
          }
        }
        """,
    ),
    Example(
        "603 syn then state",
        """
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p tcp ! --syn -m state --state NEW -j DROP
        -A INPUT -p tcp --tcp-flags ALL NONE -j DROP
        -A INPUT -p tcp --tcp-flags SYN,FIN SYN,FIN -j DROP
        -A INPUT -p tcp --tcp-flags ALL ALL -j DROP  ### NT603
        -A INPUT -m state --state ESTABLISHED,RELATED,NEW -j ACCEPT
        -A INPUT -m state --state NEW -p tcp --dport 80 -j ACCEPT  ### NT603
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -p icmp --icmp-type echo-request -j ACCEPT  ### NT603
        COMMIT
        """,
    ),
    Example(
        "603 negation not shadowed",
        """
        *filter
        :INPUT DROP [0:0]
        -A INPUT ! -s 10.0.0.0/8 -p tcp --dport 22 -j DROP
        -A INPUT -p tcp --dport 22 -j ACCEPT
        -A INPUT ! -i eth0 -j ACCEPT
        -A INPUT ! -i eth1 -p udp -j ACCEPT
        -A INPUT -m addrtype ! --dst-type LOCAL -j DROP
        -A INPUT -m addrtype --dst-type LOCAL -p udp -j ACCEPT  ### NT603
        -A INPUT -m addrtype --dst-type BROADCAST -p udp -j ACCEPT  ### NT603
        -A INPUT -m owner --uid-owner 0 -j ACCEPT
        -A INPUT -m owner ! --uid-owner 0 -j DROP
        COMMIT
        """,
    ),
    Example(
        "603 kube",
        """
        *nat
        :PREROUTING ACCEPT [0:0]
        :KUBE-SERVICES - [0:0]
        :KUBE-SEP-A - [0:0]
        :KUBE-SEP-B - [0:0]
        :KUBE-SVC-X - [0:0]
        -A PREROUTING -j KUBE-SERVICES
        -A KUBE-SERVICES -d 10.0.0.1/32 -p tcp --dport 443 -j KUBE-SVC-X
        -A KUBE-SVC-X -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
        -A KUBE-SVC-X -j KUBE-SEP-B
        -A KUBE-SVC-X -j KUBE-SEP-A
        -A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.1.1.1:443
        -A KUBE-SEP-B -p tcp -j DNAT --to-destination 10.1.1.2:443
        COMMIT
        """,
    ),
    Example(
        "604 state in raw via nft established",
        """
        table inet t {
          chain pre { type filter hook prerouting priority raw; policy accept;
            ct state established accept  ### NT604
            ct state { new, untracked } udp dport 53 notrack
            ct direction reply accept  ### NT604
            ct mark 5 accept
          }
        }
        """,
    ),
    Example(
        "607 jump duplicates with logging callee silent; masquerade twice",
        """
        *nat
        :POSTROUTING ACCEPT [0:0]
        -A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE
        -A POSTROUTING -o eth0 -s 10.0.0.0/255.0.0.0 -j MASQUERADE  ### NT607
        COMMIT
        *filter
        :INPUT DROP [0:0]
        :log - [0:0]
        -A log -j LOG
        -A INPUT -p tcp --dport 1 -j log
        -A INPUT -p tcp --dport 2 -j ACCEPT
        -A INPUT -p tcp --dport 1 -j log
        -A INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset
        -A INPUT -p tcp --dport 22 -j REJECT --reject-with icmp-port-unreachable  ### NT603
        -A INPUT -p tcp --dport 23 -j REJECT
        -A INPUT -p tcp -m tcp --dport telnet -j REJECT  ### NT607
        COMMIT
        """,
    ),
    Example(
        "609 postrouting ok, mangle ok, raw bad both families",
        """
        table inet t {
          ct helper tftp { type "tftp" protocol udp; }
          chain a { type filter hook output priority raw; policy accept;
            udp dport 69 ct helper set "tftp" accept  ### NT609
          }
          chain b { type filter hook output priority mangle; policy accept;
            udp dport 69 ct helper set "tftp"
          }
        }
        """,
    ),
    Example(
        "610 timeout; scoped v6",
        {
            "rules.v6": """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :CTZ - [0:0]
            -A PREROUTING -p udp -j CTZ
            -A CTZ -p udp --dport 53 -j CT --timeout short
            -A CTZ -p udp --dport 53 -s 2001:db8::/32 -j CT --notrack  ### NT610
            -A CTZ -p udp --dport 123 -j CT --notrack
            COMMIT
            """,
        },
    ),
    Example(
        "506 forward, output established dropped",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -i eth0 -p tcp -m tcp --syn --dport 80 -j CT --notrack
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        :FORWARD DROP [0:0]
        :OUTPUT ACCEPT [0:0]
        -A FORWARD -i eth0 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460
        -A FORWARD -m state --state INVALID -j DROP
        -A FORWARD -i eth0 -p tcp --dport 80 -m state --state ESTABLISHED -j ACCEPT
        -A FORWARD -o eth0 -p tcp --sport 80 -m state --state ESTABLISHED -j ACCEPT
        COMMIT
        """,
    ),
    Example(
        "506 invalid drop in mangle prerouting",
        """
        *raw
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -i eth0 -p tcp -m tcp --syn --dport 80 -j CT --notrack
        COMMIT
        *mangle
        :PREROUTING ACCEPT [0:0]
        -A PREROUTING -m conntrack --ctstate INVALID -j DROP  ### NT506
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        -A INPUT -i eth0 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460
        -A INPUT -m state --state INVALID -j DROP
        COMMIT
        """,
    ),
    Example(
        "507 jump on lo to chain",
        """
        table ip t {
          chain lo_raw { notrack }
          chain out { type filter hook output priority raw; policy accept;
            oif "lo" jump lo_raw
          }
          chain nat { type nat hook output priority -100; policy accept;
            ip daddr 127.0.0.1 tcp dport 80 dnat to 10.0.0.2:8080
          }
        }
        """,
    ),
    Example(
        "an accept for an untracked service, shadowed: no second finding",
        """
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A INPUT -p tcp --dport 22 -j ACCEPT
        -A INPUT -j REJECT
        -A INPUT -p udp --dport 53 -j ACCEPT  ### NT603
        COMMIT
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p udp --dport 53 -j CT --notrack
        -A OUTPUT -p udp --sport 53 -j CT --notrack
        COMMIT
        """,
    ),
    Example(
        "an accept for untracked answers, shadowed",
        """
        *filter
        :INPUT DROP [0:0]
        -A INPUT -p icmp -j ACCEPT
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A INPUT -p tcp --dport 22 -j ACCEPT
        -A INPUT -p udp --sport 53 -j DROP
        -A INPUT -s 9.9.9.9 -p udp --sport 53 --dport 32768:60999 -j ACCEPT  ### NT603
        COMMIT
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -s 9.9.9.9 -p udp --sport 53 --dport 32768:60999 -j CT --notrack
        -A OUTPUT -d 9.9.9.9 -p udp --dport 53 --sport 32768:60999 -j CT --notrack
        COMMIT
        """,
    ),
    Example(
        "an accept for ICMP errors, shadowed",
        """
        *filter
        :INPUT DROP [0:0]
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A INPUT -p tcp --dport 80 -j ACCEPT
        -A INPUT -j REJECT
        -A INPUT -p icmp -j ACCEPT  ### NT603
        COMMIT
        *raw
        :PREROUTING ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A PREROUTING -p tcp --dport 80 -j CT --notrack
        -A OUTPUT -p tcp --sport 80 -j CT --notrack
        COMMIT
        """,
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
    if example.title.startswith("an accept"):
        assert [one.code for one in result.findings if one.rule.severity is not Severity.INFO] == ["NT603"]
    assert not result.undecided
