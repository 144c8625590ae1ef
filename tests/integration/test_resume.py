"""Runs that are cut off: what is finished is not made again, and the end is as if nothing had happened."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from commands import ROOT, Outcome, call_command, run_command
from safetensors.torch import load_file
from test_peers import METHODS, TRAINED

from ldke_pl.data import EditRequest
from ldke_pl.edits.chunks import Chunk
from ldke_pl.metrics.results import read_results
from ldke_pl.modules import EditingModule
from ldke_pl.runtime import unfinished
from ldke_pl.runtime.scoring import Method

Run = Callable[..., Outcome]


@pytest.fixture
def run(model_folder: Path, data_root: Path, tmp_path: Path) -> Run:
    """A small run of two methods in chunks of one edit, into one folder."""
    few = ["data.limit=4", "run.resamples=20", "router=radius", "logger=none", "editor=[ft_l,ldke]"]
    quick = [f"editor.{name}.{key}" for name in ("ft_l", "ldke") for key in ("steps=2", "batch_size=1")]
    return lambda folder, *more: call_command(
        "edit", [f"model.name={model_folder}", f"data.root={data_root}", *few, *quick, f"run.dir={folder}", *more]
    )


def results(folder: Path) -> str:
    return (folder / "results.csv").read_text(encoding="utf-8")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks that are made from now on."""
    made: list[int] = []
    make = EditingModule._make

    def counting(module: EditingModule, batch: Sequence[EditRequest]) -> Chunk:
        made.append(len(batch))
        return make(module, batch)

    monkeypatch.setattr(EditingModule, "_make", counting)
    return made


def break_off_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """End the process, as far as a test can, when this method's edits are about to be asked."""
    rows = Method.rows

    def breaking(method: Method) -> object:
        if method.name == name:
            raise KeyboardInterrupt
        return rows(method)

    monkeypatch.setattr(Method, "rows", breaking)


def test_an_interrupted_run_goes_on_where_it_stopped(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path / "whole").status == 0
    with monkeypatch.context() as patch:
        break_off_at(patch, "ldke")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    made = counted(monkeypatch)
    outcome = run(tmp_path / "cut")
    assert outcome.status == 0 and "ft_l: seed 0 was finished before" in outcome.out
    assert made == [4], "ldke's edits were finished, ft_l's rows too; the floor was not begun"
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    assert not (tmp_path / "cut" / unfinished.FOLDER).exists()
    costs = json.loads((tmp_path / "cut" / "metrics.json").read_text())["methods"]
    assert costs["ft_l"]["seconds_per_edit"] > 0 and costs["ldke"]["seconds_per_edit"] > 0


def test_what_other_settings_left_does_not_count(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_off_at(patch, "ldke")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    made = counted(monkeypatch)
    assert run(tmp_path, "editor.ldke.steps=3").status == 0
    assert made == [1, 1, 1, 1, 4], "ft_l, whose settings are the same, is not made again"


def test_a_damaged_chunk_is_made_anew(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_off_at(patch, "ft_l")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    chunk = tmp_path / unfinished.FOLDER / "ft_l-0" / "chunk-00002" / "edits.safetensors"
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    made = counted(monkeypatch)
    assert run(tmp_path).status == 0
    assert made == [1, 1, 1, 1, 1, 4], "one of ft_l, all of ldke, the floor"


def test_a_full_disk_ends_the_run_and_loses_nothing_finished(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system lets no file grow past a kilobyte once two chunks are written."""
    made, limits = counted(monkeypatch), resource.getrlimit(resource.RLIMIT_FSIZE)
    counting = EditingModule._make

    def filling(module: EditingModule, batch: Sequence[EditRequest]) -> Chunk:
        chunk = counting(module, batch)
        if len(made) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        return chunk

    with monkeypatch.context() as patch:
        patch.setattr(EditingModule, "_make", filling)
        try:
            outcome = run(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome.status == 2 and "cannot be written" in outcome.err and "make room" in outcome.err
    assert made == [1, 1, 1]
    assert run(tmp_path).status == 0
    assert made == [1, 1, 1, 1, 1, 1, 1, 1, 1, 4], "two of ft_l's edits are not made again"


def test_every_method_can_go_on_with_edits_made_before(
    model_folder: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [f"model.name={model_folder}", f"data.root={data_root}", "data.limit=2", "run.resamples=20", "logger=none"]
    few += [f"editor.{name}.train_{key}" for name in TRAINED for key in ("steps=1", "batch=2")]
    trained = call_command("train", [*few, f"editor=[{','.join(TRAINED)}]", f"run.dir={tmp_path / 'trained'}"])
    assert trained.status == 0, trained.err
    few = [
        *few[:5],
        "router=radius",
        f"editor=[{','.join(METHODS)}]",
        "run.modes=[joint]",
        f"run.dir={tmp_path / 'run'}",
    ]
    few += [f"editor.{name}.steps=2" for name in METHODS]
    few += [f"editor.{name}.weights={tmp_path / 'trained' / name}" for name in TRAINED]
    with monkeypatch.context() as patch:
        patch.setattr(unfinished.Part, "write", lambda *_: None)  # the edits stay, the rows do not
        patch.setattr(unfinished, "clear", lambda _: None)
        assert call_command("edit", few).status == 0
    first = list(read_results(tmp_path / "run" / "results.csv"))
    made = counted(monkeypatch)
    assert call_command("edit", few).status == 0
    assert not made
    assert list(read_results(tmp_path / "run" / "results.csv")) == first


def test_a_killed_run_leaves_what_a_whole_one_does(
    run: Run, model_folder: Path, data_root: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "whole", "run.seeds=[3]").status == 0
    saved = (tmp_path / "whole" / "config.yaml").read_text(encoding="utf-8").replace("whole", "killed")
    (tmp_path / "again.yaml").write_text(saved, encoding="utf-8")
    command = [sys.executable, "edit.py", f"config={tmp_path / 'again.yaml'}"]
    chunk = tmp_path / "killed" / unfinished.FOLDER / "ft_l-3" / "chunk-00001"
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if chunk.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert chunk.exists() and not (tmp_path / "killed" / "metrics.json").exists()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    for name in ("edits.safetensors", "router.safetensors"):
        again, whole = (load_file(tmp_path / which / "edits" / name) for which in ("killed", "whole"))
        assert again.keys() == whole.keys()
        assert all((again[key] == whole[key]).all() for key in whole)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 edits of Atlas in chunks of five; every attempt but the last is killed, most while edits are being made."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # how several threads share the work, and so round, depends on the load
    told = ["data.limit=200", "editor=ldke", "editor.ldke.batch_size=5", "editor.ldke.steps=5", "run.modes=[single]"]
    told += ["run.protocols=[generate]", "run.resamples=20", "logger=none"]
    command = [sys.executable, "edit.py", *told, f"run.dir={tmp_path / 'killed'}"]
    moments, chunks = random.Random(0), tmp_path / "killed" / unfinished.FOLDER / "ldke-0"
    made = [0]
    for _ in range(10):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(chunks.glob("chunk-*"))) == made[-1]:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 2))
        process.kill()
        process.wait()
        made.append(len(list(chunks.glob("chunk-*"))))
    assert made == sorted({*made}) and not (tmp_path / "killed" / "metrics.json").exists()
    for folder in ("killed", "whole"):
        assert run_command("edit", [*told, f"run.dir={tmp_path / folder}"]).status == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    again, whole = (load_file(tmp_path / which / "edits" / "edits.safetensors") for which in ("killed", "whole"))
    assert again.keys() == whole.keys()
    assert all(torch.allclose(again[key], whole[key]) for key in whole)
