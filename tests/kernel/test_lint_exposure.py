"""What findings about translation and neighbour discovery say, seen with real packets."""

from __future__ import annotations

import pytest

from notrack.lint.collection import collected, named
from notrack.lint.engine import lint
from notrack.lint.fixes import fixed
from notrack.lint.subject import Subject
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.kernel.facts import LAN_OWN, OWN, STRANGER
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt


def load(lab: Lab, backend: str, *, v4: str = "", v6: str = "", native: str = "") -> set[str]:
    """Loads the text for the backend; the codes that the linter finds in it."""
    lab.load_any(backend, v4=v4, v6=v6, nft=native)
    texts = {"rules.nft": native} if backend == "nft" else {"rules.v4": v4, "rules.v6": v6}
    sources = [Source(name, text) for name, text in texts.items() if text]
    return {one.code for one in lint(Subject(read_all(sources)), collected()).findings}


@pytest.mark.parametrize("untracked", (False, True))
def test_answers_of_a_redirected_port(lab: Lab, backend: str, untracked: bool) -> None:
    """NT401: the answers to a redirected flow leave from the port it was redirected to; untracked they are
    never translated back, while whoever asks that port itself is served."""
    pair = [
        "-A PREROUTING -p tcp --dport 8080 -j CT --notrack",
        "-A OUTPUT -p tcp --sport 8080 -j CT --notrack",
    ]
    codes = load(
        lab,
        backend,
        v4=xt(raw=pair * untracked, nat=["-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080"]),
        native=nft(
            chain("prerouting", "raw", *["tcp dport 8080 notrack"] * untracked),
            chain("output", "raw", *["tcp sport 8080 notrack"] * untracked),
            chain("prerouting", "dstnat", "tcp dport 80 redirect to :8080", kind="nat"),
        ),
    )
    lab.host.listen("tcp", 8080)
    assert lab.client.tcp(OWN[4], 8080).ok
    assert lab.client.tcp(OWN[4], 80).ok is not untracked
    assert ("NT401" in codes) is untracked


@pytest.mark.parametrize("apart", (False, True))
def test_a_low_udp_port_collides(lab: Lab, backend: str, apart: bool) -> None:
    """NT402: a masquerade keeps source port 53, to which the gateway's own untracked name server listens:
    the name server behind it that asks from there gets no answer, unless translated flows get other ports."""
    ports = " --to-ports 1024-32767" if apart else ""
    codes = load(
        lab,
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p udp --dport 53 -m addrtype --dst-type LOCAL -j CT --notrack",
                "-A OUTPUT -p udp --sport 53 -j CT --notrack",
            ],
            nat=[f"-A POSTROUTING -o eth0 -p udp -j MASQUERADE{ports}"],
        ),
        native=nft(
            chain("prerouting", "raw", "udp dport 53 fib daddr type local notrack"),
            chain("output", "raw", "udp sport 53 notrack"),
            chain(
                "postrouting",
                "srcnat",
                'oifname "eth0" meta l4proto udp masquerade' + (" to :1024-32767" if apart else ""),
                kind="nat",
            ),
        ),
    )
    lab.client.listen("udp", 53, address=STRANGER[4])
    assert lab.server.udp(STRANGER[4], 53, sport=5353).ok
    assert lab.server.udp(STRANGER[4], 53, sport=53).ok is apart
    assert ("NT402" in codes) is not apart


@pytest.mark.parametrize("local", (False, True))
def test_a_forwarded_connection_is_half_tracked(lab: Lab, backend: str, local: bool) -> None:
    """NT403: a router's rule for its own port 80 takes the requests that it forwards; the answers are INVALID
    to the state rule in FORWARD."""
    scope, native_scope = (" -m addrtype --dst-type LOCAL", " fib daddr type local") if local else ("", "")
    codes = load(
        lab,
        backend,
        v4=xt(
            raw=[
                f"-A PREROUTING -p tcp --dport 80{scope} -j CT --notrack",
                "-A OUTPUT -p tcp --sport 80 -j CT --notrack",
            ],
            filter=[
                "FORWARD DROP",
                "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A FORWARD -i eth1 -o eth0 -j ACCEPT",
            ],
        ),
        native=nft(
            chain("prerouting", "raw", f"tcp dport 80{native_scope} notrack"),
            chain("output", "raw", "tcp sport 80 notrack"),
            chain(
                "forward",
                "filter",
                "ct state { established, related } accept",
                'iifname "eth1" oifname "eth0" accept',
                policy="drop",
            ),
        ),
    )
    lab.client.listen("tcp", 80, address=STRANGER[4])
    assert lab.server.tcp(STRANGER[4], 80).ok is local
    assert ("NT403" in codes) is not local


@pytest.mark.parametrize("dropped", (False, True))
def test_untracked_dropped_ends_ipv6(lab: Lab, backend: str, dropped: bool) -> None:
    """NT306: with untracked packets dropped, nobody finds this host's link address any more."""
    codes = load(
        lab,
        backend,
        v6=xt(
            filter=["-A INPUT -m conntrack --ctstate UNTRACKED -j DROP"] * dropped + ["-A INPUT -j ACCEPT"]
        ),
        native=nft(chain("input", "filter", *["ct state untracked drop"] * dropped, "ct state new accept")),
    )
    for node in (lab.host, lab.server):
        node.run("ip", "-6", "neigh", "flush", "all")
    assert lab.server.ping(LAN_OWN[6]) is not dropped
    assert ("NT306" in codes) is dropped


def fixed_text(name: str, text: str, code: str) -> str:
    """A text after the fixes of one rule."""
    rule = named(code)
    assert rule is not None
    (after,) = fixed([Source(name, text)], lambda sources: Subject(read_all(sources)), (rule,), unsafe=True)
    return after.text


@pytest.mark.parametrize("mended", (False, True))
def test_answers_by_source_port(lab: Lab, backend: str, mended: bool) -> None:
    """NT303: whoever sends from port 53 or 80 reaches every port; mended he does not, and the answers to the
    host's own questions still come. Nothing is tracked."""
    v4 = xt(
        filter=["INPUT DROP", "-A INPUT -p udp --sport 53 -j ACCEPT", "-A INPUT -p tcp --sport 80 -j ACCEPT"]
    )
    native = nft(
        chain("input", "filter", "udp sport 53 accept", "tcp sport 80 accept", policy="drop"), family="ip"
    )
    if mended:
        v4, native = fixed_text("rules.v4", v4, "NT303"), fixed_text("rules.nft", native, "NT303")
    codes = load(lab, backend, v4=v4, native=native)
    lab.host.listen("udp", 161)
    lab.host.listen("tcp", 22)
    lab.client.listen("udp", 53, address=STRANGER[4])
    lab.client.listen("tcp", 80, address=STRANGER[4])
    assert lab.client.udp(OWN[4], 161, src=STRANGER[4], sport=53).ok is not mended
    assert lab.client.tcp(OWN[4], 22, src=STRANGER[4], sport=80).ok is not mended
    assert lab.host.udp(STRANGER[4], 53).ok
    assert lab.host.tcp(STRANGER[4], 80).ok
    assert ("NT303" in codes) is not mended
