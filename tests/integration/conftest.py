"""One tiny model, one small data set and one small artefact for all tests of the commands."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Change, write_rows

from ldke_pl.atlas.cases import CaseWriter, background, picture
from ldke_pl.atlas.pretrain import build_model, write_model
from ldke_pl.atlas.render import render
from ldke_pl.atlas.tokenizer import build_tokenizer
from ldke_pl.atlas.world import Country, World
from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.config import EditorConfig, ModelConfig
from ldke_pl.data import EditRequest
from ldke_pl.edited import EditedModel
from ldke_pl.editors.no_edit import NoEdit
from ldke_pl.edits import Delta, Edit
from ldke_pl.router import FeatureReader, RadiusRouter

ROWS = {"edit-eval": 6, "router-train": 8, "router-val": 4}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Atlas-shaped model that has learned nothing."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(World())
    torch.manual_seed(0)
    write_model(build_model(len(tokenizer)), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of every Atlas split, and the pictures that they name."""
    root = tmp_path_factory.mktemp("data")
    world = World()
    for split, count in ROWS.items():
        rows = CaseWriter(world, split, seed=0).rows()[:count]
        write_rows(root, split, rows)
        for country in world.split(split):
            draw_named(country, json.dumps(rows), root)
    return root


def draw_named(country: Country, text: str, root: Path) -> None:
    """Draw those renderings of ``country`` that ``text`` names."""
    for number in range(6):
        for held_out in (False, True):
            name = picture(country, number, held_out=held_out)
            if f'"{name}"' in text:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng(number)
                render(country.emblem, background(country, number), rng).save(root / name)


@pytest.fixture
def tiny(model_folder: Path, data_root: Path, tmp_path: Path) -> list[str]:
    """Arguments that make a run of either command take seconds; its folder is ``tmp_path / "run"``."""
    return [f"model.name={model_folder}", f"data.root={data_root}", f"run.dir={tmp_path / 'run'}", "run.resamples=20"]


@pytest.fixture
def changed_data(data_root: Path, tmp_path: Path) -> Callable[..., str]:
    """A copy of the data with a row altered, or a picture damaged, as an argument."""

    def make(alter: Callable[[list[dict[str, Any]]], object], damage: Change | None = None, key: str = "image") -> str:
        root = tmp_path / "data"
        rows = copy.deepcopy(json.loads((data_root / "edit-eval.json").read_text())[:2])
        alter(rows)
        write_rows(root, "edit-eval", rows)
        shutil.copytree(data_root / "images", root / "images", copy_function=os.link)
        if damage:
            picture = root / rows[0][key]
            content = picture.read_bytes()
            picture.unlink()  # the other name of the same file stays whole
            picture.write_bytes(content)
            damage(picture)
        return f"data.root={root}"

    return make


@pytest.fixture(scope="session")
def backbone(model_folder: Path) -> Backbone:
    """The tiny model in memory."""
    return load_backbone(ModelConfig(name=str(model_folder)))


@pytest.fixture(scope="session")
def saved_edits(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two edits that were never optimised, ``first`` and ``second``, each at a decoder layer."""
    config = EditorConfig(cls="ldke_pl.editors.no_edit.NoEdit")
    edited = EditedModel(backbone, RadiusRouter(FeatureReader(backbone)), NoEdit(backbone, config, lambda r: []))
    for name, number in (("first", 1), ("second", 2)):
        request = EditRequest(None, f"What is {name}?", name)
        ((layer, slot),) = backbone.sites[f"decoder.{number}"].slots.items()
        factors = (torch.zeros(2, slot.in_features), torch.ones(slot.out_features, 2))
        edit = Edit(name, request.prompt, request.target, (f"decoder.{number}",), {layer: Delta(factors)})
        edited.add(edit, request)
    folder = tmp_path_factory.mktemp("saved") / "edits"
    edited.save(folder)
    return folder


@pytest.fixture
def edits(saved_edits: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(saved_edits, tmp_path / "edits"))
