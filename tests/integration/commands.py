"""Running ``edit.py`` and ``train.py`` as a user does, and the small files that they are run on."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ldke_pl.cli import exit_status
from ldke_pl.config import EditConfig, TrainConfig
from ldke_pl.edits.__main__ import main as edits_main
from ldke_pl.runtime import main, run_edit, run_train

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "edit": (EditConfig, run_edit),
    "train": (TrainConfig, run_train),
}


Change = Callable[[Path], object]
"""Something done to a file or folder."""

SMALL = ["router=radius", "data.limit=2", "editor=no_edit", "run.protocols=[generate]", "logger=none"]
EDITING = [*SMALL, "editor=[ldke,no_edit]", "editor.ldke.steps=5", "editor.ldke.batch_size=1"]
"""Runs of a second or two: without and with an edit."""


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit status and what it wrote."""

    status: int
    out: str
    err: str


def run_command(program: str, arguments: Sequence[str]) -> Outcome:
    """Run ``python <program>.py`` from the repository's root, in a process of its own."""
    done = subprocess.run(
        [sys.executable, f"{program}.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def call_command(program: str, arguments: Sequence[str]) -> Outcome:
    """Run a command in this process: seconds faster, and what a user would see as a traceback comes out as it is."""
    schema, run = PROGRAMS[program]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [f"{program}.py", *arguments])
        status = main(schema, f"{program}.yaml", run)
    return Outcome(status, out.getvalue(), err.getvalue())


def call_edits(*arguments: object) -> Outcome:
    """Run a command of ``python -m ldke_pl.edits`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = exit_status(lambda: edits_main([str(a) for a in arguments]))
    return Outcome(status, out.getvalue(), err.getvalue())


def write_rows(folder: Path, split: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Write an annotation file of ``rows`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.json"
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def check_fault(outcome: Outcome, *culprits: str) -> None:
    """One error that names all ``culprits`` and comes with a hint."""
    assert outcome.status == 2, outcome.out[-300:]
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
