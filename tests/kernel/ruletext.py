"""Writing small rulesets for tests: lists of rules in, text for a tool out."""

from __future__ import annotations

PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "srcnat": 100}
BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}


def xt(**tables: tuple[str, ...] | list[str]) -> str:
    """A restore text. A line is a rule (`-A INPUT ..`), a policy (`INPUT DROP`) or an own chain (`:name`)."""
    return "".join(_table(name, list(lines)) for name, lines in tables.items())


def _table(name: str, lines: list[str]) -> str:
    policies = dict.fromkeys(BUILT_IN[name], "ACCEPT")
    policies.update(dict(line.split() for line in lines if line[0] not in "-:"))
    heads = [f":{chain} {policy} [0:0]" for chain, policy in policies.items()]
    heads += [f"{line} - [0:0]" for line in lines if line[0] == ":"]
    return "\n".join([f"*{name}", *heads, *(line for line in lines if line[0] == "-"), "COMMIT", ""])


def chain(hook: str, priority: str | int, *rules: str, policy: str = "accept", kind: str = "filter") -> str:
    """An nft base chain, named after its hook and priority."""
    number = PRIORITIES.get(str(priority), priority)
    name = f"{hook}_{number}".replace("-", "m")
    body = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    type {kind} hook {hook} priority {number}; policy {policy};\n{body}  }}\n"


def nft(*parts: str, family: str = "inet", name: str = "t") -> str:
    """An nft table around chains, sets and objects."""
    return f"table {family} {name} {{\n{''.join(parts)}}}\n"
