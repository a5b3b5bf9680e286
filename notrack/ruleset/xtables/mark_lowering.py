"""MARK, CONNMARK and HMARK: what becomes of the packet's mark and of its connection's."""

from __future__ import annotations

from notrack.packets.fields import Field
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.tree import Option, Target

_ALL = 0xFFFFFFFF


def set_mark(target: Target) -> core.SetMark:
    """`-j MARK`. Raises `Meaningless` or IndexError for options that mean nothing."""
    mask, value = _change(target.options[0])
    return core.SetMark(Field.MARK, mask, value)


def _change(option: Option) -> tuple[int, int]:
    """Mask and value of mark = (mark & ~mask) ^ value."""
    word = option.values[0]
    match option.name:
        case "--set-xmark":
            value, mask = values.mark(word)
        case "--set-mark":
            value, mask = values.mark(word)
            mask |= value
        case "--and-mark":
            value, mask = 0, _ALL & ~values.number(word)
        case "--or-mark":
            value = mask = values.number(word)
        case "--xor-mark":
            value, mask = values.number(word), 0
        case _:
            raise values.Meaningless(f"{option.name} sets no mark")
    return mask, value


def connection_mark(target: Target, text: str) -> core.SetMark:
    """`-j CONNMARK`. Saved and restored marks are copies, whose value the core cannot say: it is named."""
    masks = {option.name: values.number(option.values[0]) for option in target.options if _is_mask(option)}
    both = masks.get("--mask", _ALL)
    if target.option("--save-mark"):
        return core.SetMark(Field.CT_MARK, masks.get("--ctmask", both), None, text, tracking=True)
    if target.option("--restore-mark"):
        return core.SetMark(Field.MARK, masks.get("--nfmask", both), None, text, tracking=True)
    if any(option.name.endswith("-shift-mark") for option in target.options):
        return core.SetMark(Field.CT_MARK, _ALL, None, text, tracking=True)
    setting = next((option for option in target.options if not _is_mask(option)), None)
    if setting is None:
        raise values.Meaningless("CONNMARK that does nothing")
    mask, value = _change(setting)
    return core.SetMark(Field.CT_MARK, mask, value)


def _is_mask(option: Option) -> bool:
    return option.name in ("--mask", "--nfmask", "--ctmask")


def hash_mark(text: str) -> core.SetMark:
    return core.SetMark(Field.MARK, _ALL, None, text)
