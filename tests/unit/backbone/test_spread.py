"""A base whose layers are not all in one place, as `model.device_map=auto` leaves one that no device holds whole."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from PIL import Image

from ldke_pl.backbone import CONNECTOR, Backbone, load_backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, ModelConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.edited import BASE, EditedModel
from ldke_pl.editors.ldke import LDKE
from ldke_pl.router import FeatureReader, RadiusRouter

BELOW = 3
"""So many layers stay in memory; the others are read from disk whenever they run."""


@pytest.fixture
def spread(backbone: Backbone, tmp_path: Path) -> Backbone:
    """The tiny model with its upper layers on disk."""
    model = copy.deepcopy(backbone.model)
    above = [f"model.language_model.layers.{i}" for i in range(BELOW, len(backbone.layers))]
    rest = [name for name in model.state_dict() if not name.startswith(tuple(f"{n}." for n in above))]
    places = dict.fromkeys(rest, "cpu") | dict.fromkeys(above, "disk")
    dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    made = Backbone(model, backbone.processor, "spread")
    assert {p.device.type for layer in made.layers[BELOW:] for p in layer.parameters()} == {"meta"}
    return made


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke"]).editor["ldke"]
    return replace(read, steps=3, views=2)


@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")
@pytest.mark.parametrize("site", [CONNECTOR, "decoder.1", "decoder.6"])
def test_edits_and_answers_are_those_of_the_whole_model(
    backbone: Backbone, spread: Backbone, config: EditorConfig, pictures: list[Image.Image], site: str
) -> None:
    request = EditRequest(pictures[0], "Which country is this?", "Balumo", "entity")

    def at(requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
        return [(site,)] * len(requests)

    made, answers = [], []
    for base in (backbone, spread):
        edited = EditedModel(base, RadiusRouter(FeatureReader(base)), LDKE(base, config, at))
        edited.edit([request])
        made.append(next(iter(edited.edits.values())))
        batch = base.prompts.encode([Question(pictures[0], request.prompt), Question(pictures[1], request.prompt)])
        assert edited.route(dict(batch)).rows == [made[-1].edit_id, BASE]
        answers.append(edited.generate(**batch, do_sample=False, max_new_tokens=4))
    for name, delta in made[0].deltas.items():
        for one, other in zip(delta.factors, made[1].deltas[name].factors, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    assert torch.equal(*answers)


def test_a_model_is_loaded_to_where_accelerate_puts_it(backbone: Backbone, tmp_path: Path) -> None:
    backbone.model.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    loaded = load_backbone(ModelConfig(name=str(tmp_path), device_map="auto"), torch.device("meta"))
    assert loaded.device.type == ("cuda" if torch.cuda.is_available() else "cpu"), "and not to the device asked for"
    top = len(backbone.layers) - 1
    assert loaded.fingerprint(top) == backbone.fingerprint(top)
