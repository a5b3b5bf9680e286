"""Emitted rules, broken in one place: every way that matters, line by line, in both formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A text that differs from the emitted one in one thing; `what` says in which, `line` where (from 1)."""

    line: int
    what: str
    text: str


def mutants(text: str, target: str) -> Iterator[Mutant]:
    """Every single break of a target's text, each different from the text and from the others."""
    seen = {text}
    found = _nft(text) if target == "nft" else _restore(text)
    for mutant in found:
        if mutant.text not in seen:
            seen.add(mutant.text)
            yield mutant


Edit = tuple[str, str]  # what was changed, and the line that it makes


def _changed(
    lines: list[str], edits: Callable[[str], Iterator[Edit]], wanted: Callable[[str], bool]
) -> Iterator[Mutant]:
    for at, line in enumerate(lines):
        if wanted(line):
            for what, new in edits(line):
                yield Mutant(at + 1, what, _text([*lines[:at], new, *lines[at + 1 :]]))


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _moved(
    lines: list[str], wanted: Callable[[str], bool], alike: Callable[[str, str], bool]
) -> Iterator[Mutant]:
    """Rules dropped, and rules changed about with the next one."""
    for at, line in enumerate(lines):
        if not wanted(line):
            continue
        yield Mutant(at + 1, "dropped", _text(lines[:at] + lines[at + 1 :]))
        after = lines[at + 1] if at + 1 < len(lines) else ""
        if wanted(after) and alike(line, after):
            swapped = [*lines[:at], after, line, *lines[at + 2 :]]
            yield Mutant(at + 1, "swapped with the next", _text(swapped))


def _each(pattern: str, name: str, change: Callable[[str], str]) -> Callable[[str], Iterator[Edit]]:
    """One edit for each place where a pattern's first group is found."""
    compiled = re.compile(pattern)

    def edits(line: str) -> Iterator[Edit]:
        for found in compiled.finditer(line):
            new = change(found[1])
            if new != found[1]:
                start, end = found.span(1)
                yield f"{name}: {found[1]} became {new or 'nothing'}", line[:start] + new + line[end:]

    return edits


def _numbers(pattern: str, name: str) -> Callable[[str], Iterator[Edit]]:
    """Every number in what the pattern's first group holds, one higher."""
    compiled = re.compile(pattern)

    def edits(line: str) -> Iterator[Edit]:
        for found in compiled.finditer(line):
            for number in re.finditer(r"\d+", found[1]):
                start, end = (found.start(1) + at for at in number.span())
                new = str(int(number[0]) + 1 if int(number[0]) < 65535 else 1)
                yield f"{name}: {number[0]} became {new}", line[:start] + new + line[end:]

    return edits


def _other_address(word: str) -> str:
    """An address or prefix beside the one given."""
    address, slash, length = word.partition("/")
    if ":" in address:
        head, _, tail = address.rpartition(":")
        kept = (
            f"{head}:{int(tail or '0', 16) ^ 1:x}"
            if not slash
            else f"2001:db8:fefe{address[address.index(':') :][:0]}::"
        )
        return f"{kept}{slash}{length}"
    parts = address.split(".")
    at = 3 if not slash or int(length) > 24 else 2 if int(length) > 16 else 1 if int(length) > 8 else 0
    step = 1 if not slash or int(length) in (8, 16, 24, 32) else 1 << (8 * (at + 1) - int(length))
    parts[at] = str((int(parts[at]) ^ step) & 255)
    return ".".join(parts) + slash + length


def _wider(word: str) -> str:
    address, slash, length = word.partition("/")
    return f"{address}/{int(length) + 1}" if slash else f"{address}/{'127' if ':' in address else '31'}"


_ADDRESS = r"(?:\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]*[0-9a-f:])(?:/\d+)?"
_OTHER_STATE = {
    "ESTABLISHED": "NEW", "RELATED": "INVALID", "NEW": "ESTABLISHED", "INVALID": "NEW", "DNAT": "SNAT",
}  # fmt: skip


# iptables-restore.

_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)')
_VERDICTS = {
    "ACCEPT": "DROP", "DROP": "ACCEPT", "RETURN": "DROP", "CT --notrack": "ACCEPT", "REJECT": "ACCEPT",
    "MASQUERADE": "ACCEPT",
}  # fmt: skip
_RESTORE: tuple[Callable[[str], Iterator[Edit]], ...] = (
    _numbers(r"--(?:sport|dport|sports|dports) (\S+)", "port"),
    _numbers(r"--to-ports (\S+)", "translated port"),
    _numbers(r"--to-(?:source|destination) \S*:(\d\S*)$", "translated port"),
    _numbers(r"--icmp(?:v6)?-type (\d+)", "ICMP type"),
    _numbers(r"--(?:limit|hashlimit-upto|connlimit-above|connlimit-mask|limit-burst) (\d+)", "limit"),
    _each(rf" -[sd] ({_ADDRESS})", "address", _other_address),
    _each(rf" -[sd] ({_ADDRESS})", "prefix", _wider),
    _each(r" (-s) ", "side", lambda word: "-d"),
    _each(r" (-d) ", "side", lambda word: "-s"),
    _each(r"(--sport)", "side", lambda word: "--dport"),
    _each(r"(--dport)", "side", lambda word: "--sport"),
    _each(r"(! )(?:-[sd]|--dst-type|--tcp-flags|-p)", "negation", lambda word: ""),
    _each(r" (--tcp-flags)", "negation", lambda word: "! --tcp-flags"),
    _each(r"--tcp-flags (FIN,SYN,RST,ACK|RST,ACK|SYN,RST) ", "flags", lambda word: "SYN"),
    _each(r"--tcp-flags \S+ (\S+)", "flags", lambda word: "ACK" if word != "ACK" else "SYN"),
    _each(r"(?: -m \w+)?( (?:! )?--tcp-flags \S+ \S+)", "flags", lambda word: ""),
    _each(r"(-[io]) ", "interface's side", lambda word: "-o" if word == "-i" else "-i"),
    _each(r"-[io] (\S+)", "interface", lambda word: "eth9"),
    _each(r"( -[io] \S+)", "interface", lambda word: ""),
    _each(r"-p (\S+)", "protocol", lambda word: {"tcp": "udp", "udp": "tcp"}.get(word, "47")),
    _each(r"-m (tcp|udp) ", "protocol", lambda word: {"tcp": "udp", "udp": "tcp"}[word]),
    _each(r"--dst-type (\w+)", "kind", lambda word: "MULTICAST" if word == "LOCAL" else "LOCAL"),
    _each(r"( -m addrtype (?:! )?--dst-type \w+)", "kind", lambda word: ""),
    _each(r"--ctstate (?:\w+,)*(\w+)", "state", lambda word: _OTHER_STATE[word]),
    _each(r"--ctstate (\w+)", "state", lambda word: _OTHER_STATE[word]),
    _each(r"( -m conntrack --ctstate \S+)", "state", lambda word: ""),
    _each(r"-j (ACCEPT|DROP|RETURN|CT --notrack|REJECT|MASQUERADE)", "verdict", _VERDICTS.__getitem__),
    _each(r"-A (\w+)", "chain", lambda word: _OTHER_CHAIN.get(word, word)),
)  # fmt: skip
_OTHER_CHAIN = {"PREROUTING": "OUTPUT", "OUTPUT": "INPUT", "INPUT": "OUTPUT", "FORWARD": "INPUT"}


def _restore(text: str) -> Iterator[Mutant]:
    lines = text.splitlines()

    def edits(line: str) -> Iterator[Edit]:
        comment = _COMMENT.search(line)
        bare = line if comment is None else line[: comment.start()] + "\0" + line[comment.end() :]
        for edit in _RESTORE:
            for what, new in edit(bare.replace("\0", "")) if comment is None else edit(bare):
                yield what, new if comment is None else new.replace("\0", comment[0])

    def rule(line: str) -> bool:
        return line.startswith("-A ")

    yield from _moved(lines, rule, lambda one, other: one.split()[1] == other.split()[1])
    yield from _changed(lines, edits, rule)
    policies = _each(r"^:\w+ (ACCEPT|DROP) ", "policy", lambda word: "DROP" if word == "ACCEPT" else "ACCEPT")
    yield from _changed(lines, policies, lambda line: line.startswith(":"))
    tables = {"raw": "mangle", "filter": "mangle", "nat": "filter", "mangle": "filter"}
    yield from _changed(
        lines, _each(r"^\*(\w+)", "table", tables.__getitem__), lambda line: line.startswith("*")
    )


# nft.

_NFT: tuple[Callable[[str], Iterator[Edit]], ...] = (
    _numbers(r"(?:sport|dport) (\{[^}]*\}|\d\S*)", "port"),
    _numbers(r"(?:masquerade|redirect|snat|dnat).* to \S*:(\d\S*)", "translated port"),
    _numbers(r"icmp(?:v6)? type (\{[^}]*\}|\d+)", "ICMP type"),
    _numbers(r"(?:limit rate|burst|ct count over) (\d+)", "limit"),
    _each(rf"[^@\w:]({_ADDRESS})(?![\w:])", "address", _other_address),
    _each(rf"[^@\w:]({_ADDRESS})(?![\w:])", "prefix", _wider),
    _each(r"(saddr)", "side", lambda word: "daddr"),
    _each(r"(daddr) [^t]", "side", lambda word: "saddr"),
    _each(r"(sport)", "side", lambda word: "dport"),
    _each(r"(dport)", "side", lambda word: "sport"),
    _each(r"(?:local|daddr|saddr|\)) (!= )", "negation", lambda word: ""),
    _each(r"tcp flags & \(([^)]*)\)", "flags", lambda word: "syn"),
    _each(r"\) (?:==|!=) (syn|0x0)", "flags", lambda word: "ack"),
    _each(r"( tcp flags & \([^)]*\) (?:==|!=) \w+)", "flags", lambda word: ""),
    _each(r"\) (==|!=) ", "flags", lambda word: "==" if word == "!=" else "!="),
    _each(r"(iifname|oifname)", "interface's side", lambda word: ("o" if word[0] == "i" else "i") + word[1:]),
    _each(r'[io]ifname "([^"]*)"', "interface", lambda word: "eth9"),
    _each(
        r'((?:^\t*|(?<= ))[io]ifname (?:"[^"]*"|\{[^}]*\}) )',
        "interface",
        lambda word: "\t\t" if word[0] == "\t" else "",
    ),
    _each(r"(tcp|udp) [sd]port", "protocol", lambda word: "udp" if word == "tcp" else "tcp"),
    _each(r"meta l4proto (\w+)", "protocol", lambda word: "gre" if word != "gre" else "esp"),
    _each(r"fib daddr type (?:!= )?(\w+)", "kind", lambda word: "multicast" if word == "local" else "local"),
    _each(r"( fib daddr type (?:!= )?\w+)", "kind", lambda word: ""),
    _each(r"ct state (?:\w+,)*(\w+)", "state", lambda word: _OTHER_STATE[word.upper()].lower()),
    _each(r"(ct state \S+ )", "state", lambda word: ""),
    _each(r"(ct status dnat )", "state", lambda word: ""),
    _each(r"(notrack )", "verdict", lambda word: ""),
    _each(r" (accept)(?: comment|$)", "verdict", lambda word: "drop"),
    _each(r" (drop|return)(?: comment|$)", "verdict", lambda word: "accept"),
    _each(r"(reject)", "verdict", lambda word: "accept #"),
    _each(r" (masquerade) (?:comment|$)", "verdict", lambda word: "accept"),
)  # fmt: skip
_NFT_BASE: tuple[Callable[[str], Iterator[Edit]], ...] = (
    _each(r"policy (\w+)", "policy", lambda word: "drop" if word == "accept" else "accept"),
    _each(r"hook (\w+)", "hook", lambda word: {"input": "forward", "prerouting": "input"}.get(word, "input")),
    _each(r"priority ([\w-]+)", "table", lambda word: "-150" if word in ("raw", "filter") else "raw"),
)
_NFT_COMMENT = re.compile(r' comment "[^"]*"')


def _nft(text: str) -> Iterator[Mutant]:
    lines = text.splitlines()

    def edits(line: str) -> Iterator[Edit]:
        comment = _NFT_COMMENT.search(line)
        bare = line if comment is None else line[: comment.start()]
        tail = "" if comment is None else comment[0]
        for edit in _NFT:
            for what, new in edit(bare):
                yield what, new + tail

    def rule(line: str) -> bool:
        words = line.split()
        return (
            line.startswith("\t\t")
            and bool(words)
            and words[0] not in _NO_RULES
            and not line.endswith((",", "}"))
        )

    def element(line: str) -> bool:
        return line.startswith("\t\t\t")

    yield from _moved(lines, rule, lambda one, other: True)
    yield from _changed(lines, edits, rule)
    yield from _moved(lines, lambda line: element(line) and line.endswith(","), lambda one, other: False)
    yield from _changed(lines, _element, element)
    for edit in _NFT_BASE:
        yield from _changed(lines, edit, lambda line: line.startswith("\t\ttype ") and " hook " in line)


_NO_RULES = frozenset(("type", "elements", "flags", "size", "timeout", "}"))


def _element(line: str) -> Iterator[Edit]:
    yield from _each(rf"[^@\w:]({_ADDRESS})(?![\w:])", "address", _other_address)(line)
    yield from _numbers(r"(?:tcp|udp) \. ([\d-]+)", "port")(line)
    yield from _each(r"(tcp|udp) \.", "protocol", lambda word: "udp" if word == "tcp" else "tcp")(line)
