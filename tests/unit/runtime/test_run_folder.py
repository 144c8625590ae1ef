"""The run folder: made once, its configuration loads again, its files appear whole."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from ldke_pl.config import CONF_DIR, EditConfig, LoggerConfig, load_config
from ldke_pl.errors import ConfigError
from ldke_pl.runtime import folder as run_folder
from ldke_pl.runtime.folder import build_logger, commit, open_run, write_metrics


def config(*arguments: str) -> EditConfig:
    return load_config(EditConfig, CONF_DIR / "edit.yaml", list(arguments))


def test_configuration_is_saved_and_loads_again(tmp_path: Path) -> None:
    given = config(f"run.dir={tmp_path / 'a' / 'b'}", "editor=[ldke,no_edit]", "editor.ldke.lr=0.5", "localizer=last")
    folder, _ = open_run(given, "edit")
    assert folder == tmp_path / "a" / "b"
    assert config(f"config={folder / 'config.yaml'}") == given


def test_run_without_folder_goes_below_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "ROOT", tmp_path)
    folder, _ = open_run(config(), "edit")
    assert folder.parent == tmp_path / "experiments" / "runs"
    assert folder.name.startswith("edit-")


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(ConfigError, match=r"taken.* cannot be written[\s\S]*set run\.dir"):
        open_run(config(f"run.dir={taken / 'inside'}"), "edit")


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    given = f"run.dir={tmp_path / 'run'}"
    folder, lock = open_run(config(given, "run.seeds=[1]"), "edit")
    other = (
        f"from ldke_pl.config import *; from ldke_pl.runtime.folder import open_run; from sys import argv; "
        f"open_run(load_config(EditConfig, CONF_DIR / 'edit.yaml', [{given!r}]), 'edit')"
    )
    done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert "Another process is writing" in done.stderr
    assert "- 1" in (folder / "config.yaml").read_text(encoding="utf-8"), "and what is there stays"
    lock.release()
    assert subprocess.run([sys.executable, "-c", other], check=False).returncode == 0


def test_metrics_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    write_metrics(tmp_path, {"schema": 1})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"schema": 1}
    with pytest.raises(TypeError):
        write_metrics(tmp_path, {"schema": object()})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"schema": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_csv_logger_writes_into_the_run_folder(tmp_path: Path) -> None:
    logger = build_logger(LoggerConfig(name="csv"), tmp_path)
    assert isinstance(logger, CSVLogger)
    assert Path(logger.log_dir) == tmp_path / "logs"
    assert build_logger(LoggerConfig(name="none"), tmp_path) is False


def test_wandb_logger_is_offline_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(run_folder, "WandbLogger", lambda **given: made.append(given))
    build_logger(LoggerConfig(name="wandb", project="mine"), tmp_path)
    build_logger(LoggerConfig(name="wandb", mode="online"), tmp_path)
    assert made[0] == {"project": "mine", "save_dir": tmp_path, "offline": True}
    assert made[1]["offline"] is False


def test_commit_is_named_and_marked_when_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    monkeypatch.setattr(run_folder, "ROOT", tmp_path)
    assert commit() == ""
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        (tmp_path / "file").write_text("one")
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    clean = commit()
    assert len(clean) == 12
    (tmp_path / "file").write_text("two")
    assert commit() == f"{clean}-dirty"


def test_commit_is_empty_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit() == ""
