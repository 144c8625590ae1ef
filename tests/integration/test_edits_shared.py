"""Edits made by two processes: the same results as by one, and every chunk made once."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import Outcome, check_fault, run_command
from safetensors.torch import load_file

from ldke_pl.metrics.results import read_results

Run = Callable[..., Outcome]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="two processes would share one GPU")


@pytest.fixture
def run(model_folder: Path, data_root: Path) -> Run:
    """A small run of two methods in chunks of one edit, as a process of its own."""
    few = ["data.limit=5", "run.resamples=20", "router=radius", "logger=none", "editor=[ft_l,ldke]"]
    quick = [f"editor.{name}.{key}" for name in ("ft_l", "ldke") for key in ("steps=3", "batch_size=1")]
    place = [f"model.name={model_folder}", f"data.root={data_root}", "trainer.accelerator=cpu"]
    return lambda folder, *more: run_command("edit", [*place, *few, *quick, f"run.dir={folder}", *more])


@pytest.mark.parametrize("strategy", ["ddp", "ddp_fork"])
def test_two_processes_make_the_edits_of_one(run: Run, tmp_path: Path, strategy: str) -> None:
    alone = run(tmp_path / "alone")
    shared = run(tmp_path / "shared", "trainer.devices=2", f"trainer.strategy={strategy}")
    assert alone.status == 0, alone.err
    assert shared.status == 0, shared.err
    rows = [list(read_results(tmp_path / name / "results.csv")) for name in ("alone", "shared")]
    assert rows[0] == rows[1]
    assert (tmp_path / "shared" / "report.html").exists()
    assert shared.out.count("report:") == 1
    one, other = (load_file(tmp_path / place / "edits" / "edits.safetensors") for place in ("alone", "shared"))
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=1e-5, rtol=1e-4)
    assert not (tmp_path / "shared" / "unfinished").exists()


def test_more_processes_than_chunks_leave_them_to_the_first(run: Run, tmp_path: Path) -> None:
    few = ["data.limit=1", "trainer.devices=2", "trainer.strategy=ddp_fork"]
    outcome = run(tmp_path / "run", *few)
    assert outcome.status == 0, outcome.err


def test_a_fault_in_one_process_ends_the_run_with_its_message(run: Run, tmp_path: Path) -> None:
    broken = ["trainer.devices=2", "trainer.strategy=ddp_fork", "editor.ldke.lr=1e30", "editor.ldke.steps=20"]
    outcome = run(tmp_path / "run", *broken)
    check_fault(outcome, "is nan", "lr")
    assert not re.search("Traceback", outcome.err)
