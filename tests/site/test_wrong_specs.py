"""Every wrong spec gives exactly the errors that it states, in comments on the very lines that cause them.

`# ! 24: unknown network ~ office` says: column 24, a message that holds `unknown network`, a help that
holds `office`. Several may stand on one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from notrack.site import load
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.render import render_all

FOLDER = Path(__file__).parent / "wrong"
SINGLE = sorted(FOLDER.glob("*.spec"))
FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
_EXPECTED = re.compile(r"# ! (\d+): (.*?) ~ (.*?)(?= # ! |$)")


@dataclass(frozen=True)
class Expected:
    file: str
    line: int
    column: int
    message: str
    help: str

    def fits(self, found: Diagnostic) -> bool:
        return (
            found.span is not None
            and Path(found.span.source.name).name == self.file
            and (found.span.line, found.span.column) == (self.line, self.column)
            and self.message in found.message
            and self.help in (found.help or "")
        )


def expected(path: Path) -> list[Expected]:
    """What the comments of one file ask for, in the order of the text."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [
        Expected(path.name, number, int(match[1]), match[2], match[3].rstrip("\r"))
        for number, line in enumerate(text.split("\n"), 1)
        for match in _EXPECTED.finditer(line)
    ]


def _main(case: Path) -> Path:
    return case / "main.spec" if case.is_dir() else case


def _files(case: Path) -> list[Path]:
    return sorted(p for p in case.rglob("*") if p.is_file()) if case.is_dir() else [case]


@pytest.mark.parametrize("case", SINGLE + FOLDERS, ids=lambda path: path.stem)
def test_states_its_errors(case: Path) -> None:
    wanted = [e for path in _files(case) for e in expected(path)]
    assert wanted, "a wrong spec must state an error"
    with pytest.raises(Rejected) as caught:
        load(_main(case))
    found = list(caught.value.diagnostics)
    shown = render_all(found)
    assert all(d.severity is Severity.ERROR for d in found)
    for want in wanted:
        fitting = [d for d in found if want.fits(d)]
        assert fitting, f"not found: {want}\n{shown}"
        found.remove(fitting[0])
    assert not found, f"more errors than stated:\n{render_all(found)}"


@pytest.mark.parametrize("case", SINGLE + FOLDERS, ids=lambda path: path.stem)
def test_says_how_to_mend_it(case: Path) -> None:
    with pytest.raises(Rejected) as caught:
        load(_main(case))
    assert all(d.help for d in caught.value.diagnostics)


def test_there_are_many() -> None:
    assert len(SINGLE) + len(FOLDERS) >= 200
