"""Sets of integers as sorted, disjoint, non-adjacent closed intervals."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from notrack.text.record import dataclass

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class IntervalSet:
    """A set of integers. `spans` is always sorted, disjoint and non-adjacent, so equality is set equality."""

    spans: tuple[Interval, ...] = ()

    @staticmethod
    def of(intervals: Iterable[Interval]) -> IntervalSet:
        """The union of closed intervals `(low, high)` in any order, overlapping or not."""
        return IntervalSet(tuple(_merged(sorted(intervals))))

    @staticmethod
    def single(value: int) -> IntervalSet:
        return IntervalSet(((value, value),))

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __iter__(self) -> Iterator[Interval]:
        return iter(self.spans)

    def __contains__(self, value: int) -> bool:
        return any(low <= value <= high for low, high in self.spans)

    def __or__(self, other: IntervalSet) -> IntervalSet:
        if not other.spans:
            return self
        if not self.spans:
            return other
        return IntervalSet.of(self.spans + other.spans)

    def __and__(self, other: IntervalSet) -> IntervalSet:
        out: list[Interval] = []
        a, b = self.spans, other.spans
        if len(a) > len(b):
            a, b = b, a
        if len(b) > _MANY * len(a) > 0:
            b = _near(b, a[0][0], a[-1][1])
        i = j = 0
        while i < len(a) and j < len(b):
            low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
            if low <= high:
                out.append((low, high))
            if a[i][1] < b[j][1]:
                i += 1
            else:
                j += 1
        return IntervalSet(tuple(out))

    def __sub__(self, other: IntervalSet) -> IntervalSet:
        out: list[Interval] = []
        holes = other.spans
        j = 0
        for low, high in self.spans:
            while j < len(holes) and holes[j][1] < low:
                j += 1
            k = j
            while k < len(holes) and holes[k][0] <= high:
                if holes[k][0] > low:
                    out.append((low, holes[k][0] - 1))
                low = holes[k][1] + 1
                k += 1
            if low <= high:
                out.append((low, high))
        return IntervalSet(tuple(out))

    def __le__(self, other: IntervalSet) -> bool:
        """Subset."""
        return not (self - other)

    def isdisjoint(self, other: IntervalSet) -> bool:
        return not (self & other)

    def size(self) -> int:
        """How many integers are in the set."""
        return sum(high - low + 1 for low, high in self.spans)

    def least(self) -> int:
        """The smallest member; the set must not be empty."""
        return self.spans[0][0]

    def widest(self) -> Interval:
        """The widest interval, the lowest one of equals; the set must not be empty."""
        return max(self.spans, key=lambda span: (span[1] - span[0], -span[0]))


_MANY = 16


def _near(spans: tuple[Interval, ...], low: int, high: int) -> tuple[Interval, ...]:
    """The spans that could meet `low` to `high`, found without walking all of them."""
    first = max(bisect_right(spans, (low,)) - 1, 0)
    return spans[first : bisect_right(spans, (high + 1,))]


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    current: Interval | None = None
    for low, high in intervals:
        if current is None:
            current = (low, high)
        elif low <= current[1] + 1:
            current = (current[0], max(current[1], high))
        else:
            yield current
            current = (low, high)
    if current is not None:
        yield current


EMPTY = IntervalSet()
