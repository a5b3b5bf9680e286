"""Facts: which CT comes first, where a helper takes effect, and SYNPROXY."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import OWN, STRANGER, state_rules, states
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

DATA_PORT = 40021
PASSIVE = f"227 Entering Passive Mode ({OWN[4].replace('.', ',')},{DATA_PORT >> 8},{DATA_PORT & 255}).\r\n"
HELPER = '  ct helper ftp {\n type "ftp" protocol tcp\n  }\n'


@pytest.mark.parametrize("first", ["--zone 3", "--helper ftp"])
def test_the_first_ct_wins(lab: Lab, xtables: str, first: str) -> None:
    """After `CT --zone` or `--helper` a NOTRACK does nothing; before them it wins."""
    setting = f"-A PREROUTING -p tcp --dport 21 -j CT {first}"
    notrack = "-A PREROUTING -p tcp --dport 21 -j CT --notrack"
    witness = xt(filter=state_rules(xtables, "INPUT", "-p tcp --dport 21"))
    for rules, state in (([setting, notrack], "NEW"), ([notrack, setting], "UNTRACKED")):
        lab.clear()
        lab.load(xtables, v4=xt(raw=rules) + witness)
        lab.client.send(packet.tcp(STRANGER[4], 5555, OWN[4], 21))
        assert states(lab, xtables, "INPUT") == {state: 1}


@pytest.mark.parametrize("order", [("ct zone set 3", "notrack"), ("notrack", "ct zone set 3")])
def test_nft_zone_beats_notrack_in_either_order(lab: Lab, order: tuple[str, str]) -> None:
    """In nft a zone is a template entry that replaces what `notrack` left."""
    lab.load_nft(
        nft(
            chain("prerouting", "raw", *(f"tcp dport 21 {statement}" for statement in order)),
            chain("input", "filter", *state_rules("nft", "", "tcp dport 21", "in")),
        )
    )
    lab.client.send(packet.tcp(STRANGER[4], 5555, OWN[4], 21))
    assert states(lab, "nft", "in") == {"NEW": 1}


def data_connection(lab: Lab) -> str:
    """Speak passive FTP: after the server's 227, what becomes of a connection to the data port?

    The helper reads a line only behind a line end that it has seen, so the server speaks twice.
    """
    lab.host.listen("tcp", 21, reply=PASSIVE.encode())
    lab.host.listen("tcp", DATA_PORT)
    control = lab.client.open(OWN[4], 21, src=STRANGER[4])
    assert control.ask(b"USER lab\r\n").ok and control.ask(b"PASV\r\n").ok
    return lab.client.tcp(OWN[4], DATA_PORT, src=STRANGER[4]).outcome


STATEFUL = (
    "ct state established,related accept",
    "tcp dport 21 ct state new accept",
)


@pytest.mark.parametrize(
    ("hook", "priority", "works"),
    [
        ("prerouting", -300, False),
        ("prerouting", -201, False),
        ("prerouting", -199, True),
        ("prerouting", -150, True),
        ("input", -10, True),
    ],
)
def test_nft_helper_works_from_behind_tracking_to_the_input_hook(
    lab: Lab, hook: str, priority: int, works: bool
) -> None:
    """`ct helper set` needs the entry: at -300 it does nothing, without a word; from -199 to the input
    hook the data connection is RELATED and comes through."""
    lab.load_nft(
        nft(
            HELPER,
            chain(hook, priority, 'tcp dport 21 ct helper set "ftp"'),
            chain("input", "filter", *STATEFUL, policy="drop"),
        )
    )
    assert data_connection(lab) == ("answered" if works else "dropped")


@pytest.mark.parametrize("helper", (False, True))
def test_iptables_helper_works_in_raw(lab: Lab, xtables: str, helper: bool) -> None:
    """`raw PREROUTING -j CT --helper ftp` is early and works all the same: it is a template for the
    entry. Without it nothing is RELATED (automatic assignment is gone)."""
    lab.load(
        xtables,
        v4=xt(
            raw=["-A PREROUTING -p tcp --dport 21 -j CT --helper ftp"] * helper,
            filter=[
                "INPUT DROP",
                "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                "-A INPUT -p tcp --dport 21 -m conntrack --ctstate NEW -j ACCEPT",
            ],
        ),
    )
    assert data_connection(lab) == ("answered" if helper else "dropped")


def test_data_connection_is_related(lab: Lab, backend: str) -> None:
    """What the helper expects is RELATED at its first packet."""
    lab.load_any(
        backend,
        v4=xt(
            raw=["-A PREROUTING -p tcp --dport 21 -j CT --helper ftp"],
            filter=state_rules(backend, "INPUT", f"-p tcp --syn --dport {DATA_PORT}"),
        ),
        nft=nft(
            HELPER,
            chain("prerouting", "mangle", 'tcp dport 21 ct helper set "ftp"'),
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", f"tcp flags & (syn | ack) == syn tcp dport {DATA_PORT}"),
            ),
        ),
    )
    assert data_connection(lab) == "answered"
    assert states(lab, backend, "INPUT") == {"RELATED": 1}


def test_untracked_control_connection_has_no_helper(lab: Lab, backend: str) -> None:
    """NOTRACK on port 21 takes the helper's eyes: the data connection is NEW, not RELATED."""
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p tcp --dport 21 -j CT --notrack",
                "-A PREROUTING -p tcp --dport 21 -j CT --helper ftp",
                "-A OUTPUT -p tcp --sport 21 -j CT --notrack",
            ],
            filter=state_rules(backend, "INPUT", f"-p tcp --syn --dport {DATA_PORT}"),
        ),
        nft=nft(
            HELPER,
            chain("prerouting", "raw", "tcp dport 21 notrack"),
            chain("output", "raw", "tcp sport 21 notrack"),
            chain("prerouting", "mangle", 'tcp dport 21 ct helper set "ftp"'),
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", f"tcp flags & (syn | ack) == syn tcp dport {DATA_PORT}"),
            ),
        ),
    )
    assert data_connection(lab) == "answered"
    assert states(lab, backend, "INPUT") == {"NEW": 1}


def test_synproxy_leaves_syns_alone_untracked_on_purpose(lab: Lab, backend: str) -> None:
    """SYNs untracked on one side, `INVALID,UNTRACKED -j SYNPROXY`, `tcp_loose` 0: a true connection
    ends up tracked and ESTABLISHED, and a flood of forged SYNs leaves no entry."""
    lab.host.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    options = "--sack-perm --timestamp --wscale 7 --mss 1460"
    lab.load_any(
        backend,
        v4=xt(
            raw=["-A PREROUTING -p tcp --syn --dport 80 -j CT --notrack"],
            filter=[
                f"-A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY {options}",
                "-A INPUT -m conntrack --ctstate INVALID -j DROP",
            ],
        ),
        nft=nft(
            chain("prerouting", "raw", "tcp dport 80 tcp flags & (fin | syn | rst | ack) == syn notrack"),
            chain(
                "input",
                "filter",
                "tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm",
                "ct state invalid drop",
            ),
        ),
    )
    service = lab.host.listen("tcp", 80)
    for port in range(1000, 1020):
        lab.client.send(packet.tcp("203.0.113.77", port, OWN[4], 80))
    assert lab.conntrack_count() == 0 and service.seen() == []
    conversation = lab.client.open(OWN[4], 80, src=STRANGER[4], sport=5555)
    assert conversation.ask().ok
    (entry,) = lab.entries()
    assert (entry.state, entry.src, entry.sport, entry.replied) == ("ESTABLISHED", STRANGER[4], 5555, True)
