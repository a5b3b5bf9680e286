"""What the linter's fixes make of the examples loads: in a namespace that goes with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from notrack.lint.collection import collected
from notrack.lint.fixes import fixed
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.netfilter.host import UNKNOWN_HOST, read_host
from notrack.packets.address import Family
from notrack.ruleset.recognition import RULES, Format
from notrack.text.source import Source
from tests.kernel.conftest import demand_lab
from tests.lint.examples import Case, case, linted

# Of what a script calls, only the loaders are real.
LOADERS = ("iptables", "ip6tables", "iptables-restore", "ip6tables-restore", "nft")
STUBS = ("sysctl", "conntrack", "modprobe", "ipset", "ip", "service", "systemctl")


def mended(made: Case, rule: Rule) -> Subject | None:
    """The example after the fixes of its rule; None where they change nothing."""
    host = UNKNOWN_HOST if made.host is None else read_host(made.host)
    after = fixed(made.sources, lambda sources: linted(sources, host), (rule,), unsafe=True)
    if not any(one.changed for one in after):
        return None
    return linted([Source(one.source.name, one.text) for one in after], host)


def refusal(subject: Subject, folder: Path) -> str:
    """What the loaders have to say against the texts; empty if they take them all."""
    told: list[str] = []
    for document in subject.documents:
        text = document.source.text
        match document.format:
            case Format.XTABLES:
                for family in document.families:
                    name = "iptables" if family is Family.IPV4 else "ip6tables"
                    told.append(_run([f"{name}-restore", "--test"], text, folder))
            case Format.NFT:
                told.append(_run(["nft", "-c", "-f", "-"], text, folder))
            case Format.SHELL:
                told.append(_run(["sh", "-e", "-s"], text, folder))
    return "\n".join(one for one in told if one)


def _run(command: list[str], text: str, folder: Path) -> str:
    """Runs a command in a network namespace of its own, with stubs for whatever loads no rules."""
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(
        ["unshare", "-n", *command], input=text, capture_output=True, text=True, env=environment, timeout=60
    )
    return "" if done.returncode == 0 else done.stderr or f"{command[0]} ended with {done.returncode}"


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    demand_lab()
    folder = tmp_path_factory.mktemp("tools")
    for name in LOADERS:
        real = shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
        if real is not None:
            (folder / name).symlink_to(real)
    for name in STUBS:
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    return folder


EXAMPLES = [
    pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in collected() for one in rule.bad
]


@pytest.mark.kernel
@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_fixed_examples_load(rule: Rule, example: Example, tools: Path) -> None:
    made = case(example)
    after = mended(made, rule)
    if after is None:
        return
    told = refusal(after, tools)
    if rule.code in ("NT804",):  # what has no fix there does not load
        assert told.count("\n") <= refusal(made.subject, tools).count("\n")
    else:
        assert not told or refusal(made.subject, tools), told


@pytest.mark.kernel
def test_what_a_word_processor_broke_loads_again(tools: Path) -> None:
    (rule,) = (one for one in collected() if one.code == "NT803")
    for example in rule.bad:
        made = case(example)
        if not any(document.format in RULES for document in made.subject.documents):
            continue
        after = mended(made, rule)
        assert after is not None
        assert refusal(made.subject, tools)
        assert not refusal(after, tools)
