"""The manual pages of the linter's rules: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from notrack.lint.rule import MARK, Example, Rule

_WIDTH = 88


def _paragraphs(text: str, indent: str = "") -> str:
    """Plain paragraphs, wrapped anew."""
    parts = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent)
        for part in parts
    )


def _shown(example: Example) -> Iterator[tuple[str, str]]:
    """The files of an example, marks turned into arrows."""
    texts: Mapping[str, str] = {"": example.text} if isinstance(example.text, str) else example.text
    for name, text in texts.items():
        plain = re.sub(rf"[ \t]*{MARK}[^\n]*", "    <-- here", textwrap.dedent(text).strip("\n"))
        yield name, plain.rstrip()


def _example_text(example: Example) -> str:
    lines = [f"  {example.title}:"]
    for name, text in _shown(example):
        lines += [f"    {name}"] if name else []
        lines.append(textwrap.indent(text, "      "))
    return "\n".join(lines)


def as_text(rule: Rule) -> str:
    """The page for a terminal."""
    parts = [
        f"{rule.code} {rule.name} ({rule.severity.value})",
        f"{rule.summary[:1].upper()}{rule.summary[1:]}.",
        "What it finds\n" + _paragraphs(rule.what, "  "),
        "Why it matters\n" + _paragraphs(rule.why, "  "),
        "Limits\n" + _paragraphs(rule.limits, "  "),
        "Mending\n" + _paragraphs(rule.mending, "  "),
        "Found\n" + _example_text(rule.bad[0]),
        "Not found\n" + _example_text(rule.good[0]),
        "Looks wrong and is right\n" + "\n\n".join(_example_text(one) for one in rule.looks_wrong),
    ]
    return "\n\n".join(parts) + "\n"


def as_markdown(rule: Rule) -> str:
    """The page for the documentation."""
    parts = [
        f"## {rule.code} {rule.name}",
        f"*{rule.severity.value.capitalize()}.* {rule.summary[:1].upper()}{rule.summary[1:]}.",
        _paragraphs(rule.what),
        "**Why.** " + _paragraphs(rule.why),
        "**Limits.** " + _paragraphs(rule.limits),
        "**Mending.** " + _paragraphs(rule.mending),
    ]
    kinds = [
        ("Found", rule.bad[:1]),
        ("Not found", rule.good[:1]),
        ("Looks wrong and is right", rule.looks_wrong),
    ]
    for kind, examples in kinds:
        for example in examples:
            parts.append(f"{kind}: {example.title}.")
            for name, text in _shown(example):
                parts.append(f"```\n{f'# {name}' + chr(10) if name else ''}{text}\n```")
    return "\n\n".join(parts) + "\n"


def as_json(rule: Rule) -> dict[str, object]:
    """The page for programs."""
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity.value,
        **{
            name: _paragraphs(getattr(rule, name)) for name in ("summary", "what", "why", "limits", "mending")
        },
    }


def book(rules: Sequence[Rule]) -> str:
    """All pages as one Markdown document, with a table of them in front."""
    head = [
        "# What the linter finds",
        "`notrack rules --format markdown` writes this page; each text stands in the file of its rule.",
        table(rules, markdown=True),
    ]
    return "\n\n".join(head) + "\n\n" + "\n".join(as_markdown(rule) for rule in rules)


def table(rules: Sequence[Rule], *, markdown: bool = False) -> str:
    """One line a rule."""
    if markdown:
        rows = [
            f"| [{r.code}](#{r.code.lower()}-{r.name}) | {r.name} | {r.severity.value} | {r.summary} |"
            for r in rules
        ]
        return "\n".join(["| code | name | severity | finds |", "| --- | --- | --- | --- |", *rows])
    wide = max((len(rule.name) for rule in rules), default=0)
    return "\n".join(f"{r.code}  {r.severity.value:<7}  {r.name:<{wide}}  {r.summary}" for r in rules)
