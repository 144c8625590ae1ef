"""Scores of every site from one batched forward and backward over 2B rows: the old and the new answer of B edits. Ours.

``cosine`` follows the idea that a site matters where the old and the new answer pull on the same direction
(|cos(g_old, g_new)| * |g_new| did best in a third-party comparison over seven VLMs); ``gradient`` is its plain norm,
``attribution`` the first-order effect of the site's state on the difference of the two answers' losses.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import answer_logits, greedy_answers
from ldke_pl.backbone.hooks import captured
from ldke_pl.backbone.pictures import Pictures
from ldke_pl.backbone.prompts import IGNORE
from ldke_pl.data import EditRequest, Question

OLD = 8
"""Tokens of the old answer: a fact is told by the first few, and each more is another pass of the model."""

SCORES = ("cosine", "gradient", "attribution")


def gradient_scores(backbone: Backbone, requests: Sequence[EditRequest]) -> dict[str, Tensor]:
    """Score name -> (edits, sites), raw; the connector's score is 0 for a text-only edit.

    States are read at the picture's positions, where there is a picture, and otherwise at the prompt's. The old answer
    is how what the model says now begins.
    """
    questions = [Question(r.image, r.prompt) for r in requests]
    old = greedy_answers(backbone, backbone.prompts.encode(questions).to(backbone.device), OLD)
    # A model that says nothing has no old answer to compare with: its end mark alone would be one.
    answers = [o or r.target for o, r in zip(old, requests, strict=True)] + [r.target for r in requests]
    batch, labels = backbone.prompts.encode_answers(questions * 2, answers)
    batch, labels = batch.to(backbone.device), labels.to(backbone.device)
    modules = {name: site.output for name, site in backbone.sites.items()}
    with torch.inference_mode(False), torch.enable_grad(), captured(modules, keep_graph=True) as states:
        total = answer_logits(backbone, batch, labels).loss_per_row().sum()
        found = torch.autograd.grad(total, [*states.values()], materialize_grads=True)
    gradients = dict(zip(states, found, strict=True))
    looked_at = _positions(backbone, batch["input_ids"], batch["attention_mask"], labels)
    pictures = backbone.prompts.pictures(batch)
    columns = []
    for name in backbone.sites:
        if name == CONNECTOR:
            columns.append(_connector_scores(states.get(name), gradients.get(name), pictures, len(requests)))
        elif name in states:
            columns.append(_site_scores(states[name], gradients[name], looked_at))
        else:  # a layer of cross-attention, in a batch without pictures
            columns.append({score: torch.zeros(len(requests)) for score in SCORES})
    # Layers can be on several devices.
    return {score: torch.stack([c[score].cpu() for c in columns], 1) for score in SCORES}


def _positions(backbone: Backbone, ids: Tensor, attention: Tensor, labels: Tensor) -> Tensor:
    """Where a row's states are read, (2B, seq) bool: the same for an edit's two rows, whose prompts are equal."""
    prompt = attention.bool() & (labels == IGNORE)
    image = prompt & (ids == backbone.prompts.image_token_id)
    return torch.where(image.any(1, keepdim=True), image, prompt)


def _site_scores(states: Tensor, gradients: Tensor, looked_at: Tensor) -> dict[str, Tensor]:
    """Scores of one site from its states and their gradients, (2B, seq, width) each."""
    half = len(states) // 2
    old, new = gradients[:half].float(), gradients[half:].float()
    weight = looked_at[half:].to(states.device, torch.float32)
    weight = weight / weight.sum(1, keepdim=True)
    norm = new.norm(dim=-1)
    cosine = torch.cosine_similarity(old, new, dim=-1).abs()
    effect = (states[half:].detach().float() * (new - old)).sum(-1)
    per_position = {"cosine": cosine * norm, "gradient": norm, "attribution": effect}
    scores = {name: (value * weight).sum(1) for name, value in per_position.items()}
    return scores | {"attribution": scores["attribution"].abs()}


def _connector_scores(
    states: Tensor | None, gradients: Tensor | None, pictures: Pictures, count: int
) -> dict[str, Tensor]:
    """The same for the connector, whose vectors belong to pictures: those of the edits' old answers, then the new."""
    scores = {name: torch.zeros(count) for name in SCORES}
    if states is None or gradients is None or not len(pictures):
        return scores
    parts = (pictures.vectors(states), pictures.vectors(gradients))
    rows = pictures.rows.tolist()
    found = {row: (s, g) for row, s, g in zip(rows, *parts, strict=True) if row >= 0}
    for edit in (row for row in found if row < count):
        pair = [torch.stack([found[edit][i], found[edit + count][i]]) for i in range(2)]
        everywhere = torch.ones(pair[0].shape[:2], dtype=torch.bool, device=pair[0].device)
        for name, value in _site_scores(pair[0], pair[1], everywhere).items():
            scores[name][edit] = value[0]
    return scores
