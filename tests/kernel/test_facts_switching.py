"""Facts: what switches connection tracking on, for which family, and what does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.facts import OWN
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

XT_ON = {
    "state": ("filter", "-A INPUT -m state --state NEW"),
    "ctstate untracked": ("filter", "-A INPUT -m conntrack --ctstate UNTRACKED"),
    "ctstatus": ("filter", "-A INPUT -m conntrack --ctstatus ASSURED"),
    "connlimit": ("filter", "-A INPUT -m connlimit --connlimit-above 10 -j DROP"),
    "connbytes": (
        "filter",
        "-A INPUT -m connbytes --connbytes 9 --connbytes-dir both --connbytes-mode packets",
    ),
    "connmark": ("filter", "-A INPUT -m connmark --mark 1"),
    "helper": ("filter", "-A INPUT -m helper --helper ftp"),
    "cluster": (
        "mangle",
        "-A PREROUTING -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 7",
    ),
    "connlabel": ("filter", "-A INPUT -m connlabel --label 1"),
    "ctproto": ("filter", "-A INPUT -m conntrack --ctproto 6"),
    "CONNSECMARK": ("mangle", "-A PREROUTING -j CONNSECMARK --restore"),
    "CONNMARK": ("mangle", "-A PREROUTING -j CONNMARK --set-mark 1"),
    "CT alone": ("raw", "-A PREROUTING -p tcp --dport 1 -j CT"),
    "CT zone": ("raw", "-A PREROUTING -p tcp --dport 1 -j CT --zone 1"),
    "CT helper": ("raw", "-A PREROUTING -p tcp --dport 21 -j CT --helper ftp"),
    "MASQUERADE": ("nat", "-A POSTROUTING -o eth0 -j MASQUERADE"),
    "SYNPROXY": ("filter", "-A INPUT -p tcp --dport 1 -j SYNPROXY"),
    "in a chain that nothing reaches": ("filter", "-A lonely -m conntrack --ctstate NEW"),
}
XT_OFF = {
    "notrack and plain rules": ("raw", "-A PREROUTING -p udp --dport 99 -j CT --notrack"),
    "NOTRACK": ("raw", "-A PREROUTING -p udp --dport 99 -j NOTRACK"),
    "plain accept": ("filter", "-A INPUT -p udp --dport 9 -j ACCEPT"),
    "rpfilter": ("raw", "-A PREROUTING -m rpfilter --invert -j DROP"),
    "addrtype": ("raw", "-A PREROUTING -m addrtype --dst-type LOCAL"),
    "socket": ("mangle", "-A PREROUTING -p udp -m socket"),
    "TPROXY": ("mangle", "-A PREROUTING -p tcp --dport 1 -j TPROXY --on-port 1 --tproxy-mark 1"),
    "recent": ("filter", "-A INPUT -m recent --set --name lab --rsource"),
    "limit": ("filter", "-A INPUT -m limit --limit 9/sec"),
    "hashlimit": ("filter", "-A INPUT -m hashlimit --hashlimit-above 99/sec --hashlimit-name lab -j DROP"),
    "physdev": ("filter", "-A FORWARD -m physdev --physdev-in nosuch"),
    "REJECT": ("filter", "-A INPUT -p tcp --dport 1 -j REJECT"),
    "TCPMSS": ("mangle", "-A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu"),
    "MARK": ("mangle", "-A PREROUTING -j MARK --set-mark 1"),
    "TRACE": ("raw", "-A PREROUTING -p udp --dport 99 -j TRACE"),
    "statistic": ("filter", "-A INPUT -m statistic --mode random --probability 0.5"),
    "empty nat": ("nat", ""),
}
NFT_ON = {
    "ct state untracked": chain("input", "filter", "ct state untracked accept"),
    "ct mark": chain("input", "filter", "ct mark 1 accept"),
    "ct expression in another expression": chain("input", "filter", "meta mark set ct mark"),
    "ct mark set": chain("input", "filter", "ct mark set 1"),
    "ct zone set": chain("prerouting", "raw", "tcp dport 1 ct zone set 1"),
    "ct count": chain("input", "filter", "tcp dport 1 ct count over 10 drop"),
    "ct in a chain that nothing reaches": "  chain lonely {\n ct state new accept\n  }\n",
    "ct helper object that nothing uses": '  ct helper ftp {\n type "ftp" protocol tcp\n  }\n',
    "ct timeout object that nothing uses": (
        "  ct timeout x {\n protocol tcp\n policy = { established : 9 }\n  }\n"
    ),
    "synproxy object that nothing uses": "  synproxy x {\n mss 1460\n wscale 7\n  }\n",
    "masquerade": chain("postrouting", "srcnat", "masquerade", kind="nat"),
    "dnat": chain("prerouting", "dstnat", "tcp dport 1 redirect to :2", kind="nat"),
    "synproxy": chain("input", "filter", "tcp dport 1 synproxy"),
}
NFT_OFF = {
    "notrack": chain("prerouting", "raw", "udp dport 99 notrack"),
    "plain accept": chain("input", "filter", "udp dport 9 accept"),
    "fib": chain("prerouting", "raw", "fib saddr . iif oif missing drop", "fib daddr type local accept"),
    "socket": chain("prerouting", "mangle", "socket transparent 1 accept"),
    "tproxy": chain("prerouting", "mangle", "meta l4proto tcp tproxy to :1"),
    "set of states that nothing asks": "  set s {\n type ct_state\n elements = { new }\n  }\n",
    "limit": chain("input", "filter", "limit rate 9/second accept"),
    "reject": chain("input", "filter", "tcp dport 1 reject"),
    "empty nat": chain("postrouting", "srcnat", kind="nat"),
}


def tracked(lab: Lab) -> dict[int, bool]:
    """Ask one question in each family: did it leave an entry?"""
    lab.host.run("conntrack", "-F")
    found: dict[int, bool] = {}
    before = 0
    for family in (4, 6):
        assert lab.client.udp(OWN[family], 9).ok
        after = lab.conntrack_count()
        found[family] = after > before
        before = after
    return found


@pytest.fixture
def quiet_lab(lab: Lab) -> Iterator[Lab]:
    """A lab with a server on UDP port 9, in which nothing is tracked before the test, nor after it."""
    lab.host.listen("udp", 9)
    assert tracked(lab) == {4: False, 6: False}
    yield lab
    lab.clear()
    assert tracked(lab) == {4: False, 6: False}, "deleting the last user switches tracking off again"


def text_of(rule: tuple[str, str]) -> str:
    table, line = rule
    own = [":lonely"] if "lonely" in line else []
    return xt(**{table: [*own, line] if line else []})


@pytest.mark.parametrize("family", (4, 6))
@pytest.mark.parametrize("what", XT_ON)
def test_switches_tracking_on_for_its_own_family(
    quiet_lab: Lab, xtables: str, what: str, family: int
) -> None:
    """Each of these switches tracking on while it exists, and only for the family whose rule it is."""
    text = text_of(XT_ON[what])
    quiet_lab.load(xtables, v4=text if family == 4 else "", v6=text if family == 6 else "")
    assert tracked(quiet_lab) == {4: family == 4, 6: family == 6}


@pytest.mark.parametrize("what", XT_OFF)
def test_does_not_switch_tracking_on(quiet_lab: Lab, xtables: str, what: str) -> None:
    """Rules like these run on a host that tracks nothing, and leave it so."""
    text = text_of(XT_OFF[what])
    quiet_lab.load(xtables, v4=text, v6=text)
    assert tracked(quiet_lab) == {4: False, 6: False}


def test_listing_nat_does_not_switch_tracking_on(quiet_lab: Lab, xtables: str) -> None:
    """`iptables -t nat -L` creates the table, but tracks nothing (old kernels did)."""
    for command in ("iptables", "ip6tables"):
        quiet_lab.host.run(xtables.replace("iptables", command), "-t", "nat", "-L")
    assert tracked(quiet_lab) == {4: False, 6: False}


@pytest.mark.parametrize("what", NFT_ON)
@pytest.mark.parametrize("family", ("ip", "ip6", "inet"))
def test_nft_switches_tracking_on_for_the_families_of_its_table(
    quiet_lab: Lab, what: str, family: str
) -> None:
    """Any ct expression, ct object, nat statement or synproxy tracks all families of its table."""
    quiet_lab.load_nft(nft(NFT_ON[what], family=family))
    assert tracked(quiet_lab) == {4: family != "ip6", 6: family != "ip"}


def test_nft_inet_tracks_both_even_behind_nfproto(quiet_lab: Lab) -> None:
    """In `table inet` a state match tracks IPv6 too, although `meta nfproto ipv4` stands before it."""
    quiet_lab.load_nft(nft(chain("input", "filter", "meta nfproto ipv4 ct state new accept")))
    assert tracked(quiet_lab) == {4: True, 6: True}


@pytest.mark.parametrize("what", NFT_OFF)
def test_nft_does_not_switch_tracking_on(quiet_lab: Lab, what: str) -> None:
    """These statements track nothing in either family."""
    quiet_lab.load_nft(nft(NFT_OFF[what]))
    assert tracked(quiet_lab) == {4: False, 6: False}


def test_the_usual_pair_makes_its_notrack_necessary(quiet_lab: Lab, backend: str) -> None:
    """`--ctstate UNTRACKED` in filter is what switches tracking on: what the NOTRACK beside it misses
    is tracked, while the NOTRACK alone tracked nothing."""
    raw = xt(raw=["-A PREROUTING -p udp --dport 99 -j CT --notrack"])
    raw_chain = chain("prerouting", "raw", "udp dport 99 notrack")
    quiet_lab.load_any(backend, v4=raw, nft=nft(raw_chain, family="ip"))
    assert tracked(quiet_lab) == {4: False, 6: False}
    quiet_lab.load_any(
        backend,
        v4=raw + xt(filter=["-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT"]),
        nft=nft(chain("input", "filter", "ct state untracked accept"), family="ip"),
    )
    assert tracked(quiet_lab) == {4: True, 6: False}
