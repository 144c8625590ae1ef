"""An artefact's files: whole at any moment, readable as they were before, and changed by one process at a time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from ldke_pl.backbone import Backbone
from ldke_pl.edits import Delta, Edit
from ldke_pl.edits.artefact import ADDED, Artefact, load_artefact, save_artefact
from ldke_pl.edits.files import CONFIG
from ldke_pl.edits.stored import changing, read_stored
from ldke_pl.errors import ArtefactError


def edit(backbone: Backbone, name: str, seed: int, supersedes: str = "") -> Edit:
    ((layer, slot),) = backbone.sites["decoder.1"].slots.items()
    generator = torch.Generator().manual_seed(seed)
    shapes = (2, slot.in_features), (slot.out_features, 2)
    delta = Delta(tuple(torch.randn(shape, generator=generator) for shape in shapes))
    key = {"seen": torch.ones(1), "image": torch.randn(4, generator=generator)}
    return Edit(name, "Who?", name.upper(), ("decoder.1",), {layer: delta}, key, supersedes=supersedes)


@pytest.fixture
def saved(backbone: Backbone, tmp_path: Path) -> Path:
    """Three edits, of which c supersedes b and b supersedes a."""
    edits = [edit(backbone, "a", 0), edit(backbone, "b", 1, "a"), edit(backbone, "c", 2, "b")]
    save_artefact(tmp_path / "edits", backbone, Artefact(edits, {}, {"w": torch.ones(2)}))
    return tmp_path / "edits"


def died(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the process die when it has renamed so many files."""
    done: list[Path] = []
    rename: Callable[[Path, Path], Path] = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_dying_while_writing_loses_nothing(
    backbone: Backbone, saved: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, after)
        if after < 3:
            with pytest.raises(KeyboardInterrupt):
                read_stored(saved).roll_back("b")
        else:
            read_stored(saved).roll_back("b")
    kept = ["a", "b", "c"] if after == 0 else ["a", "c"]
    found = load_artefact(saved, backbone)
    assert [e.edit_id for e in found.edits] == kept
    # What was written but not yet in its place outlives the next change.
    read_stored(saved).set_disabled("c", True)
    read_stored(saved).roll_back("c")
    found = load_artefact(saved, backbone)
    assert [e.edit_id for e in found.edits] == kept[:-1]
    assert torch.equal(found.edits[0].key["image"], edit(backbone, "a", 0).key["image"])
    assert torch.equal(found.router_state["w"], torch.ones(2))
    assert not [*saved.glob("*.partial")]


@pytest.mark.parametrize("after", [1, 2])
def test_dying_again_loses_nothing_either(
    backbone: Backbone, saved: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, after)
        with pytest.raises(KeyboardInterrupt):
            read_stored(saved).roll_back("b")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", died)
        with pytest.raises(KeyboardInterrupt):
            read_stored(saved).roll_back("a")
    assert [e.edit_id for e in load_artefact(saved, backbone).edits] == ["a", "c"]


def test_dying_in_the_middle_of_a_file_leaves_what_was(
    backbone: Backbone, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ldke_pl.edits.files.save_file", full)
        with pytest.raises(ArtefactError, match="no space left"):
            read_stored(saved).roll_back("a")
    assert len(load_artefact(saved, backbone).edits) == 3


@pytest.mark.parametrize(
    ("gone", "back", "states"),
    [
        ("c", "b", {"a": "superseded", "b": "in force"}),
        ("b", "", {"a": "superseded", "c": "in force"}),
        ("a", "", {"b": "superseded", "c": "in force"}),
    ],
)
def test_rolling_back_restores_what_was_superseded(
    backbone: Backbone, saved: Path, gone: str, back: str, states: dict[str, str]
) -> None:
    assert read_stored(saved).roll_back(gone) == back
    stored = read_stored(saved)
    assert stored.states() == states
    assert stored.rolled_back == [{"edit_id": gone, "prompt": "Who?", "target": gone.upper()}]
    assert stored.deltas().keys() == stored.keys().keys() == states.keys()
    assert load_artefact(saved, backbone).rolled_back == stored.rolled_back


def test_an_artefact_of_before_is_read(backbone: Backbone, saved: Path) -> None:
    config = json.loads((saved / CONFIG).read_text())
    del config["rolled_back"]
    config["edits"] = [{n: v for n, v in e.items() if n not in ADDED} for e in config["edits"]]
    (saved / CONFIG).write_text(json.dumps(config))
    found = load_artefact(saved, backbone)
    assert [(e.disabled, e.seed, e.context) for e in found.edits] == [(False, None, "")] * 3
    assert found.rolled_back == []
    assert read_stored(saved).states() == {"a": "superseded", "b": "superseded", "c": "in force"}


def test_disabled_and_seed_outlive_saving(backbone: Backbone, saved: Path) -> None:
    read_stored(saved).set_disabled("a", True)
    found = load_artefact(saved, backbone)
    save_artefact(saved, backbone, found)
    assert read_stored(saved).states() == {"a": "superseded, disabled", "b": "superseded", "c": "in force"}


def test_one_process_at_a_time_changes_an_artefact(saved: Path) -> None:
    with FileLock(saved / ".lock"), pytest.raises(ArtefactError, match="Another process"), changing(saved):
        pass
    with changing(saved) as stored:
        assert len(stored.entries) == 3
