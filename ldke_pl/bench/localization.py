"""Finding sites: by gradients, against causal tracing."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.hooks import Hook, captured, first_tensor, forward_hooks
from ldke_pl.backbone.prompts import IGNORE
from ldke_pl.bench.subjects import atlas, atlas_cases, deep
from ldke_pl.bench.timing import Result, side_by_side
from ldke_pl.data import EditRequest, Question
from ldke_pl.localize.gradients import gradient_scores

EDITS, NOISES, CHUNK = 32, 10, 6
"""Edits, draws of noise for each, and edits whose draws share a pass of tracing."""


def localization() -> Iterator[Result]:
    """Scores of all sites for 32 edits, against causal tracing of the same, with 8 decoder layers and with 32."""
    requests = [case.request for case in atlas_cases()[:EDITS]]
    for backbone, target in ((atlas(), 10.0), (deep(32), 40.0)):
        fast = partial(gradient_scores, backbone, requests)
        runs = side_by_side(partial(causal_tracing, backbone, requests), fast)
        yield Result(f"sites of 32 edits, {len(backbone.layers)} layers: causal tracing / gradients", runs, target)


@torch.no_grad()
def causal_tracing(backbone: Backbone, requests: Sequence[EditRequest]) -> Tensor:
    """How much of the answer each layer restores, (edits, layers), after ROME (Meng et al., 2022), of whole blocks.

    The picture's vectors get noise of three times their deviation, ten draws; at one layer after the other the states
    of the prompt are put back to what they are without noise, and the target's loss is read. Draws and edits share
    passes.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.cat([_traced(backbone, requests[i : i + CHUNK], generator) for i in range(0, len(requests), CHUNK)])


def _traced(backbone: Backbone, requests: Sequence[EditRequest], generator: torch.Generator) -> Tensor:
    questions = [Question(r.image, r.prompt) for r in requests]
    batch, labels = backbone.prompts.encode_answers(questions, [r.target for r in requests])
    layers = {str(i): layer for i, layer in enumerate(backbone.layers)}
    with captured(layers) as clean:
        answer_logits(backbone, batch, labels)
    many = {name: value.repeat_interleave(NOISES, 0) for name, value in batch.items()}
    rows = labels.repeat_interleave(NOISES, 0)
    noisy = (backbone.sites[CONNECTOR].output, _noise(generator))
    losses = []
    for name, layer in layers.items():
        with forward_hooks([noisy, (layer, _put_back(clean[name].repeat_interleave(NOISES, 0), rows == IGNORE))]):
            losses.append(answer_logits(backbone, many, rows).loss_per_row())
    return torch.stack(losses, 1).reshape(len(requests), NOISES, -1).mean(1)


def _noise(generator: torch.Generator) -> Hook:
    def add(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + 3 * output.std() * torch.randn(output.shape, generator=generator)

    return add


def _put_back(states: Tensor, where: Tensor) -> Hook:
    """Replace the states, (batch, seq, width), of a layer's output at ``where``, (batch, seq)."""

    def put(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        found = torch.where(where[..., None], states, first_tensor(output))
        return found if isinstance(output, Tensor) else (found, *output[1:])

    return put
