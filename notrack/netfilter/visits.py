"""Which packets come to each rule of a way, and which of them it matches."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from notrack.netfilter import ways
from notrack.netfilter.chains import Algebra, Chains, End, Function
from notrack.netfilter.effects import NONE, TRACKED_ANEW, Effects, Track, behind
from notrack.netfilter.model import Model
from notrack.netfilter.ways import STAGES, Mounted, Stage, Way
from notrack.packets import questions
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field, Fragment, State
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.ruleset.core import Chain, Hook, Jump, Rule, Table, Verdict
from notrack.text.record import dataclass

Live = dict[Effects, int]  # packets on their way, as they came in, by what has been done to them


@dataclass(frozen=True, slots=True)
class Visit:
    """A rule as one call of its chain meets it: several visits where several jumps lead there.

    Packets are as they came in; their state is that of their flow, also where a rule untracked them.
    """

    hook: Hook
    table: Table
    chain: Chain
    rule: Rule
    callers: tuple[str, ...]  # the chains through which the packets came, the base chain first
    space: Space
    arrived: tuple[tuple[Effects, int], ...]
    matched: tuple[tuple[Effects, int], ...]

    def arriving(self, track: Track | None = None) -> PacketSet:
        """The packets that come to the rule; with `track` those on which earlier rules left this."""
        return self._union(self.arrived, track)

    def matching(self, track: Track | None = None) -> PacketSet:
        """The packets that come to the rule and match."""
        return self._union(self.matched, track)

    def _union(self, groups: tuple[tuple[Effects, int], ...], track: Track | None) -> PacketSet:
        chosen = [diagram for effects, diagram in groups if track is None or effects.track is track]
        return PacketSet(self.space, self.space.first(chosen))


def visits(model: Model, way: Way, within: PacketSet | None = None) -> Iterator[Visit]:
    """Every rule that packets of a way (all, or those of a set) come to, in the order in which they do.

    A rule that none comes to is left out. Costs more than the passage, for every rule's set is made; may
    raise `TooHard`.
    """
    run = _Run(model, way)
    live: Live = {NONE: _start(model, way, within)}
    for stage in STAGES[way]:
        live = yield from run.stage(stage, live)


def _start(model: Model, way: Way, within: PacketSet | None) -> int:
    domain = model.domain(way)
    return domain if within is None else model.space.meet(domain, within.diagram)


@dataclass(slots=True)
class _Run:
    model: Model
    way: Way

    def stage(self, stage: Stage, live: Live) -> Generator[Visit, None, Live]:
        """All base chains of a stage; returns what goes on behind it."""
        model, space = self.model, self.model.space
        passing: Live = {}
        view = _View(model, stage, self.way)
        if model.splits_fragments(stage):
            later = space.among(Field.FRAGMENT, Fragment.LATER)
            live, passing = view.split(live, space.complement(later))
            view.fixed[Field.FRAGMENT] = Fragment.WHOLE
        before, nat, after = ways.in_order(ways.mounted(model.ruleset, stage, model.family))
        for item in before:
            live = yield from self.base(item, view, live)
        live = yield from self.translation(nat, view, live)
        for item in after:
            live = yield from self.base(item, view, live)
        if stage.tracked_behind:
            live = self.tracked(stage, live)
        live = _merged([*live.items(), *passing.items()], space)
        if stage.routed_behind:
            live, _ = _View(model, stage, self.way).split(live, model.arrives(self.way))
            live = _merged([(model.behind_routing(e, self.way), d) for e, d in live.items()], space)
        return live

    def tracked(self, stage: Stage, live: Live) -> Live:
        """What goes on behind connection tracking."""
        space = self.model.space
        if not stage.again:
            return _merged([(effects.as_entry(), diagram) for effects, diagram in live.items()], space)
        kept = space.complement(space.free(TRACKED_ANEW)) if self.model.late_zones else FULL
        late = {effects: kept if effects.track is Track.TEMPLATE else FULL for effects in live}
        groups = [(one.tracked_anew(), space.meet(diagram, late[one])) for one, diagram in live.items()]
        return _merged(groups, space)

    def translation(self, items: list[Mounted], view: _View, live: Live) -> Generator[Visit, None, Live]:
        """The nat chains: for first packets of tracked flows that none of them has translated yet."""
        if not self.model.tracks or view.stage.again:
            return live
        space = self.model.space
        done: Live = {}
        new = space.among(Field.STATE, State.NEW)
        known = {(effects.source_nat, effects.destination_nat) for effects in live}
        for item in items:
            live, other = view.split(live, new)
            done = _merged([*done.items(), *other.items()], space)
            live = yield from self.base(item, view, live)
            fresh = {e: d for e, d in live.items() if (e.source_nat, e.destination_nat) not in known}
            done = _merged([*done.items(), *fresh.items()], space)
            live = {effects: diagram for effects, diagram in live.items() if effects not in fresh}
        return _merged([*live.items(), *done.items()], space)

    def base(self, item: Mounted, view: _View, live: Live) -> Generator[Visit, None, Live]:
        assert item.chain.base is not None
        chains = self.model.chains(item, view.stage)
        base = item.chain.base
        passing: Live = {}
        if item.device is not None:
            live, passing = view.split(live, self.model.passing(item.device))
        call = _Call(chains, item, view, (item.chain.name,))
        back, accepted = yield from call.chain(item.chain, live)
        groups = list(accepted.items())
        if base.policy is Verdict.ACCEPT:
            groups += back.items()
        done = []
        for effects, packets in groups:
            after = chains.base_effects(effects, base)
            if chains.strays(after, base):
                _, left = view.split({effects: packets}, chains.lost)
                packets = left.get(effects, EMPTY)
            done.append((after, packets))
        return _merged([*done, *passing.items()], self.model.space)


class _View:
    """What the rules of a stage see of packets that something was done to."""

    def __init__(self, model: Model, stage: Stage, way: Way) -> None:
        self.stage = stage
        self.model = model
        self.algebra: Algebra = model.algebra
        self.space = model.space
        self.fixed = model.seen_at(stage, way)

    def original(self, diagram: int, effects: Effects) -> int:
        """A set of packets as rules see them, as packets when they came in."""
        return self.model.assigned(behind(self.space, diagram, effects), self.fixed)

    def split(self, live: Live, seen: int) -> tuple[Live, Live]:
        """The packets that rules see inside a set, and the others."""
        inside: Live = {}
        outside: Live = {}
        for effects, diagram in live.items():
            where = self.original(seen, effects)
            inside[effects] = self.space.meet(where, diagram)
            outside[effects] = self.space.minus(diagram, where)
        return _present(inside), _present(outside)

    def apply(self, function: Function, live: Live) -> dict[End, Live]:
        """What a function does to packets, by how they end."""
        groups: dict[End, list[tuple[Effects, int]]] = {}
        for effects, diagram in live.items():
            after = self.algebra.after(effects, function)
            fixed = self.model.assigned(after.diagram, self.fixed)
            for leaf in sorted(questions.leaves(self.space, fixed), reverse=True):
                outcome = self.algebra.outcome(leaf)
                here = self.space.meet(self.algebra.where(fixed, frozenset((leaf,))), diagram)
                groups.setdefault(outcome.end, []).append((outcome.effects, here))
            groups.setdefault(End.ON, []).append((effects, self.space.minus(diagram, fixed)))
        return {end: _merged(items, self.space) for end, items in groups.items()}


@dataclass(slots=True)
class _Call:
    """One base chain at one stage, with everything that it calls."""

    chains: Chains
    item: Mounted
    view: _View
    callers: tuple[str, ...]

    def chain(self, chain: Chain, live: Live) -> Generator[Visit, None, tuple[Live, Live]]:
        """Runs a chain; returns what comes back from its end (or by return), and what it accepted."""
        space = self.view.space
        back: Live = {}
        accepted: Live = {}
        for rule in chain.rules:
            if not live:
                break
            matched, rest = self.view.split(live, self.chains.guard(rule))
            yield Visit(
                self.view.stage.hook, self.item.table, chain, rule, self.callers, space,
                tuple(live.items()), tuple(matched.items()),
            )  # fmt: skip
            ends = yield from self.rule(rule, matched)
            live = _merged([*rest.items(), *ends.get(End.ON, {}).items()], space)
            back = _merged([*back.items(), *ends.get(End.RETURN, {}).items()], space)
            accepted = _merged([*accepted.items(), *ends.get(End.ACCEPT, {}).items()], space)
        return _merged([*back.items(), *live.items()], space), accepted

    def rule(self, rule: Rule, matched: Live) -> Generator[Visit, None, dict[End, Live]]:
        """What a rule does with the packets that it matched, by how they end."""
        last = rule.actions[-1] if rule.actions else None
        if not isinstance(last, Jump):
            return self.view.apply(self.chains.actions(rule.actions), matched)
        going = self.view.apply(self.chains.actions(rule.actions[:-1]), matched).get(End.ON, {})
        target = self.item.table.chain(last.chain)
        if target is None or target.name in self.callers:
            return {End.RETURN if last.goto else End.ON: going}
        inner = _Call(self.chains, self.item, self.view, (*self.callers, target.name))
        back, accepted = yield from inner.chain(target, going)
        return {End.RETURN if last.goto else End.ON: back, End.ACCEPT: accepted}


def _present(live: Live) -> Live:
    return {effects: diagram for effects, diagram in live.items() if diagram != EMPTY}


def _merged(groups: list[tuple[Effects, int]], space: Space) -> Live:
    """Groups of packets, those to which the same was done made one."""
    merged: Live = {}
    for effects, diagram in groups:
        if diagram != EMPTY:
            merged[effects] = space.join(merged.get(effects, EMPTY), diagram)
    return merged


def survivors(model: Model, way: Way, within: PacketSet | None = None) -> dict[Effects, PacketSet]:
    """What comes to the end of the way, by what was done to it: `accepted`, found rule by rule.

    Of a small set (`within`) it costs far less than the passage of a large ruleset.
    """
    run = _Run(model, way)
    live: Live = _present({NONE: _start(model, way, within)})
    for stage in STAGES[way]:
        live = _drained(run.stage(stage, live))
    return {effects: PacketSet(model.space, diagram) for effects, diagram in live.items()}


def _drained(steps: Generator[Visit, None, Live]) -> Live:
    """Runs to the end and returns the value of a generator."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            live: Live = end.value
            return live
