"""Expressions as text."""

from __future__ import annotations

import re

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import META_WRITTEN_BARE

WIDTH = 110  # columns, a tab being 8; longer sets are written one element a line
_PLAIN = re.compile(r"[A-Za-z0-9_.:/*+\\-]+")
_ENDS_IN_WORD = re.compile(r"(?:^|[ $])[A-Za-z_][\w/.-]*$")
_STRENGTH = {"|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4}


# How tightly a node holds together: where a tighter one is needed it goes into parentheses.
LISTING, CONCATENATION, INTERVAL, OPERATION, PRIMARY = range(5)
_TIGHTNESS: dict[type[t.Expression], int] = {
    t.Listing: LISTING,
    t.Masked: LISTING,
    t.Concat: CONCATENATION,
    t.Mapping: CONCATENATION,
    t.Range: INTERVAL,
    t.Prefix: INTERVAL,
    t.Binary: OPERATION,
}


def quoted(text: str) -> str:
    """The text as it may stand between quotes: nft knows no escapes, so quotes and line ends are replaced."""
    return text.replace('"', "'").replace("\n", " ").replace("\r", " ")


def expression_text(node: t.Expression, depth: int = 0) -> str:
    """The expression as nft reads it. `depth` is that of its line, in tabs, for sets to break up."""
    match node:
        case t.Value(text=text, quoted=in_quotes):
            return f'"{quoted(text)}"' if in_quotes or not _PLAIN.fullmatch(text) else text
        case t.SetLiteral(elements=elements):
            return _set_text(elements, depth)
        case t.Mapping(key=key, table=table):
            return f"{_key(key)} map {expression_text(table, depth)}"
        case t.Binary(left=left, op=op, right=right):
            return f"{_operand(left, _STRENGTH[op])} {op} {_operand(right, _STRENGTH[op] + 1)}"
        case t.Concat(parts=parts):
            return " . ".join(_part(part, INTERVAL) for part in parts)
        case t.Listing(parts=parts):
            return ",".join(_part(part, CONCATENATION) for part in parts)
        case t.Masked(value=value, mask=mask):
            return _masked(value, mask)
        case t.Prefix(address=address, length=length):
            return _joined(_part(address, OPERATION), "/", str(length))
        case t.Range(low=low, high=high):
            return _joined(_part(low, OPERATION), "-", _part(high, OPERATION))
        case t.Verdict(kind=kind, chain=chain):
            return f"{kind} {expression_text(chain)}" if chain is not None else kind
        case t.Variable(name=name):
            return f"${name}"
        case t.SetReference(name=name):
            return f"@{name}"
        case t.Wildcard():
            return "*"
        case t.UnknownExpression(text=text):
            return text
        case _:
            return " ".join(_field_words(node))


def _joined(left: str, sign: str, right: str) -> str:
    """`80-90`, but `$low - $high`: a word would swallow the sign and what follows it."""
    return f"{left} {sign} {right}" if _ENDS_IN_WORD.search(left) else f"{left}{sign}{right}"


def held_text(node: t.Expression, least: int, depth: int = 0) -> str:
    """The expression, in parentheses unless it holds together as tightly as `least`."""
    text = expression_text(node, depth)
    return f"({text})" if _TIGHTNESS.get(type(node), PRIMARY) < least else text


def _part(node: t.Expression, least: int) -> str:
    """Operations stand in parentheses wherever they are a part: nobody knows all strengths by heart."""
    return held_text(node, PRIMARY if isinstance(node, t.Binary) else least)


def _key(node: t.Expression) -> str:
    """The key of a map, which itself is none unless in parentheses."""
    return held_text(node, INTERVAL if isinstance(node, t.Mapping) else CONCATENATION)


def _masked(value: t.Expression, mask: t.Expression) -> str:
    """A mask that begins with a number would be the length of a prefix."""
    least = LISTING if isinstance(value, t.Listing) else CONCATENATION
    left, right = held_text(value, least), expression_text(mask)
    return f"{left} / ({right})" if right[:1].isdigit() else f"{left} / {right}"


def _operand(node: t.Expression, strength: int) -> str:
    weaker = isinstance(node, t.Binary) and _STRENGTH[node.op] < strength
    return held_text(node, PRIMARY if weaker else OPERATION)


def _field_words(node: t.Expression) -> list[str]:
    words: list[str | None]
    match node:
        case t.Payload():
            words = [node.outer, node.protocol, node.field]
        case t.RawPayload():
            words = [f"@{node.base},{node.offset},{node.length}"]
        case t.Extension():
            words = ["exthdr" if node.field is None else None, node.header, node.field]
        case t.Option():
            word = "chunk" if node.protocol == "sctp" else "option"
            words = [node.protocol, word, node.name, node.field]
        case t.Meta():
            words = [None if node.key in META_WRITTEN_BARE else "meta", node.key]
        case t.Ct():
            words = ["ct", node.direction, node.family, node.key]
        case t.Fib():
            words = ["fib", " . ".join(node.selectors), node.result]
        case t.Route():
            words = ["rt", node.family, node.key]
        case t.Socket():
            words = ["socket", node.key, None if node.level is None else f"level {node.level}"]
        case t.Osf():
            words = ["osf", f"ttl {node.ttl}" if node.ttl else None, node.key]
        case t.Ipsec():
            number = None if node.spnum is None else f"spnum {node.spnum}"
            words = ["ipsec", node.direction, number, node.family, node.key]
        case t.Numgen():
            words = ["numgen", node.mode, f"mod {node.modulus}", _offset(node.offset)]
        case t.Hash():
            head = "symhash" if node.key is None else f"jhash {held_text(node.key, CONCATENATION)}"
            seed = f"seed {node.seed}" if node.seed is not None else None
            words = [head, f"mod {node.modulus}", seed, _offset(node.offset)]
        case _:
            raise TypeError(type(node))
    return [word for word in words if word]


def _offset(offset: int | None) -> str | None:
    return None if offset is None else f"offset {offset}"


def _set_text(elements: tuple[t.Element, ...], depth: int) -> str:
    texts = [element_text(element) for element in elements]
    line = f"{{ {', '.join(texts)} }}"
    if len(line) + 8 * depth <= WIDTH:
        return line
    tab = "\t" * (depth + 1)
    return "{\n" + ",\n".join(tab + text for text in texts) + "\n" + "\t" * depth + "}"


def element_text(element: t.Element) -> str:
    """`key [statements] [timeout T] [expires T] [comment "..."] [: data]`."""
    from notrack.ruleset.nft.statement_writer import statement_text

    words = [held_text(element.key, CONCATENATION)]
    words += [statement_text(statement) for statement in element.statements]
    words += [f"timeout {element.timeout}"] if element.timeout else []
    words += [f"expires {element.expires}"] if element.expires else []
    words += [f'comment "{quoted(element.comment)}"'] if element.comment is not None else []
    words += [f": {held_text(element.data, CONCATENATION)}"] if element.data is not None else []
    return " ".join(words)
