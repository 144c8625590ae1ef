"""``python -m ldke_pl.data``: one JSON object on standard output, and exit statuses that say how it went."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from published import FORMATS, N_ROWS, shared_row, write_json, write_published

from ldke_pl.data.__main__ import COMMANDS, main
from ldke_pl.errors import ConfigError, DataError

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT.parent / "shared" / "data"
REAL = {
    "vlkeb/eval.json": ("vlkeb", 3174),
    "vlkeb/eval_edit_onehop.json": ("vlkeb", 1278),
    "mmedit/vqa_eval.json": ("mmedit", 2093),
    "mmedit/caption_eval_edit.json": ("mmedit", 1000),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    command = [sys.executable, "-m", "ldke_pl.data", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command in this process; exit status and the object that it prints."""
    status = main(arguments)
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", list(REAL))
def test_published_file_is_inspected(name: str) -> None:
    if not (PUBLISHED / name).is_file():
        pytest.skip(f"the published file {PUBLISHED / name} is not here; data/README.md says how to get it")
    format, count = REAL[name]
    done = run("inspect", f"data.format={format}", f"data.path={PUBLISHED / name}")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    kinds = ["reliability", "text_generality", "image_generality", "text_locality", "image_locality"]
    kinds += ["portability_1"] if "onehop" in name else []
    assert found["cases"] == count
    assert found["probes"] == dict.fromkeys(kinds, count)
    assert found["problems"] == []
    assert found["images"]["missing"] is None


@pytest.mark.parametrize("format", FORMATS)
def test_made_up_set_of_every_format_is_inspected(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, root = write_published(format, tmp_path)
    status, found = call(capsys, "inspect", f"data.format={format}", f"data.path={path}", f"data.root={root}")
    assert status == 0
    assert list(found) == ["format", "cases", "probes", "images", "problems"]
    assert found["format"] == format
    assert found["cases"] == found["probes"]["reliability"] == (2 if format == "cckeb" else 1) * N_ROWS
    assert found["images"]["missing"] == 0
    pictures = [file for file in root.rglob("*") if file.is_file()]
    assert found["images"]["referenced"] == len(pictures)


def test_missing_pictures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, root = write_published("vlkeb", tmp_path)
    (root / "m.0made0" / "google_1.jpg").unlink()
    (root / "m.0made9" / "google_1.jpg").unlink()
    status, found = call(capsys, "inspect", "data=vlkeb", f"data.path={path}", f"data.root={root}")
    assert status == 0
    assert found["images"] == {"referenced": 18, "missing": 2}


def test_file_of_the_usual_name_is_found_under_the_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [shared_row(tmp_path, i) for i in range(3)]
    write_json(tmp_path / "eval.json", rows)
    status, found = call(capsys, "inspect", "data=vlkeb", f"data.root={tmp_path}", "data.limit=2")
    assert (status, found["cases"], found["probes"]["reliability"]) == (0, 2, 2)


def test_problems_are_listed_and_told_by_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [shared_row(tmp_path, i) for i in range(3)]
    rows[1]["alt"], rows[2]["image"] = "", "../x.jpg"
    path = write_json(tmp_path / "eval.json", rows)
    status, found = call(capsys, "inspect", "data.format=vlkeb", f"data.path={path}")
    assert status == 1
    assert found["cases"] == 1
    assert found["problems"] == [
        {"file": str(path), "row": 1, "key": "alt", "reason": "is empty"},
        {
            "file": str(path),
            "row": 2,
            "key": "image",
            "reason": "contains \"..\"; a path may not leave the image root ('../x.jpg')",
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "reasons"),
    [
        (["inspct"], ['There is no command "inspct"', 'Did you mean "inspect"?']),
        (
            ["inspect", "data.formt=vlkeb"],
            ["data.formt: no such key; did you mean data.format?", "ldke_pl.data inspect"],
        ),
        (["inspect", "data.format=vlkb", "data.path=x.json"], ['Unknown data format "vlkb"', 'mean "vlkeb"?']),
        (["inspect", "data.format=vlkeb", "data.path=nowhere.json"], ["nowhere.json does not exist"]),
        (["inspect", "data.format=vlkeb", "data.path=setup.cfg"], ["setup.cfg is"]),
        (["inspect", "--format=vlkeb"], ["without dashes"]),
    ],
)
def test_bad_command_is_one_error_on_standard_error(arguments: list[str], reasons: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    for reason in reasons:
        assert reason in done.stderr


def test_file_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.path is not given"):
        main(["inspect"])


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    path, _ = write_published("vlkeb", tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        main(["inspect", "data=vlkeb", f"data.path={path}", f"data.root={tmp_path / 'nowhere'}"])


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == printed
    assert all(f"  {name}: " in printed for name in COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_of_a_command_says_what_its_exit_status_means(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert "Exit status: 0; " in printed
    assert f"usage: python -m ldke_pl.data {command} [group=choice ...]" in printed
    assert "data.format: str = atlas" in printed


def test_leakage_counts_what_two_files_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [shared_row(tmp_path, i) for i in range(5)]
    train = write_json(tmp_path / "train.json", rows[:3])
    evaluation = write_json(tmp_path / "eval.json", rows[2:])
    status, found = call(capsys, "leakage", "data.format=vlkeb", f"data.train={train}", f"data.eval={evaluation}")
    assert status == 0
    assert found["cases"] == {"train": 3, "eval": 3}
    assert found["requests"] == {"shared": 1, "of": 3, "cases": 1}
    assert found["questions"]["image_locality"] == {"shared": 1, "of": 3, "cases": 1}
    assert found["problems"] == 0


def test_leakage_leaves_aside_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_json(tmp_path / "train.json", [shared_row(tmp_path, 0), None])
    status, found = call(capsys, "leakage", "data.format=vlkeb", f"data.train={train}", f"data.eval={train}")
    assert (status, found["problems"], found["cases"]) == (1, 2, {"train": 1, "eval": 1})


def test_leakage_needs_two_files() -> None:
    with pytest.raises(ConfigError, match=r"data\.train and data\.eval must both be given"):
        main(["leakage", "data.train=train.json"])


def test_leakage_between_published_files() -> None:
    train, evaluation = (PUBLISHED / "vlkeb" / name for name in ("eval.json", "eval_edit_onehop.json"))
    if not train.is_file():
        pytest.skip(f"the published file {train} is not here; data/README.md says how to get it")
    done = run("leakage", "data.format=vlkeb", f"data.train={train}", f"data.eval={evaluation}")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["requests"] == {"shared": 1278, "of": 1278, "cases": 1278}
    assert found["questions"]["image_locality"] == {"shared": 984, "of": 984, "cases": 1278}
    assert found["questions"]["portability_1"]["shared"] == 0


@pytest.mark.parametrize("format", FORMATS)
def test_set_of_every_format_becomes_shards_that_read_alike(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, root = write_published(format, tmp_path / "set")
    named = [f"data.format={format}", f"data.path={path}", f"data.root={root}"]
    folder = tmp_path / "shards"
    status, found = call(capsys, "shard", *named, f"shards.folder={folder}", "shards.cases=4")
    assert status == 0
    assert found["index"] == str(folder / "index.json")
    assert found["shards"] == -(-found["cases"] // 4) == len(list(folder.glob("*.tar")))
    before = call(capsys, "inspect", *named)[1]
    after = call(capsys, "inspect", "data.format=shards", f"data.path={folder}")[1]
    assert (after["cases"], after["probes"], after["problems"]) == (before["cases"], before["probes"], [])


def test_shards_need_a_file_and_a_folder() -> None:
    with pytest.raises(ConfigError, match=r"data\.path and shards\.folder"):
        main(["shard", "data.format=plain", "data.path=edits.json"])
