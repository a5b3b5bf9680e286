"""`dataclass` for programs that start often: the same classes, made in a fifth of the time.

The standard library compiles six methods for each frozen dataclass, which takes about half a millisecond; a
run on a small file makes more than a hundred of them, and that would be a third of its time. Here `__init__`
alone is compiled, with the first object, and the other methods are shared. Fields, defaults, slots, pattern
matching, `dataclasses.replace` and `dataclasses.fields` are the standard library's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    import sys
    from collections.abc import Callable
    from operator import attrgetter
    from reprlib import recursive_repr

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, kw_only=False):
        """The decorator of the standard library, with the arguments that are in use here. A frozen class may
        inherit only from classes that are made here."""

        def made(plain: type) -> type:
            return _made(plain, frozen, slots, eq, kw_only)

        return made if cls is None else made(cls)

    def _made(plain: type, frozen: bool, slots: bool, eq: bool, kw_only: bool) -> type:
        own = frozenset(plain.__dict__)
        if plain.__doc__ is None:
            plain.__doc__ = plain.__name__  # else the signature is worked out, which takes long
        cls = dataclasses.dataclass(plain, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
        fields = dataclasses.fields(cls)
        methods = {"__setattr__": _refuse_set, "__delattr__": _refuse_delete} if frozen else {}
        if "__init__" not in own:
            cls.__init__ = _later(cls)
        if eq:
            key = _key([field.name for field in fields if field.compare])
            methods |= {"__eq__": _eq(key)}
            if plain.__dict__.get("__hash__") is None:  # a hash of one's own stays
                hashed = [f.name for f in fields if (f.compare if f.hash is None else f.hash)]
                cls.__hash__ = _hash(_key(hashed)) if frozen else None
        if frozen and slots:
            methods |= {"__getstate__": _getstate, "__setstate__": _setstate}
        methods["__repr__"] = _repr
        for name, method in methods.items():
            if name not in own:
                setattr(cls, name, method)
        return cls

    def _later(cls: type) -> Callable[..., None]:
        """Many classes are never used in a run: `__init__` is compiled with the first object."""

        def __init__(self, *values, **named):
            cls.__init__ = _init(cls, dataclasses.fields(cls))
            cls.__init__(self, *values, **named)

        return __init__

    def _init(cls: type, fields: tuple[dataclasses.Field, ...]) -> Callable[..., None]:
        """Compiled, since it runs most often. It sees the names of its module, as its annotations do."""
        known = {"_set": object.__setattr__, "_MISSING": dataclasses.MISSING}
        parameters = {False: [], True: []}
        body = []
        for field in fields:
            name = field.name
            given, value = name, name
            if field.default is not dataclasses.MISSING:
                known[f"_default_{name}"] = field.default
                given = f"{name}=_default_{name}"
                value = name if field.init else f"_default_{name}"
            elif field.default_factory is not dataclasses.MISSING:
                known[f"_make_{name}"] = field.default_factory
                given = f"{name}=_MISSING"
                value = f"_make_{name}()"
                value = f"{value} if {name} is _MISSING else {name}" if field.init else value
            elif not field.init:
                continue
            if field.init:
                parameters[field.kw_only].append(given)
            body.append(f"_set(self, {name!r}, {value})")
        if hasattr(cls, "__post_init__"):
            body.append("self.__post_init__()")
        listed = ["self", *parameters[False], *(["*", *parameters[True]] if parameters[True] else [])]
        lines = "\n  ".join(body) or "pass"
        text = (
            f"def make({', '.join(known)}):\n def __init__({', '.join(listed)}):\n  {lines}\n return __init__"
        )
        compiled = {}
        exec(text, vars(sys.modules[cls.__module__]), compiled)
        made = compiled["make"](**known)
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        made.__module__ = cls.__module__
        annotations = {field.name: field.type for field in fields if field.init}
        made.__annotations__ = {**annotations, "return": None}
        return made

    def _key(names: list[str]) -> Callable[[object], object]:
        if len(names) > 1:
            return attrgetter(*names)
        if names:
            one = attrgetter(names[0])
            return lambda self: (one(self),)
        return lambda self: ()

    def _eq(key):
        def __eq__(self, other):
            if other.__class__ is self.__class__:
                return key(self) == key(other)
            return NotImplemented

        return __eq__

    def _hash(key):
        def __hash__(self):
            return hash(key(self))

        return __hash__

    @recursive_repr()
    def _repr(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _refuse_set(self, name, value):
        if "__dataclass_fields__" in type(self).__dict__ or name in self.__dataclass_fields__:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def _refuse_delete(self, name):
        if "__dataclass_fields__" in type(self).__dict__ or name in self.__dataclass_fields__:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def _getstate(self):
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def _setstate(self, state):
        for field, value in zip(dataclasses.fields(self), state, strict=True):
            object.__setattr__(self, field.name, value)
