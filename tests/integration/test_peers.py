"""Every editing method as a user runs it: trained where it must be, and alone, together and in sequence."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from commands import Outcome, call_command, check_fault
from torch import Tensor

from ldke_pl.config import CONF_DIR
from ldke_pl.metrics.results import read_results
from ldke_pl.router import RadiusRouter
from ldke_pl.router.base import Key
from ldke_pl.router.features import Features

METHODS = sorted(path.stem for path in (CONF_DIR / "editor").glob("*.yaml"))
TRAINED = ("liveedit", "mend", "mscke", "serac")
LEARNING = (*TRAINED, "ike")

SHARING = ("ike_routed", "ldke", "name_overwrite")
"""Methods whose edits the run's router finds, in an index that others' edits may fill."""

FAST = {"steps": "2", "train_steps": "2", "train_batch": "2"}


@pytest.fixture(scope="module")
def small(model_folder: Path, data_root: Path) -> list[str]:
    few = ["data.limit=4", "run.resamples=20", "router=radius", "logger=none"]
    return [f"model.name={model_folder}", f"data.root={data_root}", *few]


@pytest.fixture(scope="module")
def trained(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """What ``train.py`` left of the methods that learn from other edits."""
    folder = tmp_path_factory.mktemp("trained")
    settings = [f"editor.{name}.{key}={FAST[key]}" for name in TRAINED for key in ("train_steps", "train_batch")]
    mine = [a for a in small if a != "router=radius"]
    outcome = call_command("train", [*mine, f"editor=[{','.join(LEARNING)}]", *settings, f"run.dir={folder}"])
    return folder, outcome


@pytest.fixture(scope="module")
def run(
    small: list[str], trained: tuple[Path, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome]:
    """One run of all methods, in all modes and protocols."""
    folder = tmp_path_factory.mktemp("peers")
    settings = [f"editor.{name}.steps={FAST['steps']}" for name in METHODS]
    settings += [f"editor.{name}.weights={trained[0] / name}" for name in LEARNING] + ["editor.ike.demonstrations=1"]
    chosen = [f"editor=[{','.join(METHODS)}]", "run.sequence=[1,2]", "run.protocols=[generate,masked,vlkeb]"]
    chosen += ["run.index=[6]", "data.distractors=[router-val]"]
    return folder, call_command("edit", [*small, *chosen, *settings, f"run.dir={folder}"])


def test_methods_are_trained_and_kept(trained: tuple[Path, Outcome]) -> None:
    folder, outcome = trained
    assert outcome.status == 0, outcome.err
    for name in TRAINED:
        assert (folder / name / "editor.safetensors").stat().st_size > 0
        assert json.loads((folder / name / "editor.json").read_text())["cls"].startswith(f"ldke_pl.editors.{name}.")
    methods = json.loads((folder / "metrics.json").read_text())["methods"]
    assert {name: methods[name]["validation"]["loss"] > 0 for name in methods} == dict.fromkeys(TRAINED, True)
    assert "ike: " in outcome.out and (folder / "ike" / "demonstrations.jsonl").stat().st_size > 0


def test_all_methods_run_side_by_side_in_every_mode(run: tuple[Path, Outcome]) -> None:
    folder, outcome = run
    assert outcome.status == 0, outcome.err
    rows = list(read_results(folder / "results.csv"))
    modes = {(r.method, r.mode, r.protocol) for r in rows}
    for name in METHODS:
        together = {"single", "joint", "sequence_1", "sequence_2"} | ({"index_6"} if name in SHARING else set())
        assert {m for n, m, _ in modes if n == name} == together, name
        assert {p for n, _, p in modes if n == name} == {"generate", "masked", "vlkeb"}
    everywhere = [r for r in rows if r.mode != "index_6"]
    asked = {n: {(r.case_id, r.kind, r.prompt, r.image) for r in everywhere if r.method == n} for n in METHODS}
    assert all(asked[name] == asked["no_edit"] for name in METHODS)


def test_what_no_method_routes_to_is_as_it_was(run: tuple[Path, Outcome]) -> None:
    for row in read_results(run[0] / "results.csv"):
        if row.route == "base" and row.protocol == "generate":
            assert row.after == row.before
        if row.method == "no_edit":
            assert row.score == row.score_no_edit


def test_a_larger_index_asks_the_joint_set_alone(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(router: RadiusRouter, queries: Features, keys: Sequence[Key]) -> Tensor:
        return torch.linspace(0.5, 1, len(keys)).expand(len(queries["seen"]), -1)

    monkeypatch.setattr(RadiusRouter, "relevance", last)
    chosen = ["editor=ldke", "editor.ldke.steps=2", "run.modes=[joint]"]
    chosen += ["run.index=[6]", "data.distractors=[router-val]", "run.protocols=[generate]"]
    outcome = call_command("edit", [*small, *chosen, f"run.dir={tmp_path}"])
    assert outcome.status == 0, outcome.err
    rows = [row for row in read_results(tmp_path / "results.csv") if row.method == "ldke"]
    joint, larger = ([row for row in rows if row.mode == mode] for mode in ("joint", "index_6"))
    assert [(r.case_id, r.kind, r.prompt, r.image) for r in larger] == [
        (r.case_id, r.kind, r.prompt, r.image) for r in joint
    ]
    figures = json.loads((tmp_path / "metrics.json").read_text())["methods"]["ldke"]
    assert figures["index_6"]["router"]["index_size"] == 6
    own = {row.edit_id for row in rows}
    assert {row.route for row in joint} < own
    assert len({row.route for row in larger} - own) == 1, "all go to an edit that no case is about"
    assert {r.after for r in larger} != {r.after_unrouted for r in larger}, "and are answered under it"


def test_facts_told_in_the_prompt_change_no_weight(run: tuple[Path, Outcome]) -> None:
    methods = json.loads((run[0] / "metrics.json").read_text())["methods"]
    bytes_per_edit = [methods[name]["bytes_per_edit"] for name in ("ike_routed", "ike", "lora")]
    assert 0 < bytes_per_edit[0] < bytes_per_edit[1] < 200 < bytes_per_edit[2], "one fact, two facts, weights"


@pytest.mark.parametrize(
    ("program", "arguments", "culprits"),
    [
        ("train", ["editor=ft_l"], ["ft_l has nothing to train"]),
        ("edit", ["editor=mend", "router=radius"], ["must be trained", "editor=NAME"]),
        ("edit", ["editor=mend", "router=radius", "editor.mend.weights=nowhere"], ["nowhere", "cannot be used"]),
        ("edit", ["editor=ike", "router=radius", "editor.ike.demonstrations=2"], ["no demonstrations", "editor=ike"]),
        ("edit", ["editor=ldke", "router=radius", "editor.ldke.routing=own"], ["no gate of its own"]),
        ("edit", ["editor=ldke", "router=radius", "run.index=[500]"], ["500 keys", "router-train", "have 14"]),
        ("edit", ["editor=ldke", "router=radius", "run.index=[9,2]"], ["2 keys", "joint set alone has 2"]),
    ],
)
def test_a_method_that_cannot_run_says_why(
    tiny: list[str], program: str, arguments: list[str], culprits: list[str]
) -> None:
    check_fault(call_command(program, [*tiny, "data.limit=2", "logger=none", *arguments]), *culprits)


def test_weights_of_another_method_are_refused(tiny: list[str], trained: tuple[Path, Outcome]) -> None:
    arguments = ["editor=serac", f"editor.serac.weights={trained[0] / 'mend'}", "router=radius", "data.limit=2"]
    check_fault(call_command("edit", [*tiny, *arguments]), "mend")
