"""The fast `dataclass` against the one of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from notrack.text import record


def _point(decorator: Callable[..., Any]) -> Any:
    @decorator(frozen=True, slots=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        tags: list[str] = dataclasses.field(default_factory=list, compare=False)
        note: str = dataclasses.field(default="n", repr=False)
        made: int = dataclasses.field(default=7, init=False)

    return Point


def _inheriting(decorator: Callable[..., Any]) -> Any:
    @decorator(frozen=True, slots=True, kw_only=True)
    class Node:
        span: str | None = None

    @decorator(frozen=True, slots=True)
    class Leaf(Node):
        text: str

    return Leaf


BOTH = pytest.mark.parametrize("decorator", (dataclasses.dataclass, record.dataclass), ids=("std", "ours"))


@record.dataclass(frozen=True, slots=True)
class Pickled:
    text: str
    count: int = 0


@BOTH
class TestAsTheStandardLibrary:
    def test_equality_and_hash(self, decorator: Callable[..., Any]) -> None:
        point = _point(decorator)
        assert point(1) == point(1, 2, ["other"]) and hash(point(1)) == hash(point(1, tags=["z"]))
        assert point(1) != point(2) and point(1) != point(1, note="m") and point(1) != (1, 2)
        other = _point(decorator)
        assert point(1) != other(1)  # another class of the same name

    def test_the_text(self, decorator: Callable[..., Any]) -> None:
        assert repr(_point(decorator)(1)).endswith("Point(x=1, y=2, tags=[], made=7)")

    def test_nothing_can_be_changed(self, decorator: Callable[..., Any]) -> None:
        point = _point(decorator)(1)
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
            point.x = 3
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
            del point.x
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            point.other = 3
        assert not hasattr(point, "__dict__")

    def test_replace_fields_and_patterns(self, decorator: Callable[..., Any]) -> None:
        point = _point(decorator)
        assert dataclasses.replace(point(1), x=5) == point(5)
        assert [field.name for field in dataclasses.fields(point)] == ["x", "y", "tags", "note", "made"]
        assert point.__match_args__ == ("x", "y", "tags", "note")
        assert point(1).tags is not point(1).tags

    def test_inheritance_with_keywords(self, decorator: Callable[..., Any]) -> None:
        leaf = _inheriting(decorator)
        assert leaf("a", span="s").span == "s" and leaf("a").span is None
        assert leaf.__match_args__ == ("text",)
        with pytest.raises(TypeError):
            leaf("a", "s")
        with pytest.raises(TypeError):
            leaf()

    def test_own_methods_stay(self, decorator: Callable[..., Any]) -> None:
        @decorator(frozen=True, slots=True)
        class Own:
            x: int
            seen: list[int]

            def __post_init__(self) -> None:
                self.seen.append(self.x)

            def __repr__(self) -> str:
                return "own"

            def __eq__(self, other: object) -> bool:
                return True

            def __hash__(self) -> int:
                return 5

        one = Own(1, [])
        assert one.seen == [1] and repr(one) == "own" and hash(one) == 5 and one == 3

    def test_what_changes_has_no_hash(self, decorator: Callable[..., Any]) -> None:
        @decorator(slots=True)
        class Open:
            x: int = 0

        one = Open()
        one.x = 4
        assert one == Open(4)
        with pytest.raises(TypeError, match="unhashable"):
            hash(one)

    def test_identity_without_eq(self, decorator: Callable[..., Any]) -> None:
        @decorator(frozen=True, slots=True, eq=False)
        class Alone:
            x: int = 0

        one = Alone()
        assert one == one and one != Alone() and hash(one) != hash(Alone())

    def test_copies(self, decorator: Callable[..., Any]) -> None:
        point = _point(decorator)(1, tags=["t"])
        again = copy.deepcopy(point)
        assert again == point and again.tags == ["t"] and again.tags is not point.tags


def test_pickles() -> None:
    assert pickle.loads(pickle.dumps(Pickled("a", 3))) == Pickled("a", 3)


def test_the_hints_of_init_can_be_read() -> None:
    Pickled("a")
    assert get_type_hints(Pickled.__init__) == {"text": str, "count": int, "return": type(None)}
