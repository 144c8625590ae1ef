"""What a model said to every probe, and the unedited model's answers on disk. Ours.

The unedited model says the same to the same questions in every run. Its answers are kept under a name made from all
that they depend on, so that asking it is paid for once.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import NEW_TOKENS
from ldke_pl.data import EditCase, Probe, content_digest

log = logging.getLogger(__name__)

Item = tuple[EditCase, Probe]


@dataclass
class Forced:
    """Teacher-forced predictions of one batch of items: top ids (batch, seq, 10), labels and mask (batch, seq)."""

    items: list[int]
    ids: Tensor
    labels: Tensor
    attention: Tensor


@dataclass
class Answers:
    """What some model said to every item.

    Args:
        texts: generated answer per item.
        forced: teacher-forced predictions by batch.
        ceilings: whether the answer is right if the fact is told in words, per item that has such a question.
    """

    texts: dict[int, str] = field(default_factory=dict)
    forced: list[Forced] = field(default_factory=list)
    ceilings: dict[int, float] = field(default_factory=dict)


def save_answers(path: Path, answers: Answers) -> None:
    """Write answers, whole or not at all; a folder that cannot be written costs the next run its time and no more."""
    tensors: dict[str, Tensor] = {}
    for number, batch in enumerate(answers.forced):
        parts = {"items": torch.tensor(batch.items), "ids": batch.ids, "labels": batch.labels, "mask": batch.attention}
        tensors |= {f"{number}|{name}": value.contiguous() for name, value in parts.items()}
    told = {"texts": json.dumps(answers.texts), "ceilings": json.dumps(answers.ceilings)}
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors or {"none": torch.zeros(1)}, partial, told)
        partial.rename(path)
    except (OSError, SafetensorError) as fault:
        log.warning("The unedited model's answers cannot be kept in %s: %s", path, fault)


def load_answers(path: Path) -> Answers | None:
    """What :func:`save_answers` wrote; None where there is nothing, or it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        texts, ceilings = (_numbered(told[name]) for name in ("texts", "ceilings"))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    count = len({name.partition("|")[0] for name in tensors if "|" in name})
    batches = [[tensors[f"{i}|{part}"] for part in ("items", "ids", "labels", "mask")] for i in range(count)]
    return Answers(texts, [Forced(items.tolist(), *rest) for items, *rest in batches], ceilings)


def _numbered(text: str) -> dict[int, Any]:
    return {int(item): value for item, value in json.loads(text).items()}


def answers_key(backbone: Backbone, items: Sequence[Item], settings: Mapping[str, object]) -> str:
    """A name made from all that the unedited model's answers depend on.

    Args:
        settings: what else they depend on, such as the protocols.
    """
    model = {
        "fingerprint": backbone.fingerprint(len(backbone.layers) - 1), "dtype": str(backbone.model.dtype),
        "template": str(backbone.processor.chat_template), "device": backbone.device.type, "tokens": NEW_TOKENS,
        "versions": [version(name) for name in ("torch", "transformers")],
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps([model, settings], sort_keys=True, default=str).encode())
    asked = [(probe.image, f"{probe.prompt}|{probe.expected}") for _, probe in items]
    told = [(p.ceiling.image, p.ceiling.prompt) for _, p in items if p.ceiling is not None]
    digest.update(content_digest([*asked, *told]).encode())
    return digest.hexdigest()[:24]
