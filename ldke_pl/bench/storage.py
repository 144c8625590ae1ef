"""What an edit of a model of seven billion parameters takes up."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ldke_pl.bench.timing import Result

RANK = 4
DOWN_PROJ = (11008, 4096)
CONNECTOR = ((1024, 4096), (4096, 4096))
"""Inputs and outputs of the linear maps of LLaVA-1.5-7B that an edit of the connector and of one layer writes to."""


def storage() -> Iterator[Result]:
    """Bytes of the deltas of one edit, as they are stored, without the router's key."""
    tensors: dict[str, Tensor] = {}
    for number, (inputs, outputs) in enumerate((DOWN_PROJ, *CONNECTOR)):
        tensors |= {f"{number}|0": torch.randn(RANK, inputs), f"{number}|1": torch.randn(outputs, RANK)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "edit.safetensors"
        save_file({name: value.bfloat16() for name, value in tensors.items()}, file)
        yield Result("bytes of an edit's deltas, 7B-shaped", [file.stat().st_size], 300_000, at_most=True)
