"""Deltas, and how one forward pass carries many: row b of a batch runs under its own edit, or under none. Ours.

The delta of a linear layer is added to its *output*, on the rows of that edit alone; the base weights are never
touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.hooks import Hook, forward_hooks
from ldke_pl.backbone.pictures import shares

BASE_ROW = -1
"""Stands for "no edit" where a row's or a picture's edit is given by number."""


@dataclass(frozen=True)
class Delta:
    """The update of one linear layer; computed in fp32, whatever it is kept in.

    Args:
        factors: matrices whose product is added to the weight: ``(down, up)`` of shapes (rank, in) and (out, rank)
            for a low-rank delta, ``(weight,)`` of shape (out, in) for a full one.
        bias: added to the output, (1, out) or one row per position (seq, out); None for no such term.
        replaces: there are no factors, and ``bias``, (1, out), takes the place of the output at the last prompt token.
    """

    factors: tuple[Tensor, ...]
    bias: Tensor | None = None
    replaces: bool = False

    def tensors(self) -> tuple[Tensor, ...]:
        return self.factors if self.bias is None else (*self.factors, self.bias)

    def to(self, dtype: torch.dtype) -> "Delta":
        """The same, kept in another dtype."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return replace(self, factors=tuple(factor.to(dtype) for factor in self.factors), bias=bias)


Deltas = Mapping[str, Delta]
"""Qualified name of a linear layer -> its update."""


@contextmanager
def applied(
    backbone: Backbone,
    deltas: Sequence[Deltas],
    rows: Tensor,
    images: Tensor | None = None,
    sizes: Tensor | None = None,
    ends: Tensor | None = None,
) -> Iterator[None]:
    """Run the forward passes inside with row b under ``deltas[rows[b]]``.

    Rows of number ``BASE_ROW`` are bit-equal to the base model on the same batch. With beams or several return
    sequences a pass has a multiple of ``len(rows)`` rows; each row's number then counts for all of its copies.

    Args:
        deltas: the edits that occur in this batch, all made by one method.
        rows: edit number per row of the batch, (batch,) long.
        images: edit number per picture in the order of the pixels, (pictures,) long; where to write the connector.
            None if no row has a picture.
        sizes: relative number of vectors that each picture has at the connector, (pictures,) long; None if all have
            as many.
        ends: position of the last prompt token per row, (batch,) long, for deltas that replace it. None for what
            ``generate`` does: prompts end where a pass does, and a pass of one position goes on with an answer.
    """
    connector = backbone.sites[CONNECTOR].slots
    hooks = []
    for name in dict.fromkeys(name for d in deltas for name in d):
        members = [i for i, d in enumerate(deltas) if name in d]
        numbers = images if name in connector else rows
        if numbers is None:
            continue
        local = torch.full((len(deltas) + 1,), BASE_ROW)
        local[members] = torch.arange(len(members))
        slot, shares = backbone.slot(name), sizes if name in connector else None
        # Numbers count from BASE_ROW = -1, which indexes the last entry of ``local``: no edit there either.
        chosen = local[numbers.cpu()]
        if (chosen >= 0).any():
            chosen = chosen.to(_device(slot.module, backbone.device))
            chosen_from = [deltas[i][name] for i in members]
            if chosen_from[0].replaces:
                hook = _replaces(chosen_from, chosen, ends)
            else:
                hook = _adds(chosen_from, chosen, shares, slot.after)
            hooks.append((slot.module, hook))
    with forward_hooks(hooks):
        yield


def _device(module: nn.Module, usual: torch.device) -> torch.device:
    """Where a module runs: layers can be on several devices, and have no weights while those are not in memory."""
    held = next(module.parameters(), None)
    return usual if held is None or held.device.type == "meta" else held.device


def _adds(deltas: Sequence[Delta], chosen: Tensor, sizes: Tensor | None, after: bool) -> Hook:
    """A forward hook that adds each chosen row's (or picture's) delta to the output of a linear map."""
    factors = _stack(deltas, chosen.device)
    biases = [d.bias for d in deltas if d.bias is not None]
    bias = torch.stack(biases).to(chosen.device).float() if biases else None
    even = sizes is None or len(set(sizes.tolist())) == 1

    def update(hidden: Tensor, numbers: Tensor) -> Tensor:
        """(n, vectors, in) to (n, vectors, out), entry i by the delta of number ``numbers[i]``."""
        # Autocast would compute fp32 deltas in half precision.
        with torch.autocast(hidden.device.type, enabled=False):
            found = hidden.float()
            for factor in factors:
                found = torch.bmm(found, factor[numbers].transpose(1, 2))
            return found if bias is None else found + bias[numbers]

    def add(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        hidden = output if after else inputs[0]
        if sizes is None or even:
            # Some models flatten rows or pictures before a linear map: each has an equal share of what comes.
            read, written = (x.reshape(len(chosen), -1, x.shape[-1]) for x in (hidden, output))
            where = (chosen >= 0).nonzero().squeeze(1)
            found = update(read[where], chosen[where]).to(output.dtype)
            return written.index_add(0, where, found).reshape(output.shape)
        read, written = (x.reshape(-1, x.shape[-1]) for x in (hidden, output))
        parts = zip(*(x.split(shares(sizes, len(x))) for x in (read, written)), chosen, strict=True)
        summed = [w + update(r[None], n[None])[0].to(w.dtype) if n >= 0 else w for r, w, n in parts]
        return torch.cat(summed).reshape(output.shape)

    return add


def _replaces(deltas: Sequence[Delta], chosen: Tensor, ends: Tensor | None) -> Hook:
    """A forward hook that puts each chosen row's value in the place of the output at its last prompt token."""
    values = torch.stack([d.bias for d in deltas if d.bias is not None]).to(chosen.device)
    where = (chosen >= 0).nonzero().squeeze(1)

    def put(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        length = output.shape[1] if output.ndim == 3 else len(output) // len(chosen)
        if ends is None and length == 1:
            return output
        at = torch.full_like(where, length - 1) if ends is None else ends.to(chosen.device)[where]
        # (rows, copies of a row, positions, out)
        written = output.reshape(len(chosen), -1, length, output.shape[-1]).clone()
        written[where, :, at] = values[chosen[where]].to(output.dtype)
        return written.reshape(output.shape)

    return put


def _stack(deltas: Sequence[Delta], device: torch.device) -> list[Tensor]:
    """One tensor per factor, (edits, a, b); ranks that differ are padded with zeros, which changes no product."""
    if len(deltas[0].factors) == 1:
        return [torch.stack([d.factors[0] for d in deltas]).to(device).float()]
    down = pad_sequence([d.factors[0] for d in deltas], batch_first=True)
    up = pad_sequence([d.factors[1].T for d in deltas], batch_first=True).transpose(1, 2)
    return [down.to(device).float(), up.to(device).float()]


def n_bytes(deltas: Deltas) -> int:
    """Size of the deltas of one edit as they are stored."""
    return sum(t.numel() * t.element_size() for delta in deltas.values() for t in delta.tensors())
