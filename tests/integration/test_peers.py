"""Every editing method as a user runs it: trained where it must be, and alone, together and in sequence."""

import json
from pathlib import Path

import pytest
from commands import Outcome, call_command, check_fault

from ldke_pl.config import CONF_DIR
from ldke_pl.metrics.results import read_results

METHODS = sorted(path.stem for path in (CONF_DIR / "editor").glob("*.yaml"))
TRAINED = ("liveedit", "mend", "mscke", "serac")

FAST = {"steps": "2", "train_steps": "2", "train_batch": "2"}


@pytest.fixture(scope="module")
def small(model_folder: Path, data_root: Path) -> list[str]:
    few = ["data.limit=4", "run.resamples=20", "router=radius", "logger=none"]
    return [f"model.name={model_folder}", f"data.root={data_root}", *few]


@pytest.fixture(scope="module")
def trained(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """What ``train.py`` left of the methods that have something to train."""
    folder = tmp_path_factory.mktemp("trained")
    settings = [f"editor.{name}.{key}={FAST[key]}" for name in TRAINED for key in ("train_steps", "train_batch")]
    mine = [a for a in small if a != "router=radius"]
    outcome = call_command("train", [*mine, f"editor=[{','.join(TRAINED)}]", *settings, f"run.dir={folder}"])
    return folder, outcome


@pytest.fixture(scope="module")
def run(
    small: list[str], trained: tuple[Path, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome]:
    """One run of all methods, in all modes and protocols."""
    folder = tmp_path_factory.mktemp("peers")
    settings = [f"editor.{name}.steps={FAST['steps']}" for name in METHODS]
    settings += [f"editor.{name}.weights={trained[0] / name}" for name in TRAINED]
    chosen = [f"editor=[{','.join(METHODS)}]", "run.sequence=[1,2]", "run.protocols=[generate,masked,vlkeb]"]
    return folder, call_command("edit", [*small, *chosen, *settings, f"run.dir={folder}"])


def test_methods_are_trained_and_kept(trained: tuple[Path, Outcome]) -> None:
    folder, outcome = trained
    assert outcome.status == 0, outcome.err
    for name in TRAINED:
        assert (folder / name / "editor.safetensors").stat().st_size > 0
        assert json.loads((folder / name / "editor.json").read_text())["cls"].startswith(f"ldke_pl.editors.{name}.")


def test_all_methods_run_side_by_side_in_every_mode(run: tuple[Path, Outcome]) -> None:
    folder, outcome = run
    assert outcome.status == 0, outcome.err
    rows = list(read_results(folder / "results.csv"))
    modes = {(r.method, r.mode, r.protocol) for r in rows}
    for name in METHODS:
        together = {"single", "joint", "sequence_1", "sequence_2"}
        assert {m for n, m, _ in modes if n == name} == together, name
        assert {p for n, _, p in modes if n == name} == {"generate", "masked", "vlkeb"}
    asked = {n: {(r.case_id, r.kind, r.prompt, r.image) for r in rows if r.method == n} for n in METHODS}
    assert all(asked[name] == asked["no_edit"] for name in METHODS)


def test_what_no_method_routes_to_is_as_it_was(run: tuple[Path, Outcome]) -> None:
    for row in read_results(run[0] / "results.csv"):
        if row.route == "base" and row.protocol == "generate":
            assert row.after == row.before
        if row.method == "no_edit":
            assert row.score == row.score_no_edit


def test_facts_told_in_the_prompt_change_no_weight(run: tuple[Path, Outcome]) -> None:
    methods = json.loads((run[0] / "metrics.json").read_text())["methods"]
    assert 0 < methods["ike"]["bytes_per_edit"] < 200 < methods["lora"]["bytes_per_edit"]


@pytest.mark.parametrize(
    ("program", "arguments", "culprits"),
    [
        ("train", ["editor=ft_l"], ["ft_l has nothing to train"]),
        ("edit", ["editor=mend", "router=radius"], ["must be trained", "editor=NAME"]),
        ("edit", ["editor=mend", "router=radius", "editor.mend.weights=nowhere"], ["nowhere", "cannot be used"]),
        ("edit", ["editor=ldke", "router=radius", "editor.ldke.routing=own"], ["no gate of its own"]),
    ],
)
def test_a_method_that_cannot_run_says_why(
    tiny: list[str], program: str, arguments: list[str], culprits: list[str]
) -> None:
    check_fault(call_command(program, [*tiny, "data.limit=2", "logger=none", *arguments]), *culprits)


def test_weights_of_another_method_are_refused(tiny: list[str], trained: tuple[Path, Outcome]) -> None:
    arguments = ["editor=serac", f"editor.serac.weights={trained[0] / 'mend'}", "router=radius", "data.limit=2"]
    check_fault(call_command("edit", [*tiny, *arguments]), "mend")
