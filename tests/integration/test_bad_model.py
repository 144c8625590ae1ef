"""Damaged models and routers, and edits that cannot be made: one message each, and what is finished is kept."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from commands import EDITING, SMALL, Change, call_command, check_fault, cut, run_command
from safetensors.torch import load_file, save_file

from ldke_pl import EditedModel
from ldke_pl.backbone import load_backbone
from ldke_pl.config import CONF_DIR, EditConfig, ModelConfig, load_config
from ldke_pl.data import read_cases
from ldke_pl.editors import build_editor


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


@pytest.fixture(scope="module")
def router_folder(model_folder: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("train") / "run"
    settings = [f"model.name={model_folder}", f"data.root={data_root}", "router.steps=1", "logger=none"]
    assert call_command("train", [*settings, f"run.dir={run}"]).status == 0
    return run / "router"


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        (lambda folder: (folder / "router.safetensors").unlink(), ["router.safetensors", "train.py"]),
        (cut("router.safetensors"), ["cannot be read", "train.py"]),
        (cut("router.json"), ["cannot be read", "train.py"]),
        (lambda folder: (folder / "router.json").write_text("[]"), ["cannot be used", "train.py"]),
        (cut("localizer.json"), ["localizer.json", "ldke_pl.calibrate"]),
    ],
    ids=["no weights", "truncated weights", "truncated description", "no description", "truncated calibration"],
)
def test_damaged_router_is_named(
    tiny: list[str], router_folder: Path, tmp_path: Path, change: Change, culprits: Sequence[str]
) -> None:
    copied = Path(shutil.copytree(router_folder, tmp_path / "router"))
    change(copied)
    outcome = call_command("edit", [*tiny, *SMALL[1:], f"model.router={copied}"])
    check_fault(outcome, str(copied), *culprits)


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
        cut("model.safetensors"),
        with_weights(shrink),
        with_weights(lose),
    ],
    ids=["no weights", "config", "tokenizer", "truncated weights", "weights of another shape", "a weight is missing"],
)
def test_damaged_model_is_named(tiny: list[str], changed_model: Callable[[Change], str], change: Change) -> None:
    model = changed_model(change)
    check_fault(call_command("edit", [*tiny, *SMALL, model]), model.partition("=")[2], "set model.name")


def test_weights_that_are_not_numbers_end_the_edit(tiny: list[str], changed_model: Callable[[Change], str]) -> None:
    outcome = call_command("edit", [*tiny, *EDITING, "localizer=last", changed_model(with_weights(spoil))])
    check_fault(outcome, "The loss of the edit", "is nan", "check the model's weights")


def test_scores_that_are_not_numbers_end_the_edit(tiny: list[str], changed_model: Callable[[Change], str]) -> None:
    outcome = call_command("edit", [*tiny, *EDITING, changed_model(with_weights(spoil))])
    check_fault(outcome, "weights")


def test_learning_rate_beyond_a_float_is_refused(tiny: list[str]) -> None:
    check_fault(call_command("edit", [*tiny, *EDITING, "editor.ldke.lr=1e38"]), "lr")


ONE_VIEW = ["editor.ldke.views=1"]
"""With several, an edit can only stop once it has seen them all."""


def test_finished_edits_outlive_one_that_fails(
    tiny: list[str], model_folder: Path, data_root: Path, changed_data: Callable[..., str], tmp_path: Path
) -> None:
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke", "editor.ldke.steps=1", *ONE_VIEW])
    editor = build_editor(
        load_backbone(ModelConfig(name=str(model_folder))), config.editor["ldke"], lambda r: [("decoder.0",)] * len(r)
    )
    requests = [c.request for c in read_cases("atlas", data_root / "edit-eval.json", data_root, limit=2)]
    first, second = sorted(zip([e.loss for e in editor.edit(requests)], (0, 1), strict=True))
    between = (first[0] + second[0]) / 2
    data = changed_data(lambda rows: rows.sort(key=lambda row: row["alt"] != requests[first[1]].target))
    diverging = [*EDITING, "localizer=fixed", "localizer.site=connector", "editor.ldke.lr=1e30", *ONE_VIEW]
    outcome = call_command("edit", [*tiny, *diverging, f"editor.ldke.stop_loss={between}", data])
    check_fault(outcome, "The loss of the edit", requests[second[1]].target, "lower the editor's lr")
    kept = EditedModel.load(tmp_path / "run" / "edits").active
    assert [edit.target for edit in kept] == [requests[first[1]].target]


@pytest.mark.parametrize(
    ("key", "value"),
    [("data.root", "file"), ("trainer.accelerator", "abacus"), ("trainer.strategy", "abacus")],
)
def test_what_others_refuse_is_named(tiny: list[str], tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "file").write_text("no folder")
    given = str(tmp_path / value) if value == "file" else value
    check_fault(call_command("edit", [*tiny, *SMALL, f"{key}={given}"]), given)


def test_nothing_left_to_train_on_is_said(tiny: list[str]) -> None:
    relations = "router.held_out_relations=[name,capital,leader,currency,language,continent]"
    check_fault(call_command("train", [*tiny, relations, "logger=none"]), "router.held_out_relations")
