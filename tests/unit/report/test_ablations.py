"""What is left out against the whole: which probes are compared, and when a difference is marked."""

import json
from collections.abc import Callable
from pathlib import Path

from ldke_pl.metrics.results import ProbeResult, write_results
from ldke_pl.report.ablations import ablations_page, main
from ldke_pl.report.runs import FACTS

Make = Callable[..., ProbeResult]


def rows(make_row: Make, score: float, **changes: str) -> list[ProbeResult]:
    return [make_row(case_id=f"c{i}", entity=f"x{i}", group="entity", score=score, **changes) for i in range(8)]


def test_a_difference_that_leaves_out_zero_is_bold(make_row: Make) -> None:
    whole = rows(make_row, 1.0) + rows(make_row, 1.0, kind="portability_1")
    changed = rows(make_row, 1.0) + rows(make_row, 0.0, kind="portability_1")
    text = ablations_page(whole, {"last": changed})
    assert "| changed | n | average | reliability | P1, entity |" in text
    assert "| last | 8 | **-50.0 (-50.0 to -50.0)** | +0.0 (+0.0 to +0.0) | **-100.0 (-100.0 to -100.0)** |" in text
    assert "Edits together" not in text


def test_only_our_method_by_generation_is_compared(make_row: Make) -> None:
    whole = rows(make_row, 1.0) + rows(make_row, 0.0, method="mend") + rows(make_row, 0.0, protocol="masked")
    text = ablations_page(whole, {"same": whole, "other": rows(make_row, 1.0, method="mend")})
    assert "| same | 8 | +0.0" in text and "| other |" not in text


def test_runs_are_named_by_their_folders_and_their_pictures_may_lie_anywhere(make_row: Make, tmp_path: Path) -> None:
    for name, score in (("full", 1.0), ("last", 0.0)):
        (tmp_path / name).mkdir()
        write_results(tmp_path / name / "results.csv", rows(make_row, score, image=f"/{name}/pictures/a.png"))
        facts = dict.fromkeys(FACTS, 1) | {"methods": {}}
        (tmp_path / name / "metrics.json").write_text(json.dumps(facts), encoding="utf-8")
        (tmp_path / name / "config.yaml").write_text("", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("<!-- ablations --><!-- end -->", encoding="utf-8")
    assert main([str(tmp_path / "full"), str(tmp_path / "last"), str(page)]) == 0
    assert "| last | 8 | **-100.0" in page.read_text(encoding="utf-8")
    assert main([str(tmp_path / "full")]) == 2
