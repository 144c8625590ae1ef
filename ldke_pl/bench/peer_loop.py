"""The loop of published multimodal editors, written for comparison only: one request at a time, whole passes. Ours.

What such code has in common (FT-V and FT-L as EasyEdit and VLKEB run them): every step runs the whole model on one
request with its picture, vision encoder and all, and takes the loss from the logits of every position, until that is
low enough or the steps run out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.optimise import adam, begun
from ldke_pl.edits import applied


def peer_loop(
    backbone: Backbone, requests: Sequence[EditRequest], sites: Sequence[tuple[str, ...]], config: EditorConfig
) -> list[float]:
    """The loss at which each edit stopped, nats per answer token."""
    return [_edit(backbone, r, s, config) for r, s in zip(requests, sites, strict=True)]


def _edit(backbone: Backbone, request: EditRequest, sites: tuple[str, ...], config: EditorConfig) -> float:
    with torch.enable_grad():
        problem = begun(backbone, request, sites, config, 0, False)
        optimiser = adam(problem.parameters(), config)
        batch, labels = backbone.prompts.encode_answers(problem.questions, [request.target])
        batch, labels = batch.to(backbone.device), labels.to(backbone.device)
        row = torch.zeros(1, dtype=torch.long)
        loss = torch.tensor(torch.inf)
        for _ in range(config.steps):
            pictures = backbone.prompts.pictures(batch)
            with applied(backbone, [problem.deltas], row, pictures.numbered(row), pictures.sizes):
                loss = _loss(backbone(**batch, use_cache=False).logits, labels)
            if loss.item() < config.stop_loss:
                break
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return loss.item()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the answer, from the logits of all positions."""
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
