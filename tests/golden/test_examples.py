"""Every example compiles to the files that stand beside it. `--update-golden` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.layout.output import FILES, emit
from notrack.plan.planner import plan
from notrack.plan.view import as_text
from notrack.site import load
from tests.conftest import ROOT

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/site.spec"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_compiles_to_its_golden_files(
    folder: Path, update_golden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    site, warnings = load(folder.relative_to(ROOT) / "site.spec")
    assert warnings == (), [warning.message for warning in warnings]
    found = plan(site)
    texts = {"plan.txt": as_text(found)}
    texts |= {FILES[target]: emit(found, target).text for target in FILES}
    for name, text in texts.items():
        golden = folder / name
        if update_golden:
            golden.write_text(text)
        assert golden.read_text() == text, f"{golden}: run with --update-golden and read the difference"


def test_there_are_the_promised_examples() -> None:
    promised = {
        "web-dns",
        "resolver",
        "nat-gateway",
        "stateless",
        "router",
        "memcached",
        "kubernetes-node",
        "wireguard",
    }
    assert promised <= {folder.name for folder in EXAMPLES}
