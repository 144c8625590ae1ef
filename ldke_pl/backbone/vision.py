"""The vision encoder run once per distinct picture: its weights are frozen, so that its outputs never change. Ours.

Only what lies below the connector is kept, because the connector may carry an edit. Pictures are told apart by their
pixels, so that two rows that ask about the same picture share one pass as well.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from ldke_pl.backbone.hooks import captured, replaced
from ldke_pl.backbone.sites import connectors, vision_encoder

KEPT = 512
"""Pictures whose encodings are kept at a time; the oldest goes first."""


@contextmanager
def encoded_once(model: PreTrainedModel) -> Iterator[None]:
    """Encode each distinct picture once during the forward passes inside."""
    encoder = vision_encoder(model)
    if encoder is model.base_model or encoder is model:
        yield  # there is no encoder apart from the model
        return
    inside = [m for m in connectors(model) if any(m is n for n in encoder.modules())]
    forward = _Grids(encoder, inside).forward if inside else _Rows(encoder.forward).forward
    with replaced(encoder, forward):
        yield


@contextmanager
def encoded_alike(model: PreTrainedModel) -> Iterator[None]:
    """Encode pictures once for passes inside that follow each other over the very same pixels.

    Nothing is put together anew, so that what comes out is bit-equal to what comes out without.
    """
    encoder = vision_encoder(model)
    if encoder is model.base_model or encoder is model or any(m in set(encoder.modules()) for m in connectors(model)):
        yield  # there is nothing apart from what an edit may change
        return
    with replaced(encoder, _Same(encoder.forward).forward):
        yield


class _Same:
    """An encoder that answers with what it gave last if it is asked the same again."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.asked: tuple[Any, ...] | None = None
        self.given: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        asked = (*args, *kwargs.keys(), *kwargs.values())
        if self.asked is None or not _alike(asked, self.asked):
            self.asked, self.given = asked, self.original(*args, **kwargs)
        return self.given


def _alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        return a is b or (isinstance(a, str | int | float) and bool(a == b))

    return len(one) == len(other) and all(map(same, one, other))


class _Rows:
    """An encoder that takes and gives one entry per picture (or tile): run on those not seen before, and assembled.

    One that mixes pictures, as Pixtral's does, is run as it is.
    """

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.stored: dict[bytes, Any] = {}
        self.by_row: bool | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
        count = len(tensors[0])
        if self.by_row is False or any(len(t) != count for t in tensors):
            return self.original(*args, **kwargs)
        keys = [_digest([t[i] for t in tensors]) for i in range(count)]
        new = _first_of_each(keys, self.stored)
        if new:
            # A single entry would not show whether the encoder keeps entries apart: the first time, it goes twice.
            asked = new * 2 if len(new) == 1 and self.by_row is None else new
            chosen = torch.tensor(asked, device=tensors[0].device)
            part = self.original(*_taken(args, chosen), **_taken(kwargs, chosen))
            self.by_row = all(len(t) == len(asked) for t in _leaves(part))
            if not self.by_row:
                return self.original(*args, **kwargs)
            for place, i in enumerate(new):
                self.stored[keys[i]] = _entry(part, place)
        joined = _mapped_over(torch.stack, [self.stored[key] for key in keys])
        _forget(self.stored)
        return joined


class _Grids:
    """An encoder of flattened patches that holds its own connector (Qwen-VL): its blocks' outputs are kept.

    Args:
        encoder: takes patches (patches, width) and grids (pictures, 3).
        connectors: the parts of it that must run anew.
    """

    def __init__(self, encoder: nn.Module, connectors: Sequence[nn.Module]) -> None:
        self.original, self.connectors = encoder.forward, connectors
        stacks = [m for m in encoder.children() if isinstance(m, nn.ModuleList) and m[0] not in connectors]
        blocks = max((list(stack) for stack in stacks), key=len)
        read = {*getattr(encoder, "deepstack_visual_indexes", ()), len(blocks) - 1}
        self.blocks = blocks
        self.read = {str(i): blocks[i] for i in sorted(read)}
        self.stored: dict[bytes, dict[str, Tensor]] = {}

    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        sizes = grid_thw.prod(1).tolist()
        pictures = torch.split(hidden_states, sizes)
        keys = [_digest([p, g]) for p, g in zip(pictures, grid_thw, strict=True)]
        new = _first_of_each(keys, self.stored)
        if new:
            self._encode([keys[i] for i in new], [pictures[i] for i in new], grid_thw[new], kwargs)
        outputs = {name: torch.cat([self.stored[key][name] for key in keys]) for name in self.read}
        with ExitStack() as stack:
            for number, block in enumerate(self.blocks):
                stack.enter_context(replaced(block, _answering(outputs.get(str(number)))))
            found = self.original(hidden_states, grid_thw, **kwargs)
        _forget(self.stored)
        return found

    @torch.no_grad()
    def _encode(self, keys: list[bytes], pictures: list[Tensor], grids: Tensor, kwargs: dict[str, Any]) -> None:
        with captured(self.read) as outputs, ExitStack() as stack:
            for module in self.connectors:  # whatever hooks they carry are made for the whole batch
                stack.enter_context(replaced(module, lambda hidden, *_: hidden))
            self.original(torch.cat(pictures), grids, **kwargs)
        sizes = grids.prod(1).tolist()
        for name, output in outputs.items():
            for key, part in zip(keys, torch.split(output, sizes), strict=True):
                self.stored.setdefault(key, {})[name] = part


def _answering(output: Tensor | None) -> Callable[..., Any]:
    """A block's forward that gives what is known; what nobody reads is passed on as it came."""
    return lambda hidden, *args, **kwargs: hidden if output is None else output


def _digest(parts: Sequence[Tensor]) -> bytes:
    digest = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _first_of_each(keys: Sequence[bytes], known: Any) -> list[int]:
    """Positions of the first of each key that is not known."""
    return sorted({key: i for i, key in reversed(list(enumerate(keys))) if key not in known}.values())


def _forget(stored: dict[bytes, Any]) -> None:
    for key in list(stored)[: max(0, len(stored) - KEPT)]:
        del stored[key]


def _taken(values: Any, chosen: Tensor) -> Any:
    if isinstance(values, dict):
        return {k: v[chosen] if isinstance(v, Tensor) else v for k, v in values.items()}
    return [v[chosen] if isinstance(v, Tensor) else v for v in values]


def _leaves(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _leaves(part)


def _entry(output: Any, place: int) -> Any:
    return _mapped_over(lambda tensors: tensors[0][place], [output])


def _mapped_over(function: Callable[[Any], Tensor], outputs: Sequence[Any]) -> Any:
    """``function`` of the tensors that stand in the same place of several outputs of one structure."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return function(outputs)
    if isinstance(first, ModelOutput):
        return type(first)(**{k: _mapped_over(function, [o[k] for o in outputs]) for k in first})
    if isinstance(first, tuple | list):
        return type(first)(_mapped_over(function, parts) for parts in zip(*outputs, strict=True))
    return first
