"""What a script does to the firewall, in its order, and under which conditions."""

from __future__ import annotations

from dataclasses import field

from notrack.packets.address import Family
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.derived import Derived
from notrack.ruleset.xtables import tree as xtables
from notrack.text.diagnostic import Diagnostic
from notrack.text.record import dataclass
from notrack.text.source import Source, Span


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that decides whether commands run. With `action` it is the success of that action, which
    may be known once the state of the tables is; without, the text of the script does not tell it. With
    `all_of` it holds if all of these do."""

    number: int  # no two conditions of a script have the same
    text: str = field(compare=False)
    span: Span = field(repr=False, compare=False)
    action: int | None = field(default=None, compare=False)
    all_of: tuple[Guard, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition that must hold, or, negated, must not."""

    condition: Condition
    negated: bool = False

    @property
    def inverse(self) -> Guard:
        return Guard(self.condition, not self.negated)


@dataclass(frozen=True, slots=True)
class Act:
    """What every action has. It runs if all of `when` holds; with none it runs for certain.

    `fatal`: the script ends where it fails (`set -e`). `repeated`: it runs until it fails.
    """

    number: int
    span: Span = field(repr=False, compare=False)
    when: tuple[Guard, ...] = ()
    fatal: bool = False
    repeated: bool = False

    @property
    def certain(self) -> bool:
        return not self.when


@dataclass(frozen=True, slots=True)
class XtablesCommand(Act):
    """One iptables or ip6tables command. `line` is None where the words do not even say which command it is.

    `line` is `Broken` if iptables refuses the words; `meant` is then what was meant, if that is certain (the
    dashes and quotes of a word processor). Its span lies in a source of its own, which `located` maps back.
    `backend` is `legacy` or `nft` where the command's name says so.
    """

    family: Family = Family.IPV4
    backend: str | None = None
    table: str = "filter"
    line: xtables.Rule | xtables.Command | xtables.Broken | None = None
    meant: xtables.Rule | xtables.Command | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreText(Act):
    """Text for iptables-restore; None where it is not known. `only` is the one table that it may change.

    `complete` is False where the text holds lines of which nothing is known.
    """

    family: Family = Family.IPV4
    backend: str | None = None
    text: Derived | None = None
    ruleset: xtables.Ruleset | None = None
    noflush: bool = False
    test: bool = False
    only: str | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NftText(Act):
    """Text for nft, one transaction; None where it is not known."""

    text: Derived | None = None
    ruleset: nft.Ruleset | None = None
    faulty: bool = False  # nft refuses it
    check: bool = False  # `nft -c`: changes nothing


@dataclass(frozen=True, slots=True)
class Other(Act):
    """A command that matters to the firewall and is none: its name, and its words behind the name.

    Kinds: `ipset`, `module`, `sysctl`, `setting` (a write to /proc/sys or /sys: path and text), `conntrack`,
    `service`, `frontend` (firewall-cmd, ufw and their kind), `elsewhere` (another host or namespace),
    `query`. `text` is what `ipset restore` is given, if that is known.
    """

    kind: str = "query"
    words: tuple[str, ...] = ()
    text: Derived | None = None


Action = XtablesCommand | RestoreText | NftText | Other


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script. `assumed` are the guards that are taken not to hold, since the script would end
    there and then; every one is reported among the diagnostics."""

    source: Source
    actions: tuple[Action, ...] = ()
    assumed: frozenset[Guard] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()
    arguments: tuple[str, ...] | None = None
