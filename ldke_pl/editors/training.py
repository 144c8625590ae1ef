"""What methods that are trained on other edits have in common: which probes they learn from, and how edits are judged.

A method may learn from an edit's own question, rephrasings and altered pictures, and from locality probes; never from
portability probes: what spreads is for evaluation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import AnswerLogits, answer_logits
from ldke_pl.data import EditCase, Probe, Question
from ldke_pl.edits import Deltas, applied

Asked = list[tuple[int, Probe]]
"""Probes, each with the position of the edit that it is asked under."""


def drawn(cases: Sequence[EditCase], generator: torch.Generator, *, relevant: bool, each: int) -> Asked:
    """At most ``each`` probes of every case: those that its edit must answer, or those that it must leave alone."""
    asked: Asked = []
    for number, case in enumerate(cases):
        fitting = [p for p in case.probes if p.kind.is_locality != relevant and not p.kind.is_portability]
        order = torch.randperm(len(fitting), generator=generator)[:each].tolist()
        asked += [(number, fitting[i]) for i in order]
    return asked


def answer_loss(backbone: Backbone, deltas: Sequence[Deltas], asked: Asked) -> Tensor:
    """Mean cross-entropy of the expected answers, each probe under its edit, nats per token."""
    return _logits(backbone, deltas, asked).loss_per_row().mean()


def change_loss(backbone: Backbone, deltas: Sequence[Deltas], asked: Asked) -> Tensor:
    """Mean divergence KL(base, edited) of the predictions at answer positions, each probe under its edit, nats."""
    with torch.no_grad():
        before = F.log_softmax(_logits(backbone, None, asked).logits.float(), -1)
    after = F.log_softmax(_logits(backbone, deltas, asked).logits.float(), -1)
    return F.kl_div(after, before, log_target=True, reduction="batchmean")


def _logits(backbone: Backbone, deltas: Sequence[Deltas] | None, asked: Asked) -> AnswerLogits:
    questions = [Question(p.image, p.prompt) for _, p in asked]
    batch, labels = backbone.prompts.encode_answers(questions, [p.expected or "?" for _, p in asked])
    batch, labels = batch.to(backbone.device), labels.to(backbone.device)
    rows = torch.tensor([number for number, _ in asked])
    if deltas is None:
        return answer_logits(backbone, batch, labels)
    pictures = backbone.prompts.pictures(batch)
    with applied(backbone, deltas, rows, pictures.numbered(rows), pictures.sizes):
        return answer_logits(backbone, batch, labels)
