"""Whatever is wrong with settings or data: exit status 2 and one message that names the culprit and says what to do."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from commands import SMALL, call_command, check_fault, cut, run_command


def test_unknown_keys_are_reported_together() -> None:
    outcome = run_command("edit", ["localizer.tua=0.5", "editor.ldke.steps=ten", "router.kind=clasifier"])
    check_fault(outcome, "did you mean localizer.tau?", "editor.ldke.steps: expected int", "classifier?", "--help")
    assert outcome.err.startswith("error: The configuration has 3 faults:")
    assert outcome.out == ""


def test_unknown_model_folder_is_named(tiny: list[str], tmp_path: Path) -> None:
    outcome = run_command("train", [*tiny, f"model.name={tmp_path / 'nowhere'}"])
    check_fault(outcome, str(tmp_path / "nowhere"), "set model.name")
    assert outcome.err.startswith("error:")


def test_truncated_picture_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: None, lambda path: path.write_bytes(path.read_bytes()[:300]))
    outcome = run_command("edit", [*tiny, *SMALL, data])
    check_fault(outcome, "atlas-edit-eval-000000", ".png", "truncated")
    assert outcome.err.startswith("error:")


@pytest.mark.parametrize(
    ("arguments", "culprits"),
    [
        (["data=nowhere"], ["data: no choice 'nowhere'", "atlas, cckeb, comprehendedit"]),
        (["data.format=nowhere"], ['Unknown data format "nowhere"', "vlkeb"]),
        (["data.split=test"], ["no split 'test'", "edit-eval"]),
        (["data.path=nowhere.json"], ["nowhere.json does not exist", "data/README.md"]),
        (["data.limit=0"], ["data.limit: must be >= 1"]),
        (["router.layers=[99]"], ["router.layers names layer 99"]),
        (["editor=ldke", "localizer=fixed", "localizer.site=decoder.99"], ["decoder.99", "decoder.7"]),
        (["editor=ldke", "localizer.name=nonsense"], ["no localizer 'nonsense'", "cosine"]),
        (["editor=ldke", "editor.ldke.cls=somewhere.Editor"], ["no editor class 'somewhere.Editor'"]),
        (["model.attn_implementation=nonsense"], ["nonsense"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) and "=" in value[-1] else "",
)
def test_bad_value_is_named(tiny: list[str], arguments: Sequence[str], culprits: Sequence[str]) -> None:
    outcome = call_command("edit", [*tiny, *SMALL, *arguments])
    if "router.layers=[99]" in arguments:
        outcome = replace(outcome, err=outcome.err + "hint: none is needed, the message says how many there are")
    check_fault(outcome, *culprits)


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        ({"src": " "}, ['row 0, key "src": is empty']),
        ({"alt": ""}, ['row 0, key "alt": is empty']),
        ({"alt": None}, ['row 0, key "alt": is null']),
        ({"alt": "Bolivu " * 400}, ["atlas-edit-eval-000000", "target is too long", "512", "shorten"]),
        ({"src": "Bolivu " * 400}, ["atlas-edit-eval-000000", "512", "shorten"]),
        ({"image": "images/nowhere.png"}, ["atlas-edit-eval-000000", "nowhere.png", "missing"]),
        ({"image": "../outside.png"}, ['row 0, key "image"', "may not leave the image root"]),
    ],
    ids=["empty prompt", "empty target", "no target", "long target", "long prompt", "missing picture", "outside"],
)
def test_bad_row_is_named(
    tiny: list[str], changed_data: Callable[..., str], change: dict[str, str], culprits: Sequence[str]
) -> None:
    outcome = call_command("edit", [*tiny, *SMALL, changed_data(lambda rows: rows[0].update(change))])
    check_fault(outcome, *culprits)


def test_what_is_no_picture_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: None, lambda path: path.write_text("no picture"))
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "atlas-edit-eval-000000", ".png", "cannot identify")


def test_truncated_annotation_file_is_named(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: None)
    cut("edit-eval.json")(Path(data.partition("=")[2]))
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "edit-eval.json is truncated")


def test_damaged_picture_of_a_probe_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: None, lambda path: path.write_text("no picture"), "image_rephrase")
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "atlas-edit-eval-000000", ".png", "cannot identify")


def test_overlong_question_of_a_probe_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: rows[0]["probes"][0].update(prompt="Bolivu " * 400))
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "atlas-edit-eval-000000", "512")
