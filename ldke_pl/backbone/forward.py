"""Teacher-forced passes and greedy answers of whatever model the hooks in force make of the base."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ldke_pl.backbone.hooks import only_positions
from ldke_pl.backbone.load import Backbone
from ldke_pl.backbone.prompts import IGNORE

NEW_TOKENS = 24
"""Longest answer that is generated for scoring, in tokens."""


@dataclass(frozen=True)
class AnswerLogits:
    """Logits at the answer's positions only.

    Args:
        logits: (answer tokens of the batch, vocabulary).
        targets: the token that each of them should predict.
        rows: the batch row that each of them belongs to.
        n_rows: rows of the batch.
    """

    logits: Tensor
    targets: Tensor
    rows: Tensor
    n_rows: int

    def loss_per_row(self) -> Tensor:
        """Mean cross-entropy of each row's answer, (batch,), nats per token."""
        losses = F.cross_entropy(self.logits.float(), self.targets, reduction="none")
        counts = torch.bincount(self.rows, minlength=self.n_rows)
        return losses.new_zeros(self.n_rows).index_add(0, self.rows, losses) / counts


def answer_logits(backbone: Backbone, batch: Mapping[str, Any], labels: Tensor) -> AnswerLogits:
    """One forward pass over questions with answers, running the LM head on answer positions alone.

    Args:
        batch: what :meth:`Prompts.encode_answers` returned, on the model's device.
        labels: (batch, seq), ``IGNORE`` outside the answers.
    """
    told = labels[:, 1:] != IGNORE
    positions = F.pad(told, (0, 1))
    with only_positions(backbone.model.get_output_embeddings(), positions):
        logits = backbone(**batch, use_cache=False).logits[0]
    return AnswerLogits(logits, labels[:, 1:][told], told.nonzero()[:, 0], len(labels))


def greedy_answers(backbone: Backbone, batch: Mapping[str, Any], tokens: int = NEW_TOKENS) -> list[str]:
    """Greedy generation of at most ``tokens`` for a left-padded batch of questions."""
    prompts = backbone.prompts
    with torch.no_grad():
        ids: Tensor = backbone.generate(
            **batch,
            do_sample=False,
            num_beams=1,
            max_new_tokens=tokens,
            pad_token_id=prompts.tokenizer.pad_token_id,
        )
    return prompts.decode(ids[:, batch["input_ids"].shape[1] :])
