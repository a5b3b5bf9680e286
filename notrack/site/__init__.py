"""The site language: text to syntax tree to a resolved `Site`. Knows nothing about tables and chains."""

from __future__ import annotations

from notrack.site.loader import load, load_text

__all__ = ["load", "load_text"]
