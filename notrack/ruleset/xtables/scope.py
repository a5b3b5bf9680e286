"""What an option word means at a point of a rule: it depends on the protocol, the matches and the target
that were named before it, as it does for getopt inside iptables."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import field, replace

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import (
    BASE,
    IMPLIED,
    Extension,
    OptionForm,
    declared,
    match_named,
    matches,
    target_named,
)
from notrack.text.record import dataclass


class Role(enum.Enum):
    """What the reader must do with a word."""

    BASE = enum.auto()
    MATCH_OPTION = enum.auto()
    TARGET_OPTION = enum.auto()
    MATCH = enum.auto()
    JUMP = enum.auto()
    COMMAND = enum.auto()
    COUNTERS = enum.auto()
    TABLE = enum.auto()
    FAMILY = enum.auto()
    IGNORED = enum.auto()
    NEGATION = enum.auto()
    STRAY = enum.auto()
    UNKNOWN = enum.auto()
    AMBIGUOUS = enum.auto()


_GENERAL = {
    Role.MATCH: ("-m --match WORD",),
    Role.JUMP: ("-j --jump WORD", "-g --goto WORD"),
    Role.COUNTERS: ("-c --set-counters INTEGER INTEGER",),
    Role.TABLE: ("-t --table WORD",),
    Role.FAMILY: ("-4 --ipv4", "-6 --ipv6"),
    Role.COMMAND: (
        "-A --append WORD",
        "-I --insert WORD",
        "-D --delete WORD",
        "-R --replace WORD",
        "-C --check WORD",
        "-N --new-chain WORD",
        "-P --policy WORD",
        "-E --rename-chain WORD",
        "-F --flush",
        "-X --delete-chain",
        "-Z --zero",
        "-L --list",
        "-S --list-rules",
    ),
    Role.IGNORED: (
        "-v --verbose",
        "-n --numeric",
        "-x --exact",
        "--line-numbers",
        "-w --wait",
        "-W --wait-interval",
        "-M --modprobe WORD",
        "-h --help",
        "-V --version",
    ),
    Role.BASE: (),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """`slot` is the index of the match that an option belongs to; `implied` a match to load before it."""

    role: Role
    form: OptionForm | None = None
    slot: int = -1
    attached: str | None = None  # the value in `--option=value` or `-ovalue`
    implied: Extension | None = None
    candidates: tuple[str, ...] = ()


_FORMS: dict[str, tuple[Role, OptionForm]] = {
    spelling: (role, form)
    for role, texts in _GENERAL.items()
    for form in (BASE if role is Role.BASE else tuple(declared(text) for text in texts))
    for spelling in form.spellings
}
_NEGATION = Meaning(Role.NEGATION)
_STRAY = Meaning(Role.STRAY)


@dataclass(slots=True, eq=False)
class Scope:
    """A point in a rule. `matches` and `target` hold None for what the catalogue does not know."""

    family: Family | None = None
    protocol: str | None = None
    matches: tuple[Extension | None, ...] = ()
    target: Extension | None = None
    before_target: int = 0  # how many matches were loaded before the target
    unknown: bool = False  # something unknown was loaded: abbreviations are no longer trusted
    meanings: dict[str, Meaning] = field(default_factory=dict)
    _matches: dict[str, Scope] = field(default_factory=dict)
    _targets: dict[str, Scope] = field(default_factory=dict)
    _protocols: dict[str, Scope] = field(default_factory=dict)

    def meaning(self, word: str) -> Meaning:
        """What the word means here. Never fails."""
        known = self.meanings.get(word)
        if known is None:
            known = self.meanings[word] = self._resolved(word)
        return known

    def after_match(self, name: str) -> Scope:
        """The scope after `-m name`."""
        return self._matches.get(name) or self._matches.setdefault(name, self._with_match(name))

    def after_target(self, name: str) -> Scope:
        """The scope after `-j name`; chains and verdicts bring no options."""
        return self._targets.get(name) or self._targets.setdefault(name, self._with_target(name))

    def after_protocol(self, name: str) -> Scope:
        """The scope after `-p name`."""
        return self._protocols.get(name) or self._protocols.setdefault(name, self._with_protocol(name))

    def _with_match(self, name: str) -> Scope:
        found = match_named(name, self.family)
        return self._copy(matches=(*self.matches, found), unknown=self.unknown or found is None)

    def _with_target(self, name: str) -> Scope:
        found = target_named(name, self.family)
        return self._copy(target=found, before_target=len(self.matches)) if found else self

    def _with_protocol(self, name: str) -> Scope:
        return self._copy(protocol=name.lower()) if name.lower() in IMPLIED else self

    def _copy(self, **fields: object) -> Scope:
        return replace(self, meanings={}, _matches={}, _targets={}, _protocols={}, **fields)  # type: ignore[arg-type]

    def _resolved(self, word: str) -> Meaning:
        if word == "!":
            return _NEGATION
        if not word.startswith("-") or word.partition("=")[0] in ("-", "--"):
            return _STRAY
        if not word.startswith("--"):
            return self._short(word)
        name, equals, value = word.partition("=")
        found = self._exact(name) or self._abbreviated(name) or self._implied(name)
        if found is None:
            return Meaning(Role.UNKNOWN)
        return replace(found, attached=value) if equals else found

    def _short(self, word: str) -> Meaning:
        found = _FORMS.get(word[:2])
        if found is None:
            return Meaning(Role.UNKNOWN)
        return Meaning(found[0], found[1], attached=word[2:] or None)

    def _exact(self, name: str) -> Meaning | None:
        general = _FORMS.get(name)
        if general is not None:
            return Meaning(*general)
        for slot, form in self._extension_options():
            if name in form.spellings:
                return self._option(slot, form)
        return None

    def _abbreviated(self, name: str) -> Meaning | None:
        """A beginning that fits one option only. getopt knows it too, before any match is implied."""
        if self.unknown or len(name) < 3:
            return None
        found: dict[tuple[int, str], Meaning] = {}
        for spelling, (role, form) in _FORMS.items():
            if spelling.startswith(name):
                found[-2, form.name] = Meaning(role, form)
        for slot, form in self._extension_options():
            if any(spelling.startswith(name) for spelling in form.spellings):
                found[slot, form.name] = self._option(slot, form)
        if len(found) > 1:
            return Meaning(Role.AMBIGUOUS, candidates=tuple(sorted({name for _, name in found})))
        return next(iter(found.values()), None)

    def _implied(self, name: str) -> Meaning | None:
        """`-p tcp --dport 80` loads the match `tcp` when the option is not known otherwise."""
        match = match_named(IMPLIED.get(self.protocol or "", ""), self.family)
        if match is None or match in self.matches:
            return None
        loaded = self.after_match(match.name)
        found = loaded._exact(name) or loaded._abbreviated(name)
        return replace(found, implied=match) if found else None

    def _option(self, slot: int, form: OptionForm) -> Meaning:
        return Meaning(Role.TARGET_OPTION if slot < 0 else Role.MATCH_OPTION, form, slot)

    def _extension_options(self) -> Iterator[tuple[int, OptionForm]]:
        """The options in force, those loaded last first: of two equal names the last loaded wins."""
        for slot in range(len(self.matches) - 1, -1, -1):
            if self.target is not None and self.before_target == slot + 1:
                yield from ((-1, form) for form in self.target.options)
            match = self.matches[slot]
            yield from ((slot, form) for form in (match.options if match else ()))
        if self.target is not None and self.before_target == 0:
            yield from ((-1, form) for form in self.target.options)

    def owner(self, name: str) -> str | None:
        """The match that would bring an option of that name."""
        found = (match.name for match in matches() if name in match.spelled and match not in self.matches)
        return next(found, None)

    def names(self) -> Iterator[str]:
        """Every long option in force."""
        yield from (spelling for spelling in _FORMS if spelling.startswith("--"))
        for _, form in self._extension_options():
            yield from form.spellings
