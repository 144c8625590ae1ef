"""What benchmarks run on: Atlas, its edits, and models of other sizes with random weights."""

from dataclasses import replace
from functools import cache

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.config import CONF_DIR, DataConfig, EditConfig, EditorConfig, ModelConfig, load_config
from ldke_pl.data import EditCase
from ldke_pl.runtime.data import load_cases


@cache
def atlas() -> Backbone:
    """The Atlas MLLM."""
    return load_backbone(ModelConfig(name="atlas"))


@cache
def half_atlas() -> Backbone:
    """The same in bfloat16, with the attention whose backward pass is fastest in that on a CPU."""
    return load_backbone(ModelConfig(name="atlas", dtype="bfloat16", attn_implementation="eager"))


@cache
def atlas_cases() -> tuple[EditCase, ...]:
    """Edits of the countries that are kept for evaluation, entity and attribute edits in turn."""
    cases = load_cases(DataConfig(format="atlas", split="edit-eval"))
    kinds = [[c for c in cases if c.group == group] for group in ("entity", "attribute")]
    return tuple(case for pair in zip(*kinds, strict=False) for case in pair)


@cache
def deep(layers: int) -> Backbone:
    """A model of the Atlas MLLM's shape with as many decoder layers, and random weights."""
    base = atlas()
    config = LlavaConfig.from_dict(base.model.config.to_dict())
    config.get_text_config().num_hidden_layers = layers
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Backbone(LlavaForConditionalGeneration(config), base.processor, f"random, {layers} layers")


def editor_config(**settings: object) -> EditorConfig:
    """The settings of ``ldke`` as ``edit.py`` has them, with ``settings`` in their place."""
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke"]).editor["ldke"]
    return replace(config, **settings)  # type: ignore[arg-type]
