"""The first Atlas MLLM's vision encoder as the start of another family's. Ours.

A CLIP tower, whose blocks other encoders have under other names. Before the first of them it normalises the patch
embeddings, for which the others have no place: their mean is taken away here, and their deviation taken to be what it
is on the average.
"""

from collections.abc import Mapping
from itertools import product

from torch import Tensor, cat

DEVIATION = 2.75
"""Of the tower's patch embeddings, position included, over their elements; the mean of 32 pictures."""

Weights = Mapping[str, Tensor]


def blocks(tower: Weights, depth: int, names: Mapping[str, str], new: str, fused: str) -> dict[str, Tensor]:
    """The tower's blocks under another family's names.

    Args:
        tower: its weights by name.
        depth: how many blocks are taken.
        names: name of a part of a block -> the tower's.
        new: what stands before a block's number.
        fused: the part in which queries, keys and values lie one after another.
    """
    state = {}
    for block, kind in product(range(depth), ("weight", "bias")):
        old = f"encoder.layers.{block}"
        qkv = [tower[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
        state[f"{new}.{block}.{fused}.{kind}"] = cat(qkv)
        state |= {f"{new}.{block}.{own}.{kind}": tower[f"{old}.{theirs}.{kind}"] for own, theirs in names.items()}
    return state


def normalised(embedding: Tensor, tower: Weights) -> Tensor:
    """A part of the patch embeddings, (width, ...), as it is after their normalisation, but for its bias."""
    scale = tower["pre_layrnorm.weight"] / DEVIATION
    return (embedding - embedding.mean(0)) * scale.reshape(-1, *[1] * (embedding.ndim - 1))
