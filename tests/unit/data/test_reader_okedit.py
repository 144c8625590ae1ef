"""OKEDIT: two files in OK-VQA's form, and pictures in folders named by question."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import N_ROWS, write_published

from ldke_pl.data import EditCase, ProbeKind, parse_cases, read_cases
from ldke_pl.errors import DataError

P = ProbeKind
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def okedit(tmp_path: Path) -> tuple[Path, Path]:
    return write_published("okedit", tmp_path)


def change(path: Path, alter: Change) -> None:
    value = json.loads(path.read_text())
    alter(value)
    path.write_text(json.dumps(value))


def pictures(case: EditCase, kind: ProbeKind, root: Path) -> list[str]:
    return [str(Path(str(p.image)).relative_to(root)) for p in case.probes if p.kind is kind]


def test_row_is_joined_with_its_question(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    case = read_cases("okedit", path, root)[1]
    assert case.case_id == "okedit-mscoco_val2014_annotations-000001"
    assert case.request.image == root / "val2014" / "COCO_val2014_000000000001.jpg"
    assert (case.request.prompt, case.request.target, case.old_answer) == ("Name town 1.", "Gullby", "Saltmere")
    assert (case.group, case.entity) == ("image-text based", "val2014/COCO_val2014_000000000001.jpg")
    rephrased = [p.prompt for p in case.probes if p.kind is P.TEXT_GENERALITY]
    assert rephrased == ["Which town is number 1?", "Town 1: what is its name?"]


def test_pictures_are_found_by_question(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    case = read_cases("okedit", path, root)[1]
    assert pictures(case, P.IMAGE_GENERALITY, root) == ["rephrased_images/1001/0.png", "rephrased_images/1001/1.png"]
    (probe,) = [p for p in case.probes if p.kind is P.IMAGE_LOCALITY]
    assert probe.image == root / "locality_images" / "1001" / "0.png"
    assert (probe.prompt, probe.expected) == (case.request.prompt, "a cup")


def test_one_sentence_is_asked_after_every_edit(okedit: tuple[Path, Path]) -> None:
    asked = {(p.image, p.prompt) for c in read_cases("okedit", *okedit) for p in c.probes if p.kind is P.TEXT_LOCALITY}
    assert asked == {(None, "what purpose did seasonal monsoon winds have on trade")}


def test_folder_stands_for_the_file_in_it(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    assert read_cases("okedit", path.parent, root) == read_cases("okedit", path, root)


def test_without_a_root_no_folder_is_looked_into(okedit: tuple[Path, Path]) -> None:
    case = read_cases("okedit", okedit[0], None)[0]
    assert not [p for p in case.probes if p.kind is P.IMAGE_GENERALITY]
    assert [str(p.image) for p in case.probes if p.kind is P.IMAGE_LOCALITY] == ["locality_images/1000/0.png"]


def test_pictures_that_are_not_there_are_counted(okedit: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    path, root = okedit
    (root / "locality_images" / "1000" / "0.png").unlink()
    (root / "rephrased_images" / "1000" / ".hidden").touch()
    (root / "rephrased_images" / "1000" / "1.png").unlink()
    for file in (root / "rephrased_images" / "1001").iterdir():
        file.unlink()
    (root / "rephrased_images" / "1001").rmdir()
    with caplog.at_level(logging.WARNING):
        first, second = read_cases("okedit", path, root)[:2]
    assert pictures(first, P.IMAGE_GENERALITY, root) == ["rephrased_images/1000/0.png"]
    assert not pictures(second, P.IMAGE_GENERALITY, root)
    assert not pictures(first, P.IMAGE_LOCALITY, root)
    assert f"1 of {N_ROWS} cases have no rephrase picture under {root}" in caplog.text
    assert f"1 of {N_ROWS} cases have no locality picture under {root}" in caplog.text


def test_faults_name_row_and_key(okedit: tuple[Path, Path]) -> None:
    path, root = okedit

    def spoil(table: dict[str, Any]) -> None:
        rows = table["annotations"]
        rows[0]["counterfact_answer"] = ""
        rows[1]["question_id"] = 99
        rows[2]["question_id"] = "../1002"
        rows[3] = "row"
        rows[4]["image_id"] = None
        rows[5]["answers"] = []

    change(path, spoil)
    asked = path.parent / "OpenEnded_mscoco_val2014_questions.json"
    change(asked, lambda table: table["questions"][-1].update(rephrased_questions=[["Q?"]]))
    parsed = parse_cases("okedit", path, root)
    assert [case.old_answer for case in parsed.cases] == [""]
    assert [(p.file.name, p.row, p.key, p.reason[:26]) for p in parsed.problems] == [
        (path.name, 0, "counterfact_answer", "is empty"),
        (asked.name, 0, "rephrased_questions[0]", "is a list, not a text"),
        (path.name, 1, "question_id", "has no question in OpenEnd"),
        (path.name, 2, "question_id", "has no question in OpenEnd"),
        (path.name, 3, "", "is a text, not an object"),
        (path.name, 4, "image_id", "is null"),
    ]


def test_id_cannot_lead_out_of_the_root(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    change(path, lambda table: table["annotations"][0].update(question_id="../x"))
    asked = path.parent / "OpenEnded_mscoco_val2014_questions.json"
    change(asked, lambda table: table["questions"][-1].update(question_id="../x"))
    (problem,) = parse_cases("okedit", path, root).problems
    assert problem.key == "question_id"
    assert "may not leave the image root" in problem.reason


def test_questions_are_needed(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    (path.parent / "OpenEnded_mscoco_val2014_questions.json").unlink()
    with pytest.raises(DataError, match=r"OpenEnded_mscoco_val2014_questions\.json does not exist"):
        read_cases("okedit", path, root)


@pytest.mark.parametrize("content", ["[]", "{}", '{"annotations": []}', '{"annotations": {}}'])
def test_file_of_another_form_is_refused(content: str, okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    path.write_text(content)
    with pytest.raises(DataError, match='holds no list of "annotations"'):
        read_cases("okedit", path, root)


def test_cut_file_is_called_truncated(okedit: tuple[Path, Path]) -> None:
    path, root = okedit
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match="is truncated"):
        read_cases("okedit", path, root)
