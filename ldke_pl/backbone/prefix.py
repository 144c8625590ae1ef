"""What a pass need not compute, or not keep, because the base is frozen and few layers are written to. Ours.

The states which go into the lowest written layer are the same in every optimisation step: from the second pass on, the
layers below are passed over and that layer gets what it got in the first. What the layers above compute can be thrown
away and computed again in the backward pass, where memory is short; and it can be compiled.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import torch
import torch._dynamo.exc
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ldke_pl.backbone.hooks import captured, replaced
from ldke_pl.backbone.load import Backbone
from ldke_pl.errors import ModelError


class Prefix:
    """The layers of a decoder below ``lowest``, in passes over one and the same batch.

    Args:
        lowest: number of the lowest layer that may change from pass to pass.
        watched: whether the outputs of the layers below are looked at, too: they are then kept.
    """

    def __init__(self, backbone: Backbone, lowest: int, *, watched: bool = False) -> None:
        self.below, self.layer = list(backbone.layers)[:lowest], backbone.layers[lowest]
        self.watched = watched
        self._entered: Tensor | None = None
        self._outputs: dict[str, Tensor] = {}

    @contextmanager
    def reused(self) -> Iterator[None]:
        """Make the pass inside: whole the first time, and from ``lowest`` on after that."""
        if not self.below:
            yield
        elif self._entered is None:
            with (
                captured({"it": self.layer}, inputs=True) as entered,
                captured(self._kept()) as outputs,
            ):
                yield
            self._entered, self._outputs = entered["it"], outputs
        else:
            with ExitStack() as stack:
                for number, layer in enumerate(self.below):
                    stack.enter_context(replaced(layer, _answering(self._outputs.get(str(number)))))
                stack.enter_context(replaced(self.layer, _entered_by(self.layer.forward, self._entered)))
                yield

    def _kept(self) -> dict[str, nn.Module]:
        return {str(i): layer for i, layer in enumerate(self.below)} if self.watched else {}


def written_layers(backbone: Backbone, written: Iterable[Collection[str]]) -> set[int]:
    """Numbers of the decoder layers that hold linear maps of these names; -1 stands for whatever is elsewhere."""
    holder = {id(m): number for number, layer in enumerate(backbone.layers) for m in layer.modules()}
    return {holder.get(id(backbone.slot(name).module), -1) for names in written for name in names}


def lowest_layer(backbone: Backbone, written: Iterable[Collection[str]]) -> int:
    """The lowest decoder layer that holds a linear map of these names; 0 if one lies elsewhere, or there is none."""
    return max(0, min(written_layers(backbone, written), default=0))


@contextmanager
def recomputed(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Keep of ``layers`` only what goes into them; the backward pass computes the rest again.

    Hooks inside these layers would have to be in force in the backward pass as well: there must be none.
    """
    with ExitStack() as stack:
        for layer in layers:
            again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
            stack.enter_context(replaced(layer, again))
        yield


@contextmanager
def compiled(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Run ``layers`` as ``torch.compile`` makes them: compiled once for all layers of a class and all sizes of batches.

    There must be no hooks inside these layers: they may come and go, what is compiled stays.

    Raises:
        ModelError: a layer cannot be compiled here.
    """
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(replaced(layer, partial(_compiled(type(layer)), layer)))  # type: ignore[arg-type]
        try:
            yield
        except torch._dynamo.exc.BackendCompilerFailed as fault:
            raise ModelError(
                f"The model's layers cannot be compiled: {str(fault).splitlines()[0]}",
                "install a C++ compiler (g++), or leave editor.NAME.compile out",
            ) from fault


@cache
def _compiled(kind: type[nn.Module]) -> Callable[..., Any]:
    return torch.compile(kind.forward, dynamic=True)


def _answering(output: Tensor | None) -> Callable[..., Any]:
    """A layer's forward that gives what it gave; what nobody looks at is passed on as it came."""
    return lambda hidden, *_args, **_kwargs: hidden if output is None else output.detach()


def _entered_by(forward: Callable[..., Any], entered: Tensor) -> Callable[..., Any]:
    """A layer's forward that is given ``entered``, whatever the layers below have passed on."""
    return lambda _hidden, *args, **kwargs: forward(entered, *args, **kwargs)
