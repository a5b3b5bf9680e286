"""The examples of the linter's rules as sources, and what their marked lines ask for."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notrack.cli.linted import subject
from notrack.lint.rule import MARK, Example
from notrack.lint.subject import Subject
from notrack.netfilter.host import UNKNOWN_HOST, Host, read_host
from notrack.ruleset.recognition import Format, recognised
from notrack.text.source import Source

_MARKED = re.compile(rf"\s*{MARK}\s*(NT\d{{3}}(?:\s*,\s*NT\d{{3}})*)\s*$")
_NAMES = {
    Format.NFT: "rules.nft",
    Format.NFT_JSON: "rules.json",
    Format.SHELL: "firewall.sh",
    Format.SITE: "site.spec",
}
Place = tuple[str, int, str]  # file, line, code


@dataclass(frozen=True, slots=True)
class Case:
    """An example without its marks, and the findings that the marks ask for."""

    sources: tuple[Source, ...]
    wanted: frozenset[Place]
    host: str | None

    @property
    def subject(self) -> Subject:
        host = UNKNOWN_HOST if self.host is None else read_host(self.host)
        return linted(self.sources, host)


def linted(sources: Sequence[Source], host: Host) -> Subject:
    """Some sources as one host, site files among them."""
    return subject(sources, host, None, lambda name: None)[0]


def case(example: Example) -> Case:
    texts = files(example.text)
    sources: list[Source] = []
    wanted: set[Place] = set()
    for name, text in texts.items():
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if found := _MARKED.search(line):
                wanted |= {(name, number, code.strip()) for code in found[1].split(",")}
                lines[number - 1] = line[: found.start()]
        sources.append(Source(name, "\n".join(lines) + "\n"))
    return Case(tuple(sources), frozenset(wanted), example.host)


def files(text: str | Mapping[str, str]) -> dict[str, str]:
    """Texts by their names, without the indentation that their lines share."""
    if isinstance(text, str):
        plain = textwrap.dedent(text).lstrip("\n")
        name = _NAMES.get(recognised(_MARKED.sub("", plain)) or Format.XTABLES, "rules.v4")
        return {name: plain}
    return {name: textwrap.dedent(one).lstrip("\n") for name, one in text.items()}
