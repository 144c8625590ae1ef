"""Whatever is wrong with the input: exit status 2 and one message that names the culprit and says what to do."""

import copy
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Outcome, call_command, run_command, write_rows
from safetensors.torch import load_file, save_file

from ldke_pl import EditedModel
from ldke_pl.backbone import load_backbone
from ldke_pl.config import CONF_DIR, EditConfig, ModelConfig, load_config
from ldke_pl.data import read_cases
from ldke_pl.editors import build_editor

Change = Callable[[Path], object]
SMALL = ["router=radius", "data.limit=2", "editor=no_edit", "run.protocols=[generate]", "logger=none"]
EDITING = [*SMALL, "editor=[ldke,no_edit]", "editor.ldke.steps=5", "editor.ldke.batch_size=1"]


def check_fault(outcome: Outcome, *culprits: str) -> None:
    """One error that names all ``culprits`` and comes with a hint."""
    assert outcome.status == 2, outcome.out
    assert outcome.err.count("error:") == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert "hint:" in outcome.err
    for culprit in culprits:
        assert culprit in outcome.err


def cut(name: str) -> Change:
    """Leave the first half of a file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def with_weights(alter: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Rewrite a model's weights."""

    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        alter(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return change


def spoil(weights: dict[str, torch.Tensor]) -> None:
    for weight in weights.values():
        weight.fill_(torch.nan)


def shrink(weights: dict[str, torch.Tensor]) -> None:
    name = next(name for name in weights if name.endswith("mlp.down_proj.weight"))
    weights[name] = weights[name][:8].clone()


def lose(weights: dict[str, torch.Tensor]) -> None:
    del weights[next(name for name in weights if name.endswith("mlp.down_proj.weight"))]


@pytest.fixture
def changed_model(model_folder: Path, tmp_path: Path) -> Callable[[Change], str]:
    """A copy of the model with something done to it, as an argument."""

    def make(change: Change) -> str:
        folder = Path(shutil.copytree(model_folder, tmp_path / "changed"))
        change(folder)
        return f"model.name={folder}"

    return make


@pytest.fixture
def changed_data(data_root: Path, tmp_path: Path) -> Callable[..., str]:
    """A copy of the data with a row altered, or a picture damaged, as an argument."""

    def make(alter: Callable[[list[dict[str, Any]]], object], damage: Change | None = None, key: str = "image") -> str:
        root = tmp_path / "data"
        rows = copy.deepcopy(json.loads((data_root / "edit-eval.json").read_text())[:2])
        alter(rows)
        write_rows(root, "edit-eval", rows)
        shutil.copytree(data_root / "images", root / "images", copy_function=os.link)
        if damage:
            picture = root / rows[0][key]
            content = picture.read_bytes()
            picture.unlink()  # the other name of the same file stays whole
            picture.write_bytes(content)
            damage(picture)
        return f"data.root={root}"

    return make


@pytest.fixture(scope="module")
def router_folder(model_folder: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("train") / "run"
    settings = [f"model.name={model_folder}", f"data.root={data_root}", "router.steps=1", "logger=none"]
    assert call_command("train", [*settings, f"run.dir={run}"]).status == 0
    return run / "router"


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
        (["data=nowhere"], ["data: no choice 'nowhere'", "atlas, mmedit, vlkeb"]),
        (["data.format=nowhere"], ['Unknown data format "nowhere"', "vlkeb"]),
        (["data.split=test"], ["no split 'test'", "edit-eval"]),
        (["data.path=nowhere.json"], ["nowhere.json does not exist", "data/README.md"]),
        (["data.limit=0"], ["data.limit: must be >= 1"]),
        (["router.layers=[99]"], ["router.layers names layer 99"]),
        (["editor=ldke", "localizer=fixed", "localizer.site=decoder.99"], ["decoder.99", "decoder.7"]),
        (["editor=ldke", "localizer=best_fixed_per_kind"], ["needs a calibration", "ldke_pl.calibrate"]),
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


@pytest.mark.xfail(raises=AssertionError, reason="pictures of probes are opened without naming their case")
def test_damaged_picture_of_a_probe_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: None, lambda path: path.write_text("no picture"), "image_rephrase")
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "atlas-edit-eval-000000", ".png", "cannot identify")


@pytest.mark.xfail(raises=AssertionError, reason="questions of probes are encoded without naming their case")
def test_overlong_question_of_a_probe_is_named_with_its_case(tiny: list[str], changed_data: Callable[..., str]) -> None:
    data = changed_data(lambda rows: rows[0]["probes"][0].update(prompt="Bolivu " * 400))
    check_fault(call_command("edit", [*tiny, *SMALL, data]), "atlas-edit-eval-000000", "512")


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        (lambda folder: (folder / "router.safetensors").unlink(), ["router.safetensors"]),
        (cut("router.safetensors"), ["cannot be read"]),
        (cut("router.json"), ["cannot be read"]),
        (lambda folder: (folder / "router.json").write_text("[]"), ["cannot be used"]),
        pytest.param(
            cut("localizer.json"),
            ["localizer.json"],
            marks=pytest.mark.xfail(raises=ValueError, reason="Calibration.load lets JSON errors through"),
        ),
    ],
    ids=["no weights", "truncated weights", "truncated description", "no description", "truncated calibration"],
)
def test_damaged_router_is_named(
    tiny: list[str], router_folder: Path, tmp_path: Path, change: Change, culprits: Sequence[str]
) -> None:
    copied = Path(shutil.copytree(router_folder, tmp_path / "router"))
    change(copied)
    outcome = call_command("edit", [*tiny, *SMALL[1:], f"model.router={copied}"])
    check_fault(outcome, str(copied), "train.py", *culprits)


def test_router_of_another_base_is_refused(
    tiny: list[str], router_folder: Path, changed_model: Callable[[Change], str]
) -> None:
    other = changed_model(with_weights(lambda weights: next(iter(weights.values())).add_(1)))
    outcome = run_command("edit", [*tiny, *SMALL[1:], f"model.router={router_folder}", other])
    check_fault(outcome, str(router_folder), other.partition("=")[2], "another base model", "router=radius")
    assert outcome.err.startswith("error:")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.safetensors").unlink(),
        cut("config.json"),
        cut("tokenizer.json"),
        pytest.param(
            cut("model.safetensors"),
            marks=pytest.mark.xfail(reason="load_backbone lets SafetensorError through"),
        ),
        pytest.param(
            with_weights(shrink),
            marks=pytest.mark.xfail(raises=RuntimeError, reason="load_backbone lets shape errors through"),
        ),
        pytest.param(
            with_weights(lose),
            marks=pytest.mark.xfail(raises=AssertionError, reason="missing weights are drawn at random, unsaid"),
        ),
    ],
    ids=["no weights", "config", "tokenizer", "truncated weights", "weights of another shape", "a weight is missing"],
)
def test_damaged_model_is_named(tiny: list[str], changed_model: Callable[[Change], str], change: Change) -> None:
    model = changed_model(change)
    check_fault(call_command("edit", [*tiny, *SMALL, model]), model.partition("=")[2], "set model.name")


def test_weights_that_are_not_numbers_end_the_edit(tiny: list[str], changed_model: Callable[[Change], str]) -> None:
    outcome = call_command("edit", [*tiny, *EDITING, "localizer=last", changed_model(with_weights(spoil))])
    check_fault(outcome, "The loss of the edit", "is nan", "check the model's weights")


@pytest.mark.xfail(raises=ValueError, reason="no site is selected where scores are not numbers")
def test_scores_that_are_not_numbers_end_the_edit(tiny: list[str], changed_model: Callable[[Change], str]) -> None:
    outcome = call_command("edit", [*tiny, *EDITING, changed_model(with_weights(spoil))])
    check_fault(outcome, "weights")


@pytest.mark.xfail(raises=RuntimeError, reason="Adam's step overflows a float before the loss does")
def test_learning_rate_beyond_a_float_is_refused(tiny: list[str]) -> None:
    check_fault(call_command("edit", [*tiny, *EDITING, "editor.ldke.lr=1e38"]), "lr")


def test_finished_edits_outlive_one_that_fails(
    tiny: list[str], model_folder: Path, data_root: Path, changed_data: Callable[..., str], tmp_path: Path
) -> None:
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke", "editor.ldke.steps=1"])
    editor = build_editor(
        load_backbone(ModelConfig(name=str(model_folder))), config.editor["ldke"], lambda r: [("decoder.0",)] * len(r)
    )
    requests = [c.request for c in read_cases("atlas", data_root / "edit-eval.json", data_root, limit=2)]
    first, second = sorted(zip([e.loss for e in editor.edit(requests)], (0, 1), strict=True))
    between = (first[0] + second[0]) / 2
    data = changed_data(lambda rows: rows.sort(key=lambda row: row["alt"] != requests[first[1]].target))
    diverging = [*EDITING, "localizer=last", "editor.ldke.lr=1e30", f"editor.ldke.stop_loss={between}"]
    outcome = call_command("edit", [*tiny, *diverging, data])
    check_fault(outcome, "The loss of the edit", requests[second[1]].target, "lower the editor's lr")
    kept = EditedModel.load(tmp_path / "run" / "edits").active
    assert [edit.target for edit in kept] == [requests[first[1]].target]


@pytest.mark.parametrize(
    ("key", "value"),
    [("data.root", "file"), ("trainer.accelerator", "abacus"), ("trainer.strategy", "abacus")],
)
@pytest.mark.xfail(reason="errors of the operating system and of Lightning's Trainer come through")
def test_what_others_refuse_is_named(tiny: list[str], tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "file").write_text("no folder")
    given = str(tmp_path / value) if value == "file" else value
    check_fault(call_command("edit", [*tiny, *SMALL, f"{key}={given}"]), given)


@pytest.mark.xfail(raises=RuntimeError, reason="a key's size must be a multiple of its groups")
def test_key_size_that_cannot_be_split_is_named(tiny: list[str]) -> None:
    check_fault(call_command("train", [*tiny, "router.steps=1", "router.key_dim=63", "logger=none"]), "router.key_dim")


@pytest.mark.xfail(raises=IndexError, reason="holding out every relation leaves nothing to read features of")
def test_nothing_left_to_train_on_is_said(tiny: list[str]) -> None:
    relations = "router.held_out_relations=[name,capital,leader,currency,language,continent]"
    check_fault(call_command("train", [*tiny, relations, "logger=none"]), "router.held_out_relations")


@pytest.mark.xfail(raises=ValueError, reason="edits made in other processes are not gathered")
def test_edits_are_shared_among_devices(tiny: list[str]) -> None:
    two = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp_fork"]
    assert call_command("edit", [*tiny, *EDITING, *two]).status == 0
