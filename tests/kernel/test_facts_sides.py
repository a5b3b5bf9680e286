"""Facts: NOTRACK on one side only, and on loopback."""

from __future__ import annotations

from tests.kernel import packet
from tests.kernel.facts import OWN, STRANGER, state_rules, states
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

REQUEST, REPLY = "-p tcp --dport 80", "-p tcp --sport 80"


def untrack(
    lab: Lab,
    backend: str,
    *,
    requests: bool = False,
    replies: bool = False,
    loopback: bool = False,
    drop_invalid: bool = False,
) -> None:
    """Untrack the chosen sides of the service on port 80; count states in INPUT and OUTPUT."""
    raw = [f"-A PREROUTING {REQUEST} -j CT --notrack"] * requests
    raw += ["-A OUTPUT -o lo -j CT --notrack"] * loopback
    raw += [f"-A OUTPUT {REPLY} -j CT --notrack"] * replies
    states_in, states_out = state_rules(backend, "INPUT", REQUEST), state_rules(backend, "OUTPUT", REPLY)
    own = state_rules(backend, "OUTPUT", REQUEST, "own")
    drop = ["-A INPUT -m conntrack --ctstate INVALID -j DROP"] * drop_invalid
    lab.load_any(
        backend,
        v4=xt(raw=raw, filter=[*states_in, *states_out, *own, *drop]),
        nft=nft(
            chain("prerouting", "raw", *["tcp dport 80 notrack"] * requests),
            chain("output", "raw", *['oifname "lo" notrack'] * loopback, *["tcp sport 80 notrack"] * replies),
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", "tcp dport 80"),
                *["ct state invalid drop"] * drop_invalid,
            ),
            chain(
                "output",
                "filter",
                *state_rules(backend, "OUTPUT", "tcp sport 80"),
                *state_rules(backend, "OUTPUT", "tcp dport 80", "own"),
            ),
        ),
    )


def test_both_sides_leave_no_entry(lab: Lab, backend: str) -> None:
    """NOTRACK in PREROUTING and in OUTPUT: all is UNTRACKED, the table stays empty."""
    untrack(lab, backend, requests=True, replies=True)
    lab.host.listen("tcp", 80)
    assert lab.client.tcp(OWN[4], 80).ok
    assert set(states(lab, backend, "INPUT")) == set(states(lab, backend, "OUTPUT")) == {"UNTRACKED"}
    assert lab.conntrack_count() == 0


def test_prerouting_alone_tracks_the_replies_reversed(lab: Lab, backend: str) -> None:
    """With NOTRACK in PREROUTING alone the requests are UNTRACKED, the SYN/ACK leaves as INVALID, every
    later reply as NEW, and an entry appears anyway: reversed, `[UNREPLIED]`, source port 80."""
    untrack(lab, backend, requests=True)
    lab.host.listen("tcp", 80)
    conversation = lab.client.open(OWN[4], 80, src=STRANGER[4], sport=5555)
    assert conversation.state.outcome == "open"
    assert states(lab, backend, "OUTPUT") == {"INVALID": 1}
    assert conversation.ask().ok and conversation.ask().ok
    found = states(lab, backend, "OUTPUT")
    assert set(states(lab, backend, "INPUT")) == {"UNTRACKED"}
    assert found["INVALID"] == 1 and found["NEW"] >= 2 and set(found) == {"INVALID", "NEW"}
    (entry,) = lab.entries()
    assert (entry.src, entry.sport, entry.dst, entry.dport) == (OWN[4], 80, STRANGER[4], 5555)
    assert not entry.replied


def test_prerouting_alone_fills_the_table_just_the_same(lab: Lab, backend: str) -> None:
    """Fifty connections to a service that is untracked on one side leave fifty entries."""
    untrack(lab, backend, requests=True)
    lab.host.listen("tcp", 80)
    for _ in range(50):
        assert lab.client.tcp(OWN[4], 80).ok
    assert lab.conntrack_count() == 50


def test_output_alone_makes_the_client_invalid(lab: Lab, backend: str) -> None:
    """With NOTRACK in OUTPUT alone the SYN is NEW, every further client packet INVALID, and a SYN_SENT
    `[UNREPLIED]` entry stays for 120 seconds."""
    untrack(lab, backend, replies=True)
    lab.host.listen("tcp", 80)
    conversation = lab.client.open(OWN[4], 80)
    assert conversation.ask().ok
    found = states(lab, backend, "INPUT")
    assert found.pop("NEW") == 1 and found.pop("INVALID") >= 2 and not found
    assert set(states(lab, backend, "OUTPUT")) == {"UNTRACKED"}
    (entry,) = lab.entries()
    assert (entry.state, entry.replied) == ("SYN_SENT", False) and 110 <= entry.timeout <= 120


def test_output_alone_is_dead_under_invalid_drop(lab: Lab, backend: str) -> None:
    """The same with `INVALID -j DROP`: the handshake's last packet is dropped and nothing is answered.
    Untracked on both sides the service lives."""
    lab.host.listen("tcp", 80)
    untrack(lab, backend, replies=True, drop_invalid=True)
    assert lab.client.tcp(OWN[4], 80).outcome == "stalled"
    lab.clear()
    untrack(lab, backend, requests=True, replies=True, drop_invalid=True)
    assert lab.client.tcp(OWN[4], 80).ok


def test_loopback_is_half_tracked(lab: Lab, backend: str) -> None:
    """With symmetric rules a local client's SYN is tracked in OUTPUT (`--dport 80` is not matched
    there), the reply is not, and the client's later packets leave OUTPUT as INVALID."""
    untrack(lab, backend, requests=True, replies=True)
    lab.host.listen("tcp", 80)
    assert lab.host.tcp("127.0.0.1", 80, sport=5555).ok
    own = states(lab, backend, "own")
    assert own["NEW"] == 1 and own["INVALID"] >= 2 and set(own) == {"NEW", "INVALID"}
    assert set(states(lab, backend, "OUTPUT")) == {"UNTRACKED"}
    (entry,) = lab.entries()
    assert (entry.sport, entry.dport, entry.replied) == (5555, 80, False)


def test_notrack_on_output_to_lo_mends_loopback_alone(lab: Lab, backend: str) -> None:
    """`OUTPUT -o lo -j CT --notrack` untracks both directions and needs no rule in PREROUTING: what is
    untracked in OUTPUT stays so."""
    untrack(lab, backend, loopback=True)
    lab.host.listen("tcp", 80)
    assert lab.host.tcp("127.0.0.1", 80).ok
    for tag in ("own", "INPUT", "OUTPUT"):
        assert set(states(lab, backend, tag)) == {"UNTRACKED"}
    assert lab.conntrack_count() == 0
    lab.client.send(packet.tcp(STRANGER[4], 5555, OWN[4], 80, "S"))
    assert states(lab, backend, "INPUT")["NEW"] == 1  # from outside all is tracked as before


def test_notrack_leaves_a_packet_with_an_entry_alone(lab: Lab, backend: str) -> None:
    """A loopback packet that got its entry in OUTPUT keeps it: NOTRACK in PREROUTING does nothing."""
    untrack(lab, backend, requests=True)
    lab.host.listen("tcp", 80)
    assert lab.host.tcp("127.0.0.1", 80).ok
    assert states(lab, backend, "INPUT")["NEW"] == 1
    assert "UNTRACKED" not in states(lab, backend, "INPUT")
    assert lab.entries()[0].replied


def test_notrack_on_lo_stops_translation_in_output(lab: Lab, backend: str) -> None:
    """A port published by DNAT in nat OUTPUT is reached from the host itself; with `-o lo` untracked
    it is refused, and works again when what nat OUTPUT translates is left out."""
    lab.server.listen("tcp", 80)
    for exempt, loopback, outcome in ((0, 0, "answered"), (0, 1, "refused"), (1, 1, "answered")):
        lab.clear()
        raw = ["-A OUTPUT -p tcp --dport 8080 -j RETURN"] * exempt
        raw += ["-A OUTPUT -o lo -j CT --notrack"] * loopback
        lab.load_any(
            backend,
            v4=xt(raw=raw, nat=["-A OUTPUT -p tcp --dport 8080 -j DNAT --to-destination 10.8.0.5:80"]),
            nft=nft(
                chain(
                    "output", "raw", *["tcp dport 8080 accept"] * exempt, *['oifname "lo" notrack'] * loopback
                ),
                chain("output", "dstnat", "tcp dport 8080 dnat ip to 10.8.0.5:80", kind="nat"),
            ),
        )
        assert lab.host.tcp(OWN[4], 8080).outcome == outcome
