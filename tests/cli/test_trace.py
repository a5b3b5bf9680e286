"""`notrack trace` as scripts and people use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import notrack

GATEWAY = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp --dport 53 -j CT --notrack
COMMIT
*nat
-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.8.0.5:8080
-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:web - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp --dport 53 -j ACCEPT
-A INPUT -p tcp --dport 22 -m limit --limit 3/min -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -j web
-A web -p tcp -d 10.8.0.5 --dport 8080 -j ACCEPT
-A FORWARD -i eth1 -j ACCEPT
COMMIT
"""
DNS = "udp 203.0.113.9:4000 > 192.0.2.80:53 in eth0 to host"
SSH = "tcp 203.0.113.9:4000 > 192.0.2.80:22 in eth0 to host"
WEB = "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 out eth1"
HOST = {
    "schema_version": 1,
    "interfaces": [
        {"name": "eth0", "addresses": ["192.0.2.80/24", "2001:db8:80::1/64"]},
        {"name": "eth1", "addresses": ["10.8.0.1/24"]},
    ],
}


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.v4"
    path.write_text(GATEWAY)
    return str(path)


def traced(*words: str) -> Any:
    done = notrack("trace", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def places(found: Any) -> list[tuple[str, str, str, str]]:
    return [(step["hook"], step["table"], step["chain"], step["result"]) for step in found["steps"]]


def test_the_promised_keys(rules: str) -> None:
    found = traced(rules, DNS)
    assert (found["schema_version"], found["verdict"], found["tracking"]) == (1, "accept", "untracked")
    assert places(found) == [
        ("prerouting", "raw", "PREROUTING", "untracked"),
        ("prerouting", "raw", "PREROUTING", "policy accept"),
        ("input", "filter", "INPUT", "accept"),
    ]
    assert found["steps"][0] == {
        "hook": "prerouting",
        "table": "raw",
        "chain": "PREROUTING",
        "file": rules,
        "line": 3,
        "rule": "-A PREROUTING -p udp --dport 53 -j CT --notrack",
        "result": "untracked",
    }
    assert found["decided_by"]["line"] == 14 and found["hook"] is None


def test_a_drop_says_where(rules: str) -> None:
    found = traced(rules, "tcp 203.0.113.9:4000 > 192.0.2.80:25 in eth0 to host")
    assert (found["verdict"], found["hook"], found["tracking"]) == ("drop", "input", "new")
    assert found["decided_by"]["result"] == "policy drop" and found["decided_by"]["line"] == 10


def test_what_was_assumed_and_what_else_it_would_be(rules: str) -> None:
    found = traced(rules, SSH)
    fact = "-m limit --limit 3/min"
    assert found["verdict"] == "drop"
    assert found["assumed"] == [{"fact": fact, "holds": False, "otherwise": "accept"}]
    held = traced(rules, SSH, "--holds", "limit")
    assert held["verdict"] == "accept"
    assert held["assumed"] == [{"fact": fact, "holds": True, "otherwise": "drop"}]


def test_states_of_running_flows(rules: str) -> None:
    ack = SSH + " flags ack"
    assert traced(rules, ack, "--state", "established")["verdict"] == "accept"
    assert traced(rules, ack, "--state", "invalid")["verdict"] == "drop"


def test_translation_and_jumps(rules: str) -> None:
    found = traced(rules, WEB)
    assert found["verdict"] == "accept"
    assert found["translated"] == {"source": "203.0.113.9:4000", "destination": "10.8.0.5:8080"}
    chains = [(step["chain"], step["result"]) for step in found["steps"] if step["table"] == "filter"]
    assert chains == [("FORWARD", "jump web"), ("web", "accept")]


def test_the_answer_of_a_translated_flow_is_translated_back(rules: str) -> None:
    reply = traced(rules, WEB, "--reply")["reply"]
    assert (reply["packet"]["source"], reply["packet"]["source_port"]) == ("10.8.0.5", 8080)
    assert (reply["packet"]["in"], reply["packet"]["out"]) == ("eth1", "eth0")
    assert reply["packet"]["flags"] == ["syn", "ack"]
    assert (reply["verdict"], reply["tracking"]) == ("accept", "established")
    assert reply["translated"] == {"source": "192.0.2.80:80", "destination": "203.0.113.9:4000"}
    assert ("postrouting", "translation back") in [(s["hook"], s["table"]) for s in reply["steps"]]


def test_the_answer_of_a_source_translated_flow_comes_to_the_gateway(rules: str) -> None:
    reply = traced(rules, "--reply", "tcp 10.8.0.5:4000 > 9.9.9.9:443 in eth1 out eth0")["reply"]
    assert (reply["packet"]["destination"], reply["packet"]["destination_port"]) == ("192.0.2.80", 4000)
    assert reply["translated"] == {"source": "9.9.9.9:443", "destination": "10.8.0.5:4000"}
    assert reply["verdict"] == "accept"


def test_an_answer_that_no_rule_untracks_is_a_new_flow(rules: str) -> None:
    """The one-sided NOTRACK: the question is untracked, the answer makes an entry."""
    reply = traced(rules, DNS, "--reply")["reply"]
    assert (reply["way"], reply["tracking"]) == ("local out", "new")


def test_no_answer_comes_to_what_was_dropped(rules: str) -> None:
    assert traced(rules, SSH, "--reply")["reply"] is None
    done = notrack("trace", rules, SSH, "--reply")
    assert "No answer comes" in done.stdout


def test_text_tells_the_way_the_reason_and_the_place(rules: str) -> None:
    done = notrack("trace", rules, DNS)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == DNS
    order = [lines.index(word) for word in ("prerouting", "  connection tracking: UNTRACKED", "input")]
    assert order == sorted(order)
    assert f"ACCEPTED, by filter INPUT ({rules}:14): -A INPUT -p udp --dport 53 -j ACCEPT" in lines
    assert (
        f"Not tracked: raw PREROUTING ({rules}:3): -A PREROUTING -p udp --dport 53 -j CT --notrack" in lines
    )


def test_text_of_a_drop(rules: str) -> None:
    done = notrack("trace", rules, SSH)
    assert f"DROPPED in input, by the policy of filter INPUT ({rules}:10)" in done.stdout
    assert "Assumed: `-m limit --limit 3/min` does not hold; otherwise: ACCEPTED" in done.stdout
    assert "Tracked as NEW (tracking is on because of" in done.stdout


def test_rules_that_need_no_tracking(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("*filter\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n")
    found = traced(str(tmp_path / "x"), SSH)
    assert (found["verdict"], found["tracking"]) == ("accept", "untracked")
    assert "so it is off" in notrack("trace", str(tmp_path / "x"), SSH).stdout


# Hosts.


def test_without_facts_it_asks_where_the_packet_goes(rules: str) -> None:
    done = notrack("trace", rules, "tcp 203.0.113.9:4000 > 192.0.2.80:25 in eth0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "to host" in done.stderr and "out" in done.stderr and "notrack facts" in done.stderr


def test_facts_tell_where_the_packet_goes(rules: str, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(json.dumps(HOST))
    host = ("--host", str(tmp_path / "host.json"))
    assert traced(rules, *host, "tcp 203.0.113.9:4000 > 192.0.2.80:25 in eth0")["way"] == "local in"
    assert traced(rules, *host, "tcp 192.0.2.80:4000 > 10.8.0.1:25")["way"] == "loopback"


@pytest.mark.parametrize("text", ["{", "[]", '{"interface": []}', '{"tcp_loose": 5}', ""])
def test_faulty_facts_are_told(rules: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    done = notrack("trace", rules, "--host", str(tmp_path / "host.json"), DNS)
    assert (done.returncode, done.stdout) == (3, "")
    assert "host.json" in done.stderr and "Traceback" not in done.stderr


# Files.


def test_several_files_are_one_host(rules: str, tmp_path: Path) -> None:
    nft = tmp_path / "more.nft"
    nft.write_text(
        "table inet t {\n  chain c {\n    type filter hook input priority -10; policy accept;\n"
        "    udp dport 53 drop\n  }\n}\n"
    )
    found = traced(rules, str(nft), DNS)
    assert (found["verdict"], found["hook"]) == ("drop", "input")
    assert found["decided_by"]["file"] == str(nft) and found["decided_by"]["line"] == 4


def test_both_families_side_by_side(rules: str, tmp_path: Path) -> None:
    six = tmp_path / "rules.v6"
    six.write_text("*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
    found = traced(rules, str(six), "udp [2001:db8::9]:4000 > [2001:db8:80::1]:53 in eth0 to host")
    assert (found["verdict"], found["tracking"]) == ("drop", "untracked")
    assert [step["file"] for step in found["steps"]] == [str(six)]


def test_standard_input(rules: str) -> None:
    done = notrack("trace", "-", DNS, "--format", "json", stdin=GATEWAY)
    assert json.loads(done.stdout)["verdict"] == "accept"
    assert json.loads(done.stdout)["steps"][0]["file"] == "-"


def test_includes_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.nft").write_text('include "./parts/*.nft"\n')
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "b.nft").write_text(
        "table ip t {\n  chain c {\n    type filter hook input priority 0; policy drop;\n  }\n}\n"
    )
    assert traced(str(tmp_path / "a.nft"), DNS)["verdict"] == "drop"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (None, 3),
        ("lorem ipsum\n", 3),
        ("net.ipv4.ip_forward = 1\n", 3),
        ("*filter\n-A INPUT --nonsense\nCOMMIT\n", 3),
        ("table ip t {\n chain c {\n  blah blah blah ;;; \n", 3),
        ("*filter\n-A INPUT -j NOBODYKNOWS\nCOMMIT\n", 0),
        ("*filter\n:INPUT DROP\n", 0),
    ],
)
def test_files_that_cannot_be_understood(tmp_path: Path, text: str | None, status: int) -> None:
    path = tmp_path / "rules"
    if text is not None:
        path.write_text(text)
    done = notrack("trace", str(path), DNS)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and done.stderr
    assert (done.stdout == "") == (status != 0)


def test_octets_that_are_no_text(tmp_path: Path) -> None:
    text = b"*filter\n-A INPUT -m comment --comment \xff\x1b[31mred -j DROP\nCOMMIT\n"
    (tmp_path / "x").write_bytes(text)
    done = notrack("trace", str(tmp_path / "x"), DNS)
    assert "Traceback" not in done.stderr and done.returncode == 0
    assert "\x1b" not in done.stdout and "red -j DROP" in done.stdout
    assert traced(str(tmp_path / "x"), DNS)["verdict"] == "drop"


@pytest.mark.parametrize(
    "packet", ["", "tcp", "tcp 1.2.3.4:5 > 6.7.8.9:80 on eth0", "icmp ech 1.1.1.1 > 2.2.2.2", "rules.v4"]
)
def test_a_wrong_packet_is_wrong_usage(rules: str, packet: str) -> None:
    done = notrack("trace", rules, packet)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr and done.stderr


def test_a_packet_alone_is_wrong_usage() -> None:
    assert notrack("trace", DNS).returncode == 2


def test_an_unknown_target_may_do_anything(tmp_path: Path) -> None:
    (tmp_path / "x.v4").write_text("*filter\n-A INPUT -j NOBODYKNOWS\nCOMMIT\n")
    found = traced(str(tmp_path / "x.v4"), DNS)
    assert found["verdict"] == "accept"
    assert "drop" in [one["otherwise"] for one in found["assumed"]]
