"""Which edit is shown in the documentation, and what of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ldke_pl.errors import ConfigError
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.picture import edit_page, main, story

MakeRow = Callable[..., ProbeResult]


@pytest.fixture
def rows(make_row: MakeRow) -> list[ProbeResult]:
    """Two edits in force together, the first with a wrong answer; each has two answers that stay."""
    relevant = ("reliability", "text_generality", "portability_1")
    locality = ("finegrained_locality", "image_locality")
    return [
        make_row(
            mode="joint", case_id=case, edit_id=case, route=case if kind in relevant else "base", kind=kind,
            relevant=kind in relevant, prompt=f"{kind} of {case}?", before="x", after="y" if kind in relevant else "x",
            score=float((case, kind) != ("c0", "text_generality")),
        )
        for case in ("c0", "c1")
        for kind in relevant + locality
    ]  # fmt: skip


def test_the_first_edit_with_all_that_is_shown(rows: list[ProbeResult]) -> None:
    card, parts = story(rows)
    assert card.any.case_id == "c1"
    shown = [[row.kind for row in part] for part in parts.values()]
    assert shown == [
        ["reliability"], ["text_generality", "portability_1"], ["finegrained_locality", "image_locality"]
    ]  # fmt: skip


def test_a_related_answer_must_have_changed(rows: list[ProbeResult], make_row: MakeRow) -> None:
    same = make_row(mode="joint", case_id="c1", edit_id="c1", route="c1", kind="text_generality", before="y", after="y")
    _, parts = story([same, *rows])
    assert [row.before for row in parts["Related questions follow"]] == ["x", "x"]


def test_the_page(rows: list[ProbeResult], tmp_path: Path, make_row: MakeRow) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    extra = make_row(mode="joint", case_id="c1", edit_id="c1", route="c1", image=str(tmp_path / "a.png"), prompt="<b>")
    page = edit_page([*rows, extra])
    for needed in ("x → y", "one of 2 edits in force at once", "6 of its 6 questions", "data:image/png", "text only"):
        assert needed in page
    assert "<b></td>" not in page and "text_generality of c0" not in page


def test_a_run_without_such_an_edit(rows: list[ProbeResult]) -> None:
    with pytest.raises(ConfigError, match="gets them right"):
        story(rows[:5])


def test_what_it_needs_to_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["only one"]) == 2
    assert "RUN_FOLDER FOLDER" in capsys.readouterr().out
