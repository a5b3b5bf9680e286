"""Which rules are told to be shadowed, and how many findings one cause gives."""

from __future__ import annotations

import pytest

from notrack.lint.rules.nt603_shadowed import RULE
from notrack.lint.shadows import Shadow, grouped, shadows
from notrack.lint.subject import Subject
from notrack.packets.budget import Budget
from notrack.ruleset.formats import read_all
from notrack.text.source import Source

FEW = Budget(nodes=500)


def subject(*rules: str, chains: str = "") -> Subject:
    text = "\n".join(["*filter", ":INPUT DROP [0:0]", chains, *rules, "COMMIT", ""])
    return Subject(read_all((Source("rules.v4", text),)))


def told(made: Subject) -> list[Shadow]:
    again = (one for _, _, one in made.duplicates)
    return list(grouped(shadows(made.ruleset, again).found))


def test_what_stands_behind_a_rule_for_everything_is_one_finding() -> None:
    ports = [f"-A INPUT -p tcp --dport {port} -j ACCEPT" for port in range(1, 31)]
    (one,) = told(subject("-A INPUT -i lo -j ACCEPT", "-A INPUT -j REJECT", *ports))
    assert len(one.behind) == 29
    assert one.entry.origin.text.endswith("--dport 1 -j ACCEPT")


@pytest.mark.parametrize(("number", "findings"), [(8, 8), (9, 1), (40, 1)])
def test_many_rules_behind_one_wide_rule_are_one_finding(number: int, findings: int) -> None:
    ports = [f"-A INPUT -p tcp --dport {port} -j DROP" for port in range(1, number + 1)]
    found = told(subject("-A INPUT -p tcp -j ACCEPT", *ports))
    assert len(found) == findings
    assert sum(1 + len(one.more) for one in found) == number


def test_a_chain_whose_jump_is_shadowed_is_not_told_rule_by_rule() -> None:
    rules = ("-A INPUT -p tcp -j DROP", "-A INPUT -p tcp --dport 80 -j web", "-A web -s 10.0.0.1 -j ACCEPT")
    (one,) = told(subject(*rules, chains=":web - [0:0]"))
    assert one.entry.origin.text == rules[1]


@pytest.mark.parametrize("chain", ["DOCKER", "KUBE-SERVICES", "f2b-sshd", "cali-INPUT", "ufw-before-input"])
def test_chains_that_a_program_writes_are_passed_over(chain: str) -> None:
    rules = (f"-A INPUT -j {chain}", f"-A {chain} -p tcp -j RETURN", f"-A {chain} -p tcp --dport 80 -j DROP")
    assert told(subject(*rules, chains=f":{chain} - [0:0]")) == []
    mine = [rule.replace(chain, "mine") for rule in rules]
    assert len(told(subject(*mine, chains=":mine - [0:0]"))) == 1


def test_the_operators_own_chain_of_docker_is_not_passed_over() -> None:
    rules = ("-A INPUT -j DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A DOCKER-USER -s 10.0.0.1 -j DROP")
    assert len(told(subject(*rules, chains=":DOCKER-USER - [0:0]"))) == 1


def test_what_is_not_decided_in_time_counts_as_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notrack.lint.shadows.Budget", lambda seconds: FEW)
    rules = [
        f"-A INPUT -s 10.{n}.0.0/16 -p tcp --dport {n} -m set --match-set s{n % 9} src -j ACCEPT"
        for n in range(1, 250)
    ]
    made = subject(*rules, "-A INPUT -j DROP", "-A INPUT -p tcp -j ACCEPT")
    again = (one for _, _, one in made.duplicates)
    result = shadows(made.ruleset, again)
    assert result.undecided
    assert result.found == []


def test_a_rule_for_two_families_is_dead_only_if_no_family_reaches_it() -> None:
    text = """
    table inet t {
      chain input {
        type filter hook input priority 0; policy drop;
        meta nfproto ipv4 accept
        tcp dport 22 drop
        ip saddr 10.0.0.1 tcp dport 22 drop
      }
    }
    """
    made = Subject(read_all((Source("rules.nft", text),)))
    lines = [fault.span.line for fault in RULE.check(made)]
    assert lines == [7]
