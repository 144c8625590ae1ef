"""What methods that are trained on other edits have in common: which probes they learn from, and how edits are judged.

A method may learn from an edit's own question, rephrasings and altered pictures, and from locality probes; never from
portability probes: what spreads is for evaluation.
"""

from collections.abc import Sequence
from dataclasses import replace

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


def crossed(backbone: Backbone, cases: Sequence[EditCase], generator: torch.Generator) -> list[EditCase]:
    """The cases with targets that begin as their own and end as another case's, so that few targets become many. Ours.

    Without that, a net which must write answers learns those of the training set by heart. Probes that expect the
    target expect the new one; others keep what they expect.
    """
    ids = [backbone.prompts.answer_ids(case.request.target)[:-1] for case in cases]
    found = []
    for case, own, other in zip(cases, ids, torch.randperm(len(cases), generator=generator).tolist(), strict=True):
        kept = int(torch.randint(0, len(own) + 1, (), generator=generator))
        (target,) = backbone.prompts.decode(torch.tensor([own[:kept] + ids[other][kept:]]))
        target = target or case.request.target
        probes = tuple(replace(p, expected=target) if p.expected == case.request.target else p for p in case.probes)
        found.append(replace(case, request=replace(case.request, target=target), probes=probes))
    return found


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
