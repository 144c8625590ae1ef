"""The base model of an artefact, and questions put to it."""

from collections.abc import Sequence

import torch

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.config import ModelConfig
from ldke_pl.data import Question
from ldke_pl.edits.stored import Stored

BATCH = 16
"""Questions in one forward."""


def device() -> torch.device:
    """A CUDA GPU if there is one, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(stored: Stored, name: str | None) -> Backbone:
    """The base model that an artefact names, or ``name``, in the artefact's dtype.

    Raises:
        ModelError: it cannot be loaded.
    """
    base = stored.config["base"]
    dtype = str(base["dtype"]).removeprefix("torch.")
    return load_backbone(ModelConfig(name=name or base["name"], dtype=dtype, revision=base["revision"]), device())


def answers(backbone: Backbone, questions: Sequence[Question]) -> list[str]:
    """Greedy answers of whatever model the hooks in force make of the base."""
    found: list[str] = []
    for start in range(0, len(questions), BATCH):
        batch = backbone.prompts.encode(questions[start : start + BATCH]).to(backbone.device)
        found += greedy_answers(backbone, batch)
    return found
