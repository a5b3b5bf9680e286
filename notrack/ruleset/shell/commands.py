"""The commands that a script calls: which of them touch the firewall, and what each does to it."""

from __future__ import annotations

import re
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.shell.actions import Guard, NftText, Other, RestoreText, XtablesCommand
from notrack.ruleset.shell.arguments import ArgumentReader
from notrack.ruleset.shell.builtins import BUILTINS, QUIET
from notrack.ruleset.shell.derived import Derived, Field, Piece, Pieces
from notrack.ruleset.shell.ground import Loader
from notrack.ruleset.shell.interpreter import Interpreter
from notrack.ruleset.shell.state import Status
from notrack.ruleset.shell.texts import ipset_text, nft_text, restore_text
from notrack.ruleset.shell.wrappers import unwrapped
from notrack.ruleset.xtables.tree import Command
from notrack.text.diagnostic import Diagnostic, Related, Severity
from notrack.text.nearest import distance
from notrack.text.source import Span

_XTABLES: Final = re.compile(r"(ip6?|ip46)tables(?:-(legacy|nft))?(?:-(restore|save|apply))?(?:-translate)?")
_MULTI: Final = re.compile(r"xtables(?:-(legacy|nft))?-multi")
_FAMILIES: Final = {
    "ip": (Family.IPV4,),
    "ip6": (Family.IPV6,),
    "ip46": (Family.IPV4, Family.IPV6),
}
_KINDS: Final = {
    "ipset": "ipset",
    "conntrack": "conntrack",
    "sysctl": "sysctl",
    **dict.fromkeys(("modprobe", "insmod", "rmmod", "depmod"), "module"),
    **dict.fromkeys(
        ("service", "systemctl", "rc-service", "invoke-rc.d", "initctl", "netfilter-persistent"), "service"
    ),
    **dict.fromkeys(
        ("firewall-cmd", "ufw", "shorewall", "shorewall6", "ferm", "fail2ban-client", "csf", "firehol"),
        "frontend",
    ),
    **dict.fromkeys(("ebtables", "arptables", "ip", "tc", "brctl", "ifconfig", "route"), "query"),
}
_ELSEWHERE: Final = frozenset(
    ("ssh", "docker", "podman", "lxc", "lxc-attach", "nsenter", "chroot", "unshare", "rsh")
)
_NFT_QUERIES: Final = frozenset(("list", "monitor", "describe", "get", "export"))
_NFT_FLAGS: Final = re.compile(r"-[ahjnNopsSTtueyv]*([cfID])?")
_NAMES: Final = ("iptables", "ip6tables")


class Firewall:
    """The commands of one script. `name` is that of its source."""

    def __init__(self, name: str, include: Loader | None) -> None:
        self.name = name
        self.include = include
        self.arguments = ArgumentReader(name)

    def dispatch(self, shell: Interpreter, fields: list[Field], span: Span) -> Status:
        """Runs one command, or says that it is not evaluated."""
        inner = unwrapped(fields)
        if not inner:
            return True
        status = self._bare(shell, inner, span)
        if fields[0].literal == "exec":
            return shell.leave("exit", 1, status, span)
        return status

    def _bare(self, shell: Interpreter, fields: list[Field], span: Span) -> Status:
        name = _name(fields[0])
        if name is None:
            shell.say(Severity.WARNING, f"not evaluated: which command `{fields[0].span.text[:60]}` is", span)
            shell.emit(None, span)
            return shell.undecided(span)
        if name in BUILTINS:
            return BUILTINS[name](shell, [Field.of(name, fields[0].span), *fields[1:]], span)
        status = self._known(shell, name, fields, span)
        return self._stranger(shell, name, fields, span) if status is None else status

    def setting(self, shell: Interpreter, path: str, pieces: Pieces | None, span: Span) -> Status:
        """`echo 1 > /proc/sys/...`."""
        text = None if pieces is None else "".join(piece.text for piece in pieces if piece.known).strip()
        if text is None:
            shell.report(f"not evaluated: what is written to {path}", span)
        words = (path,) if text is None else (path, text)
        return self._other(shell, "setting", words, span)

    def _known(self, shell: Interpreter, name: str, fields: list[Field], span: Span) -> Status | None:
        """The status of a command that matters; None for any other."""
        multi = _MULTI.fullmatch(name)
        if multi is not None and len(fields) > 1:
            return self._known(shell, fields[1].text, fields[1:], span)
        tables = _XTABLES.fullmatch(name)
        if tables is not None:
            return self._tables(shell, tables, fields[1:], span)
        if name == "nft":
            return self._nft(shell, fields[1:], span)
        if name in _ELSEWHERE or (name == "ip" and len(fields) > 2 and fields[1].text in ("netns", "vrf")):
            if any(_firewall_word(field) for field in fields):
                message = (
                    f"not evaluated: `{fields[0].text}` runs this elsewhere, not on this host's own tables"
                )
                shell.say(Severity.WARNING, message, span)
                shell.emit(None, span)
                return self._other(shell, "elsewhere", tuple(field.text for field in fields), span)
            return None
        if name in _KINDS:
            if _KINDS[name] == "frontend":
                shell.say(Severity.WARNING, f"not evaluated: what `{name}` does to the rules", span)
            words = (name, *(field.text for field in fields[1:]))
            text = ipset_text(shell, self.name, fields, span) if name == "ipset" else None
            shell.emit(None, span)
            return self._other(shell, _KINDS[name], words, span, text)
        return None

    def _stranger(self, shell: Interpreter, name: str, fields: list[Field], span: Span) -> Status:
        shell.emit(None, span)
        if name in QUIET:
            return shell.undecided(span)
        near = next((known for known in _NAMES if 0 < distance(name, known, 2) <= 2), None)
        if near is not None and len(fields) > 1:
            shell.say(
                Severity.WARNING, f"no command `{name[:40]}`", fields[0].span, f"did you mean `{near}`?"
            )
        elif any(_firewall_word(field) for field in fields[1:]):
            message = f"not evaluated: what `{name[:40]}` does with a firewall command"
            shell.say(Severity.WARNING, message, span)
        else:
            shell.report(f"not evaluated: `{name[:40]}`", fields[0].span)
        return shell.undecided(span)

    def _other(
        self, shell: Interpreter, kind: str, words: tuple[str, ...], span: Span, text: Derived | None = None
    ) -> Guard:
        guard = shell.record(Other(shell.next_number, span, shell.guards(), False, False, kind, words, text))
        return Guard(shell.condition(span), guard.negated)

    # iptables.

    def _tables(self, shell: Interpreter, name: re.Match[str], fields: list[Field], span: Span) -> Status:
        families, backend, what = _FAMILIES[name.group(1)], name.group(2), name.group(3)
        if what == "save":
            shell.emit(None, span)
            return shell.undecided(span)
        if what == "apply":
            shell.say(Severity.WARNING, f"not evaluated: what `{name.group()}` loads", span)
            return self._other(shell, "frontend", (name.group(), *(field.text for field in fields)), span)
        status: Status = True
        for family in families:
            if what == "restore":
                made = restore_text(shell, self.arguments, fields, family, backend, span)
                status = shell.record(made) if isinstance(made, RestoreText) else made
            else:
                status = self._command(shell, fields, family, backend, span)
        return status

    def _command(
        self, shell: Interpreter, fields: list[Field], family: Family, backend: str | None, span: Span
    ) -> Status:
        if all(field.literal in ("-V", "--version", "-h", "--help") for field in fields):
            return bool(fields)
        found = self.arguments.read(fields, family)
        for diagnostic in found.diagnostics:
            shell.tell(diagnostic)
        if isinstance(found.line, Command) and found.line.name in ("-L", "-S"):
            shell.emit(None, span)
        unclear = [field for field in fields if not field.known]
        if found.line is None:
            shell.say(Severity.WARNING, "not evaluated: which rule or chain this is about", span)
        for piece in [piece for field in unclear for piece in field.pieces if not piece.known]:
            message = f"not evaluated: what `{piece.use.text[:60]}` stands for here"
            shell.tell(Diagnostic(Severity.WARNING, message, piece.use, related=_assigned(piece)))
        action = XtablesCommand(
            shell.next_number,
            span,
            shell.guards(),
            shell.fatal,
            False,
            family,
            backend,
            found.table or "filter",
            found.line,
            found.meant,
            tuple(field.text for field in fields),
        )
        return shell.record(action)

    # nft.

    def _nft(self, shell: Interpreter, fields: list[Field], span: Span) -> Status:
        rest, options = _nft_options(fields)
        if "f" not in options and (not rest or rest[0].literal in _NFT_QUERIES):
            shell.emit(None, span)
            return self._other(shell, "query", ("nft", *(field.text for field in fields)), span)
        action = nft_text(shell, self.name, rest, options, span, self.include)
        return shell.record(action) if isinstance(action, NftText) else action


def _nft_options(fields: list[Field]) -> tuple[list[Field], dict[str, Field | None]]:
    """The words behind the options, and of the options those that matter: c, and f with its file."""
    options: dict[str, Field | None] = {}
    index = 0
    while index < len(fields):
        text = fields[index].text
        long = {"--file": "f", "--check": "c", "--includepath": "I", "--define": "D"}.get(
            text.partition("=")[0]
        )
        short = _NFT_FLAGS.fullmatch(text)
        letter = long or (short.group(1) if short and len(text) > 1 else None)
        if not text.startswith("-") or text == "-":
            break
        if letter in ("f", "I", "D"):
            if long and "=" in text:
                options[letter] = fields[index].part(text.index("=") + 1, 1 << 30)
            else:
                options[letter] = fields[index + 1] if index + 1 < len(fields) else None
                index += 1
        elif letter == "c":
            options["c"] = None
        elif text.startswith("-f") and len(text) > 2:
            options["f"] = fields[index].part(2, 1 << 30)
        if "c" in text.split("f")[0] and short:
            options["c"] = None
        index += 1
    return fields[index:], options


def _assigned(piece: Piece) -> tuple[Related, ...]:
    return () if piece.origin is None else (Related(piece.origin, "its value comes from here"),)


def _name(field: Field) -> str | None:
    """The name of a command without its folder; None if it is not known, or may be one of several."""
    if field.known:
        return field.text.rpartition("/")[2]
    if len(field.pieces) == 1 and field.pieces[0].choices:
        names = {
            choice.split()[0].rpartition("/")[2] if choice.split() else ""
            for choice in field.pieces[0].choices
        }
        if len(names) == 1 and not any(" " in choice.strip() for choice in field.pieces[0].choices):
            return names.pop()
    return None


def _firewall_word(field: Field) -> bool:
    """Whether a word names a firewall command, or holds one: `ssh host 'iptables -F'`."""
    return any(
        _XTABLES.fullmatch(word.rpartition("/")[2]) is not None or word == "nft"
        for word in field.text.split()[:64]
    )
