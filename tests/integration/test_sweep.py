"""A W&B sweep file run offline, as a user runs it."""

import csv
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from commands import ROOT, Outcome, check_fault
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ldke_pl.config import CONF_DIR, EditConfig, load_config

SWEEP = {
    "program": "edit.py",
    "method": "grid",
    "metric": {"name": "ldke/average", "goal": "maximize"},
    "parameters": {
        "editor": {"value": ["ldke", "no_edit"]},
        "editor.ldke.steps": {"value": 1},
        "editor.ldke.rank": {"values": [1, 2]},
    },
}


def sweep(file: Path, *arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "ldke_pl.sweep", str(file), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def written(folder: Path, **changes: object) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP | changes), encoding="utf-8")
    return path


@pytest.fixture
def short(model_folder: Path, data_root: Path) -> list[str]:
    few = ["data.limit=1", "run.resamples=20", "run.protocols=[generate]", "run.modes=[single]", "router=radius"]
    return [f"model.name={model_folder}", f"data.root={data_root}", *few]


def test_a_sweep_runs_goes_on_and_names_its_best(short: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    first = sweep(written(tmp_path), *short, f"folder={folder}", "count=1")
    assert first.status == 0, first.err
    # A run that was begun and killed is made again.
    (study,) = optuna.get_all_study_names(storage := JournalStorage(JournalFileBackend(str(folder / "study.log"))))
    begun = optuna.load_study(study_name=study, storage=storage)
    left = ({"1", "2"} - {begun.trials[0].params["editor.ldke.rank"]}).pop()
    killed = begun.ask()
    killed.set_user_attr("run", "001")
    assert killed.suggest_categorical("editor.ldke.rank", ["1", "2"]) == left
    whole = sweep(written(tmp_path), *short, f"folder={folder}")
    assert whole.status == 0, whole.err
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["editor.ldke.rank"] for row in rows) == ["1", "2"]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    best = max(rows, key=lambda row: float(row["ldke/average"]))
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", [f"config={folder / 'best.yaml'}"])
    assert str(config.editor["ldke"].rank) in {
        r["editor.ldke.rank"] for r in rows if r["ldke/average"] == best["ldke/average"]
    }


@pytest.mark.parametrize(
    ("changes", "arguments", "culprits"),
    [
        ({"metric": {}}, [], ["no sweep file", "name"]),
        ({"method": "best"}, [], ["'best'", "grid"]),
        ({"parameters": {"editor.ldke.lr": {"distribution": "normal"}}}, [], ["editor.ldke.lr"]),
        ({"parameters": {"editor.ldke.lr": {"min": 0.1, "max": 1.0}}}, [], ["'grid'"]),
        ({}, ["steps"], ["'steps' is no key=value"]),
        ({}, ["count=0"], ["count is '0'"]),
    ],
)
def test_what_is_no_sweep_is_one_clear_error(
    tmp_path: Path, changes: dict[str, object], arguments: list[str], culprits: list[str]
) -> None:
    check_fault(sweep(written(tmp_path, **changes), f"folder={tmp_path / 'out'}", *arguments), *culprits)
    assert not (tmp_path / "out" / "sweep.csv").exists()


def test_a_run_that_fails_is_told(short: list[str], tmp_path: Path) -> None:
    outcome = sweep(written(tmp_path), *short, "data.limit=0", f"folder={tmp_path / 'out'}")
    check_fault(outcome, "No run of the sweep was finished")
    assert "data.limit" in outcome.out
