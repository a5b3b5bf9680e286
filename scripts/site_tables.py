"""Writes grammar/site.tables.json from grammar/site.lark. Run it after every change of the grammar."""

from __future__ import annotations

from notrack.resource import resource
from notrack.site.grammar import SOURCE, TABLES, tables_text

if __name__ == "__main__":
    folder = resource("grammar")
    (folder / TABLES).write_text(tables_text((folder / SOURCE).read_text(encoding="utf-8")), encoding="utf-8")
