"""The directions in which states differ most: what a projection to fewer numbers keeps. Ours."""

import torch
from torch import Tensor

ROWS = 20_000
"""Most states that directions are fitted on."""


def principal_directions(states: Tensor, width: int) -> Tensor:
    """The first principal directions of centred states, (n, size) to (size, width); zeros beyond what ``n`` can give.

    The result does not depend on the random state, and leaves it alone.
    """
    states = states[:: max(1, len(states) // ROWS)]
    found = states.new_zeros(states.shape[1], width)
    rank = min(width, *states.shape)
    if rank:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found[:, :rank] = torch.pca_lowrank(states, q=rank, center=False)[2]
    return found
