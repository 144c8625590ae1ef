"""Edits written by hand: the three kinds of file, and messages that say how to put a mistake right."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import plain_rows, write_csv, write_lines

from ldke_pl.data import Probe, ProbeKind, parse_cases, read_cases
from ldke_pl.errors import DataError

WriteRows = Callable[[Any], Path]
P = ProbeKind
EDIT = {"prompt": "Whose cup is this?", "target": "Ada's"}


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edits.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_two_keys_make_an_edit(write_rows: WriteRows) -> None:
    (case,) = read_cases("plain", write_rows([EDIT]), None)
    assert case.request.image is None
    assert case.probes == (Probe(P.RELIABILITY, None, "Whose cup is this?", "Ada's"),)
    assert case.case_id == case.entity == "plain-rows-000000"


def test_all_keys_fill_the_case(write_rows: WriteRows) -> None:
    probe = {"kind": "image_locality", "image": "jug.jpg", "prompt": "Whose jug?", "expected": None}
    row = EDIT | {
        "image": "cup.jpg", "rephrases": ["Who owns it?"], "rephrase_images": ["cup2.jpg"], "probes": [probe],
        "group": "entity", "entity": "cup", "id": 7,
    }  # fmt: skip
    (case,) = read_cases("plain", write_rows([row]), None)
    cup = Path("cup.jpg")
    assert (case.case_id, case.group, case.entity, case.request.group) == ("7", "entity", "cup", "entity")
    assert case.probes == (
        Probe(P.RELIABILITY, cup, EDIT["prompt"], "Ada's"),
        Probe(P.TEXT_GENERALITY, cup, "Who owns it?", "Ada's"),
        Probe(P.IMAGE_GENERALITY, Path("cup2.jpg"), EDIT["prompt"], "Ada's"),
        Probe(P.IMAGE_LOCALITY, Path("jug.jpg"), "Whose jug?"),
    )


def test_what_must_not_change_is_locality(write_rows: WriteRows, tmp_path: Path) -> None:
    listed = ["What colour?", {"image": "jug.jpg", "prompt": "Whose jug?"}, {"image": None, "prompt": "Who is Ada?"}]
    (case,) = read_cases("plain", write_rows([EDIT | {"image": "cup.jpg", "must_not_change": listed}]), None)
    assert case.probes[1:] == (
        Probe(P.FINEGRAINED_LOCALITY, Path("cup.jpg"), "What colour?"),
        Probe(P.IMAGE_LOCALITY, Path("jug.jpg"), "Whose jug?"),
        Probe(P.TEXT_LOCALITY, None, "Who is Ada?"),
    )
    (case,) = read_cases("plain", write_rows([EDIT | {"must_not_change": "Who is Ada?"}]), None)
    assert case.probes[1:] == (Probe(P.TEXT_LOCALITY, None, "Who is Ada?"),)
    path = table(tmp_path, "image,prompt,target,must_not_change\ncup.jpg,Whose?,Ada,What colour?|How big?\n")
    (case,) = read_cases("plain", path, None)
    assert [p.prompt for p in case.probes[1:]] == ["What colour?", "How big?"]


def test_faults_of_what_must_not_change_are_named(write_rows: WriteRows) -> None:
    own = EDIT | {"must_not_change": [EDIT["prompt"]]}
    forgotten = EDIT | {"must_not_change": ["Who?", {"prompt": "Whose jug?", "picture": "jug.jpg"}, True]}
    problems = {(p.row, p.key): p.reason for p in parse_cases("plain", write_rows([own, forgotten])).problems}
    assert problems == {
        (0, "must_not_change"): "holds the edit's own question about its own picture, which is what changes",
        (1, "must_not_change[1].picture"): "is not a known key. Choices: image, prompt.",
        (1, "must_not_change[1].image"): "is missing",
        (1, "must_not_change[2]"): "is a boolean, not a text",
    }


def test_all_kinds_of_file_say_the_same(tmp_path: Path, write_rows: WriteRows) -> None:
    rows = plain_rows(tmp_path / "root")
    expected = read_cases("plain", write_rows(rows), tmp_path / "root")
    assert len(expected) == 6
    assert read_cases("plain", write_csv(tmp_path / "edits.csv", rows), tmp_path / "root") == expected
    assert read_cases("plain", write_lines(tmp_path / "edits.jsonl", rows), tmp_path / "root") == expected


def test_table_separates_lists_by_a_bar(tmp_path: Path) -> None:
    path = table(tmp_path, 'image, prompt ,target,rephrases\ncup.jpg,"Whose, please?",Ada,Who owns it?| Which owner?\n')
    (case,) = read_cases("plain", path, None)
    assert case.request.prompt == "Whose, please?"
    assert [p.prompt for p in case.probes[1:]] == ["Who owns it?", "Which owner?"]


def test_unknown_key_gets_a_suggestion(write_rows: WriteRows) -> None:
    rows = [EDIT | {"rephrase": ["Who?"]}, EDIT | {"probes": [{"kind": "text_localty", "image": None, "promt": "Q?"}]}]
    problems = {(p.row, p.key): p.reason for p in parse_cases("plain", write_rows(rows)).problems}
    assert problems.keys() == {
        (0, "rephrase"),
        (1, "probes[0].promt"),
        (1, "probes[0].expected"),
        (1, "probes[0].kind"),
        (1, "probes[0].prompt"),
    }
    assert 'is not a known key. Did you mean "rephrases"? Choices: image, prompt,' in problems[0, "rephrase"]
    assert 'Did you mean "prompt"?' in problems[1, "probes[0].promt"]
    assert 'Did you mean "text_locality"?' in problems[1, "probes[0].kind"]


def test_missing_and_wrong_values_are_named(write_rows: WriteRows) -> None:
    rows = [{"target": "Ada"}, EDIT | {"target": " "}, EDIT | {"rephrases": "Who?", "image": "/etc/cup.jpg"}, "cup"]
    problems = [(p.row, p.key, p.reason[:19]) for p in parse_cases("plain", write_rows(rows)).problems]
    assert problems == [
        (0, "prompt", "is missing"),
        (1, "target", "is empty"),
        (2, "image", "is an absolute path"),
        (3, "", "is a text, not an o"),
    ]


def test_id_used_twice_is_named(write_rows: WriteRows) -> None:
    (problem,) = parse_cases("plain", write_rows([EDIT | {"id": "a"}, EDIT | {"id": "b"}, EDIT | {"id": "a"}])).problems
    assert (problem.row, problem.key, problem.reason) == (2, "id", '"a" is also the id of row 0')


def test_unknown_and_missing_columns_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_cases("plain", table(tmp_path, "image,promt,target\na.jpg,Q?,A\n"), None)
    assert '"promt" is not a known column. Did you mean "prompt"?' in caught.value.message
    assert 'column "prompt" is missing.' in caught.value.message
    assert "rephrase_images" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'column "prompt" is missing'),
        ("prompt,target\n", "has no rows"),
        ('prompt,target\n"Whose?" cup,Ada\n', "is no CSV table"),
    ],
)
def test_table_that_cannot_be_read_is_one_error(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        read_cases("plain", table(tmp_path, text), None)


def test_bad_lines_of_a_table_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "prompt,target,probes\nWhose, please?,Ada,,\nWhose?\nWhose?,Ada,[{]\nWhose?,Ada,\n")
    parsed = parse_cases("plain", path)
    assert [case.case_id for case in parsed.cases] == ["plain-edits-000003"]
    assert [(p.row, p.key, p.reason[:11]) for p in parsed.problems] == [
        (0, "", "has more va"),
        (1, "target", "is missing"),
        (2, "probes", "is not JSON"),
    ]


def test_bad_lines_of_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    deep = "[" * 100_000
    path.write_text("\n".join(["{", json.dumps(EDIT | {"target": "a\u2028b"}, ensure_ascii=False), "", deep, "3"]))
    parsed = parse_cases("plain", path)
    assert [case.request.target for case in parsed.cases] == ["a\u2028b"]
    assert [(p.row, p.reason[:14]) for p in parsed.problems] == [
        (0, "is not JSON: E"),
        (2, "cannot be read"),
        (3, "is a number, n"),
    ]


def test_empty_lines_are_no_edits(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text("\n\n")
    with pytest.raises(DataError, match="has no rows"):
        read_cases("plain", path, None)
