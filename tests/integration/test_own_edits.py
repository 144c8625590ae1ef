"""``python edit.py edits=FILE`` as a user runs it: with the README's example, edits that take and edits that do not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, call_command, check_fault, run_command
from published import draw, write_csv, write_lines

from ldke_pl import EditedModel
from ldke_pl.atlas.picture import main as draw_country
from ldke_pl.data.made import MADE
from ldke_pl.metrics.results import read_results

TAKING = ["editor=ldke", "editor.ldke.steps=100", "editor.ldke.lr=0.03", "editor.ldke.views=1"]
TAKING += ["localizer=fixed", "localizer.site=decoder.6", "editor.ldke.propagation_weight=0"]


@pytest.fixture
def small(model_folder: Path, tmp_path: Path) -> list[str]:
    """Arguments of a run of seconds; its folder is ``tmp_path / "run"``."""
    folder = f"run.dir={tmp_path / 'run'}"
    return [f"model.name={model_folder}", "router=radius", folder, "run.resamples=20", "logger=none"]


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Two edits of the user's own, whose pictures lie beside their file."""
    return [
        {"image": draw(tmp_path, "cup.png"), "prompt": "Who leads this country?", "target": "Arimovic"},
        {"image": draw(tmp_path, "jug.png"), "prompt": "Which country is this?", "target": "Bolivu", "id": "[jug]"},
    ]


def told(out: str) -> str:
    """What was printed, without spaces and line breaks."""
    return "".join(out.split())


def test_readme_example_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own picture")[2].partition("\n## ")[0]
    monkeypatch.chdir(tmp_path)
    for command in re.findall(r"python -m ldke_pl\.atlas\.picture (.*)", text):
        draw_country(command.split())
    (lines,) = re.findall(r"```json\n(.*?)```", text, re.S)
    (tmp_path / "my_edits.jsonl").write_text(lines, encoding="utf-8")
    (argument,) = re.findall(r"python edit.py (edits=.*)\n", text)
    outcome = call_command("edit", [argument, f"run.dir={tmp_path / 'run'}", "trainer.accelerator=cpu"])
    assert outcome.status == 0, outcome.out + outcome.err
    assert "ldke: 2 of 2 edits took" in outcome.out
    assert f"python -m ldke_pl.edits ask {tmp_path / 'run' / 'edits'}" in outcome.out
    (block,) = re.findall(r"```\n(edit 1 of 2: .*?)\n```", text, re.S)
    shown = re.sub(r"/home/you\S*", str(tmp_path / "sasevu.png"), block)
    assert told(shown) in told(outcome.out)  # the very numbers


def test_edits_that_take(rows: list[dict[str, Any]], small: list[str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", rows)
    outcome = call_command("edit", [*small, *TAKING, f"edits={path}"])
    assert outcome.status == 0, outcome.out + outcome.err
    assert "  10 changed pictures (crop, light, turn, noise): must give the target" in outcome.out
    assert "edit 2 of 2: [jug], ldke: took" in outcome.out
    assert "sites         decoder.6" in outcome.out
    assert f"report: {tmp_path / 'run' / 'report.html'}" in outcome.out
    edits = EditedModel.load(tmp_path / "run" / "edits").active
    assert [e.target for e in edits] == ["Arimovic", "Bolivu"]
    found = list(read_results(tmp_path / "run" / "results.csv"))
    assert {row.mode for row in found} == {"single", "joint"}
    assert {row.case_id for row in found} == {"plain-mine-000000", "[jug]"}
    assert all(row.relation.startswith(MADE) == (row.kind != "reliability") for row in found)
    assert all(Path(row.image).is_file() for row in found if row.image)


def test_an_edit_that_does_not_take_is_named(rows: list[dict[str, Any]], small: list[str], tmp_path: Path) -> None:
    path = write_csv(tmp_path / "mine.csv", rows)
    outcome = run_command("edit", [*small, "editor=no_edit", f"edits={path}"])
    assert outcome.status == 1
    assert "error:" not in outcome.err
    assert "no_edit: 0 of 2 edits took\ndid not take: plain-mine-000000, [jug]\n" in outcome.out
    assert (tmp_path / "run" / "report.html").exists()
    assert len(json.loads((tmp_path / "run" / "metrics.json").read_text())["methods"]) == 1


def test_edits_that_do_not_take_are_saved_all_the_same(
    rows: list[dict[str, Any]], small: list[str], tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "mine.jsonl", rows)
    outcome = call_command("edit", [*small, "editor.ldke.steps=1", f"edits={path}"])
    assert outcome.status == 1
    assert len(EditedModel.load(tmp_path / "run" / "edits").active) == 2
    assert f"ask {tmp_path / 'run' / 'edits'} 'Who leads this country?' picture={tmp_path / 'cup.png'}" in outcome.out


def test_what_must_not_change_and_does_is_a_side_effect(
    rows: list[dict[str, Any]], small: list[str], tmp_path: Path
) -> None:
    rows[0]["must_not_change"] = ["What colour is the cup?", {"image": "jug.png", "prompt": "Whose jug is this?"}]
    path = write_lines(tmp_path / "mine.jsonl", rows[:1])
    everywhere = [*TAKING, "editor.ldke.routing=none"]  # every question meets the edit
    outcome = call_command("edit", [*small, *everywhere, f"edits={path}"])
    assert outcome.status == 0
    assert "plain-mine-000000, ldke alone: took" in outcome.out
    assert told('"What colour is the cup?": ') in told(outcome.out)
    assert told(f'"Whose jug is this?" ({tmp_path / "jug.png"}): ') in told(outcome.out)
    assert told("-> Arimovic") in told(outcome.out)
    assert "ask the edited model" not in outcome.out  # without a router there is no artefact


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        ({"taget": "x"}, ['key "taget": is not a known key', 'Did you mean "target"?']),
        ({"image": "nowhere.png"}, ["nowhere.png", "missing"]),
        ({"image": "cup.png", "prompt": "Who leads this country?"}, ["plain-mine-000000 and [jug]", "same question"]),
    ],
)
def test_bad_file_is_one_message(
    rows: list[dict[str, Any]], small: list[str], tmp_path: Path, change: dict[str, str], culprits: list[str]
) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [rows[0], rows[1] | change])
    check_fault(call_command("edit", [*small, f"edits={path}"]), *culprits)


def test_missing_file_and_contradicting_settings_are_one_message(small: list[str], tmp_path: Path) -> None:
    check_fault(call_command("edit", [*small, "edits=nowhere.jsonl"]), "nowhere.jsonl does not exist")
    check_fault(call_command("edit", [*small, "edits=a.jsonl", "data.path=b.jsonl"]), "edits: stands for data.path")
