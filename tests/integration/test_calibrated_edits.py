"""What localization knows of a base stays with its edits: a model that was loaded writes where the one saved did."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import call_edits
from PIL import Image

from ldke_pl.data import EditRequest
from ldke_pl.edited import EditedModel
from ldke_pl.editors.ldke import LDKE
from ldke_pl.edits.files import CONFIG
from ldke_pl.errors import ArtefactError
from ldke_pl.localize import Calibration

KNOWN = Calibration({"cosine": {"connector": (0.5, 0.25)}}, {"entity": "decoder.6"})


@pytest.fixture
def calibrated(saved_edits: Path, tmp_path: Path) -> Path:
    """Edits whose base has a site for entity edits that no score points at."""
    edited = EditedModel.load(saved_edits)
    edited.calibration = KNOWN
    edited.save(tmp_path / "calibrated")
    return tmp_path / "calibrated"


def sites(edited: EditedModel) -> tuple[str, ...]:
    """Where the model writes an edit of what a picture shows."""
    assert isinstance(edited.editor, LDKE)
    edited.editor.config = replace(edited.editor.config, steps=1, views=1)
    request = EditRequest(Image.new("RGB", (32, 32), "green"), "Which country is this?", "Balumo", "entity")
    (name,) = edited.edit([request])
    return edited.edits[name].sites


def test_a_loaded_model_writes_where_the_one_saved_did(calibrated: Path, saved_edits: Path, tmp_path: Path) -> None:
    assert sites(EditedModel.load(calibrated)) == ("decoder.6",)
    assert sites(EditedModel.load(saved_edits)) != ("decoder.6",)
    EditedModel.load(calibrated).save(tmp_path / "again")
    assert sites(EditedModel.load(tmp_path / "again")) == ("decoder.6",)


def test_merged_edits_keep_what_is_known(calibrated: Path, saved_edits: Path, tmp_path: Path) -> None:
    assert call_edits("merge", saved_edits, calibrated, tmp_path / "both").status == 0
    assert sites(EditedModel.load(tmp_path / "both")) == ("decoder.6",)


@pytest.mark.parametrize(
    "found",
    [["a"], {"standard": 1, "best_fixed": {}}, {"standard": {}}, {"standard": {}, "best_fixed": {}, "readout": [1]}],
)
def test_a_damaged_calibration_is_refused(calibrated: Path, found: Any) -> None:
    config = json.loads((calibrated / CONFIG).read_text(encoding="utf-8"))
    (calibrated / CONFIG).write_text(json.dumps(config | {"calibration": found}), encoding="utf-8")
    with pytest.raises(ArtefactError, match=CONFIG):
        EditedModel.load(calibrated)


def test_edits_of_before_are_read(calibrated: Path) -> None:
    config = json.loads((calibrated / CONFIG).read_text(encoding="utf-8"))
    del config["calibration"]
    (calibrated / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    assert EditedModel.load(calibrated).calibration == Calibration()
