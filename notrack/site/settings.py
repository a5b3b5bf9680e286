"""Lines that are about the whole site: default, log, tracking, ephemeral."""

from __future__ import annotations

from dataclasses import field

from notrack.packets.intervals import IntervalSet
from notrack.site.faults import Faults
from notrack.site.limits import duration, rate
from notrack.site.model import DEFAULT_EPHEMERAL, Default, Defaults, Origin, Rate, TrackingSettings
from notrack.site.portbook import PortBook
from notrack.site.syntax import Atom, Statement, joined
from notrack.site.tables.timeout_names import TIMEOUTS
from notrack.text.diagnostic import Related
from notrack.text.nearest import nearest
from notrack.text.record import dataclass
from notrack.text.source import Span

_VERDICTS = {
    "allow": "accept",
    "permit": "accept",
    "pass": "accept",
    "deny": "drop",
    "block": "drop",
    "discard": "drop",
}
_MOST_FLOWS = 2**31 - 1


@dataclass(slots=True)
class Settings:
    """Collects the settings of a site; each may be said once."""

    faults: Faults
    ports: PortBook
    said: dict[str, Span] = field(default_factory=dict)
    default: dict[str, Default] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    output_replies: bool = True
    log: Rate | None = None
    ephemeral: IntervalSet = DEFAULT_EPHEMERAL
    off: Origin | None = None
    room: int | None = None
    timeouts: dict[str, int] = field(default_factory=dict)

    def take(self, statement: Statement) -> None:
        """Read one setting; errors are reported."""
        {
            "default": self._default,
            "log": self._log,
            "ephemeral": self._ephemeral,
            "tracking": self._tracking,
        }[statement.keyword.text](statement)

    def defaults(self) -> Defaults:
        return Defaults(**self.default, output_replies=self.output_replies, origins=self.origins)

    def tracking(self) -> TrackingSettings:
        return TrackingSettings(self.off, self.room, tuple(self.timeouts.items()))

    def _once(self, key: str, span: Span) -> bool:
        first = self.said.setdefault(key, span)
        if first is span:
            return True
        self.faults.error(
            span, f"a second `{key}`", "take one of them out", (Related(first, "the first one"),)
        )
        return False

    def _default(self, statement: Statement) -> None:
        hook, verdict, *more = statement.atoms
        if hook.text not in ("input", "forward", "output"):
            near = nearest(hook.text, ("input", "forward", "output"))
            self._unknown(hook, near, "a default is for `input`, `forward` or `output`")
            return
        span = joined(statement.keyword, hook)
        words = {default.value: default for default in Default}
        if verdict.text not in words:
            near = _VERDICTS.get(verdict.text) or nearest(verdict.text, words)
            self._unknown(verdict, near, "a default is `drop`, `reject`, `accept` or `leave`")
            return
        if not self._without(more, hook, verdict) or not self._once(f"default {hook.text}", span):
            return
        self.default[hook.text] = words[verdict.text]
        self.origins[hook.text] = Origin("default", hook.text, span)
        if more:
            self.output_replies = False

    def _without(self, more: list[Atom], hook: Atom, verdict: Atom) -> bool:
        """Whether what stands behind a default is nothing or a fitting `without replies`."""
        if not more:
            return True
        for atom, word in zip([*more, more[0]], ("without", "replies"), strict=False):
            if atom.text != word:
                self.faults.error(
                    atom.span, f"unknown word `{atom.text}` in a default", "write `without replies`"
                )
                return False
        if (hook.text, verdict.text) != ("output", "accept"):
            self.faults.error(
                joined(more[0], more[-1]),
                f"`without replies` on `default {hook.text} {verdict.text}`",
                "it goes with `default output accept` only: leave it out",
            )
            return False
        return True

    def _unknown(self, atom: Atom, near: str | None, known: str) -> None:
        self.faults.error(
            atom.span, f"unknown word `{atom.text}`", f"did you mean `{near}`?" if near else known
        )

    def _log(self, statement: Statement) -> None:
        what, limit = statement.atoms
        if what.text != "dropped":
            near = nearest(what.text, ("dropped",))
            self._unknown(what, near, "what can be logged is `dropped`, as in `log dropped 10/minute`")
            return
        found = rate(limit, self.faults)
        if found is not None and self._once("log dropped", statement.span):
            self.log = found

    def _ephemeral(self, statement: Statement) -> None:
        bounds = self.ports.bounds(statement.atoms[0])
        if bounds is not None and self._once("ephemeral", statement.span):
            self.ephemeral = IntervalSet((bounds,))

    def _tracking(self, statement: Statement) -> None:
        word, *rest = statement.atoms
        if word.text == "off":
            self._off(statement, rest)
        elif word.text == "room":
            self._room(statement, rest)
        elif word.text == "timeout":
            self._timeout(statement, rest)
        else:
            near = nearest(word.text, ("off", "room", "timeout"))
            self._unknown(word, near, "`tracking off`, `tracking room N flows` or `tracking timeout .. 3h`")

    def _off(self, statement: Statement, rest: list[Atom]) -> None:
        if rest:
            self.faults.error(
                rest[0].span, f"unexpected `{rest[0].text}` behind `tracking off`", "leave it out"
            )
        elif self._once("tracking off", statement.span):
            self.off = Origin("tracking", "off", statement.span)

    def _room(self, statement: Statement, rest: list[Atom]) -> None:
        form = "write `tracking room 200000 flows`"
        if not rest or rest[0].type != "NUMBER":
            self.faults.error((rest or statement.atoms)[0].span, "the number of flows is missing", form)
            return
        number, *behind = rest
        if len(behind) != 1 or behind[0].text != "flows":
            wrong = behind[0] if behind and behind[0].text != "flows" else behind[1] if behind else number
            self.faults.error(wrong.span, "`flows` is missing behind the number" if not behind else
                              f"unexpected `{wrong.text}`", form)  # fmt: skip
            return
        count = int(number.text[:12])
        if not 1 <= count <= _MOST_FLOWS:
            self.faults.error(number.span, f"room for {number.text[:20]} flows", f"from 1 to {_MOST_FLOWS}")
        elif self._once("tracking room", joined(statement.keyword, statement.atoms[0])):
            self.room = count

    def _timeout(self, statement: Statement, rest: list[Atom]) -> None:
        form = "write `tracking timeout tcp established 3h`"
        if not rest:
            self.faults.error(statement.atoms[0].span, "the timeout is not named", form)
            return
        *words, last = rest
        if last.type != "DURATION":
            message = f"`{last.text}` is not a duration"
            help = f"give the unit, as in `{last.text[:12]}s`" if last.type == "NUMBER" else form
            self.faults.error(last.span, message, help)
            return
        stray = next((atom for atom in words if atom.type in ("DURATION", "NUMBER")), None)
        if stray is not None or not words:
            self.faults.error((stray or last).span, "the timeout is not named", form)
            return
        key = self._timeout_key(words)
        seconds = duration(last, self.faults)
        if key and seconds and self._once(f"timeout {key.replace('_', ' ')}", joined(words[0], words[-1])):
            self.timeouts[key] = seconds

    def _timeout_key(self, words: list[Atom]) -> str | None:
        key = "_".join(atom.text.replace("-", "_") for atom in words)
        if key in TIMEOUTS:
            return key
        near = nearest(key.replace("_", "-"), [name.replace("_", "-") for name in TIMEOUTS])
        if near:
            protocol, _, state = near.partition("-")
            help = f"did you mean `{f'{protocol} {state}'.strip()}`?"
        else:
            help = "known: " + ", ".join(
                sorted(name.replace("_", " ", 1).replace("_", "-") for name in TIMEOUTS)
            )
        self.faults.error(
            joined(words[0], words[-1]), f"unknown timeout `{' '.join(a.text for a in words)}`", help
        )
        return None

    def check(self) -> None:
        """What cannot hold together."""
        if self.off is None:
            return
        for key, span in self.said.items():
            if key.startswith(("tracking room", "timeout")):
                self.faults.error(
                    span,
                    f"`{key}` beside `tracking off`",
                    "nothing is tracked, so there is nothing to set: take one of them out",
                    (Related(self.off.span, "nothing is tracked"),),
                )
