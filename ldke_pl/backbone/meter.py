"""What passes through a model cost, counted where they happen. Ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from ldke_pl.backbone.hooks import first_tensor, forward_hooks
from ldke_pl.backbone.load import Backbone

BACKWARD = 2
"""Cost of a backward pass in forward passes: the usual count, an upper bound where weights are frozen."""


@dataclass
class Meter:
    """Adds up the passes that are made while it runs; the vision encoder is in the seconds alone.

    Args:
        forward: tokens, padding included, times the share of decoder layers that they passed.
        backward: the same of those whose gradient goes back through the layer.
        seconds: CPU time of this process, which others on the machine do not lengthen.
    """

    backbone: Backbone
    forward: float = 0.0
    backward: float = 0.0
    seconds: float = 0.0

    @property
    def cost(self) -> float:
        """Tokens of a whole forward pass that would cost as much."""
        return self.forward + BACKWARD * self.backward

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside, once more each time."""
        start = time.process_time()
        with forward_hooks((layer, self._count) for layer in self.backbone.layers):
            yield
        self.seconds += time.process_time() - start

    def _count(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        states = first_tensor(output)
        tokens = states.shape[0] * states.shape[1] / len(self.backbone.layers)
        self.forward += tokens
        if states.grad_fn is not None:  # None also where the graph begins at this output
            self.backward += tokens
