"""What an edit of a model of seven billion parameters takes up."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ldke_pl.bench.timing import Result
from ldke_pl.config import RouterConfig
from ldke_pl.router import PairClassifier
from ldke_pl.router.features import MAX_TOKENS

RANK = 4
WIDTH = 4096
DOWN_PROJ = (11008, WIDTH)
CONNECTOR = ((1024, WIDTH), (WIDTH, WIDTH))
"""Inputs and outputs of the linear maps of LLaVA-1.5-7B that an edit of the connector and of one layer writes to."""

LAYERS = 8
"""Layers that the router reads of it: a quarter."""


def storage() -> Iterator[Result]:
    """Bytes of one edit as it is stored: deltas in bfloat16 and the router's key in half precision."""
    deltas, key = _deltas(), _key()
    with tempfile.TemporaryDirectory() as folder:
        for name, tensors in {"deltas": deltas, "edit": deltas | key}.items():
            save_file(tensors, Path(folder) / name)
        deltas_alone, whole = ((Path(folder) / name).stat().st_size for name in ("deltas", "edit"))
    yield Result("bytes of an edit with its key, 7B-shaped", [whole], 300_000, at_most=True)
    yield Result("bytes of its deltas alone", [deltas_alone])


def _deltas() -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, (inputs, outputs) in enumerate((DOWN_PROJ, *CONNECTOR)):
        tensors |= {f"{number}|0": torch.randn(RANK, inputs), f"{number}|1": torch.randn(outputs, RANK)}
    return {name: value.bfloat16() for name, value in tensors.items()}


def _key() -> dict[str, Tensor]:
    """A key of the longest kind, of random states."""
    features = LAYERS * WIDTH
    states = {name: torch.randn(1, features) for name in ("image", "text", "last", "target")}
    states |= {name: torch.randn(1, n, WIDTH) for name, n in MAX_TOKENS.items() if name != "word_tokens"}
    classifier = PairClassifier(features, LAYERS, kept=RouterConfig().kept)
    with torch.no_grad():
        key = classifier.embed_edits(states | {"seen": torch.ones(1, 1)})
    return {f"key.{name}": value[0].half() for name, value in key.items()}
