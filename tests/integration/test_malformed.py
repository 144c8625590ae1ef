"""Malformed requests, settings and artefacts: each ends its command with one message, and none with a traceback."""

import contextlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, call_command
from malformed_artefacts import bad_artefact_config, bad_artefact_tensors, bad_run, bad_shards
from malformed_data import bad_file, bad_row
from malformed_settings import bad_config, bad_override, bad_sweep
from throwing import Thrown, several

from ldke_pl.cli import exit_status
from ldke_pl.data import read_cases
from ldke_pl.data.__main__ import main as data_command
from ldke_pl.data.shards.write import write_shards
from ldke_pl.edits.__main__ import main as edits_command
from ldke_pl.report.methods import main as tables_command
from ldke_pl.runtime import folder as run_folder
from ldke_pl.sweep import search
from ldke_pl.sweep.__main__ import main as sweep_command

THROWN = (
    ("inspect", 25, bad_row),
    ("edit data", 20, bad_row),
    ("inspect", 20, bad_file),
    ("edit data", 10, bad_file),
    ("edit", 25, bad_override),
    ("train", 15, bad_override),
    ("edit config", 25, bad_config),
    ("sweep", 15, bad_sweep),
    ("edits", 30, bad_artefact_config),
    ("edits", 25, bad_artefact_tensors),
    ("inspect shards", 15, bad_shards),
    ("tables", 10, bad_run),
)
"""What is thrown at which command, and how many."""

ALL = [(target, thrown) for target, count, draw in THROWN for thrown in several(count, draw, target)]
PROBLEMS = 1
"""Exit status of ``inspect`` where rows cannot be read, and of ``verify``: both tell them on standard output."""

READING = [["list"], ["show", "first"], ["diff"]]
"""Commands that need no base model."""

CHANGING = [["disable", "first"], ["rollback", "first"], ["enable", "second"], ["ask", "Who?"], ["verify"]]
"""Commands that do not look at tensors, or load the base model before they do."""


@pytest.fixture(scope="session")
def shards(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "shards"
    write_shards(read_cases("atlas", data_root / "edit-eval.json", data_root, limit=3), folder, cases_per_shard=1)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What gets as far as a model, or as the runs of a sweep, was not refused; run folders go to an empty place."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("it was taken for good")

    for module in ("ldke_pl.runtime.session", "ldke_pl.runtime.training"):
        monkeypatch.setattr(f"{module}.load_backbone", refuse)
    monkeypatch.setattr(search.subprocess, "run", refuse)
    monkeypatch.setattr(run_folder, "ROOT", tmp_path)


def called(main: Callable[[Sequence[str]], int | None], *arguments: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = exit_status(lambda: main([str(argument) for argument in arguments]))
    return Outcome(status, out.getvalue(), err.getvalue())


def throw(target: str, folder: Path, name: str) -> Outcome:
    """Call a command on what was written into ``folder``."""
    file = next((path for path in folder.iterdir() if path.name.startswith("rows.")), folder)
    match target:
        case "inspect":
            return called(data_command, "inspect", "data.format=plain", f"data.path={file}", f"data.root={folder}")
        case "inspect shards":
            return called(data_command, "inspect", "data.format=shards", f"data.path={folder}")
        case "edit data":
            return call_command("edit", ["data=plain", f"data.path={file}", f"data.root={folder}", "logger=none"])
        case "edit" | "train":
            return call_command(target, (folder / "arguments").read_text().split("\n"))
        case "edit config":
            return call_command("edit", [f"config={folder / 'saved.yaml'}"])
        case "sweep":
            return called(sweep_command, folder / "sweep.yaml", f"folder={folder / 'sweep'}")
        case "tables":
            return called(tables_command, folder)
        case _:
            commands = READING if name.startswith("tensors") else READING + CHANGING
            command, *more = commands[sum(name.encode()) % len(commands)]
            return called(edits_command, command, folder, *([folder] if command == "diff" else more))


@pytest.mark.parametrize(("target", "thrown"), ALL, ids=lambda value: getattr(value, "name", value))
def test_malformed_things_end_in_one_message(
    target: str, thrown: Thrown, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "folder"
    whole = {"edits": "saved_edits", "inspect shards": "shards"}.get(target)
    if whole:
        shutil.copytree(request.getfixturevalue(whole), folder)
    else:
        folder.mkdir()
    thrown.write(folder)
    outcome = throw(target, folder, thrown.name)
    if outcome.status == PROBLEMS:
        assert target in ("inspect", "edits") and outcome.err == ""
        assert '"reason"' in outcome.out or len(outcome.out.splitlines()) == 1
        return
    assert outcome.status == 2, outcome
    assert outcome.err.startswith("error: ") and outcome.err.count("error: ") == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert thrown.culprit in outcome.err
    assert len(outcome.err.splitlines()[0]) > len("error: ...")


def test_so_much_is_thrown() -> None:
    assert len({thrown.name for _, thrown in ALL}) >= 200
