"""Thin torchmetrics classes over :mod:`ldke_pl.metrics.functional`.

All keep sums and counts, never means, so that ranks with unequal numbers of rows are weighted by their rows.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ldke_pl.metrics.functional import exact_match, token_accuracy, top1_agreement, topk_agreement


class _RowMean(Metric):
    """Mean of one score per row; NaN, with torchmetrics' warning, before the first row."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, scores: Tensor) -> None:
        self.total += scores.sum()
        self.count += scores.numel()

    def compute(self) -> Tensor:
        """Return the mean over all rows seen, a scalar."""
        return self.total / self.count


class ExactMatch(_RowMean):
    """Mean of :func:`~ldke_pl.metrics.functional.exact_match` over answers."""

    def update(self, predictions: Sequence[str], targets: Sequence[str]) -> None:
        """Add one row per answer; raises ValueError if the two differ in length or either is a bare string."""
        if isinstance(predictions, str) or isinstance(targets, str) or len(predictions) != len(targets):
            raise ValueError(
                "Expected argument `targets` to be a list of strings as long as `predictions`, "
                f"but got {targets!r} for {predictions!r}."
            )
        scores = [exact_match(prediction, target) for prediction, target in zip(predictions, targets, strict=True)]
        self._add(torch.tensor(scores, device=self.total.device))


class TokenAccuracy(_RowMean):
    """Mean over rows of :func:`~ldke_pl.metrics.functional.token_accuracy`."""

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Add a batch of logits ``(batch, seq, vocab)`` or ids, and labels ``(batch, seq)``."""
        self._add(token_accuracy(predictions, labels))


class Top1Agreement(_RowMean):
    """Mean over rows of :func:`~ldke_pl.metrics.functional.top1_agreement`."""

    def update(self, before: Tensor, after: Tensor, labels: Tensor) -> None:
        """Add a batch of predictions before and after the edit, and labels ``(batch, seq)``."""
        self._add(top1_agreement(before, after, labels))


class TopKAgreement(_RowMean):
    """Mean over rows of :func:`~ldke_pl.metrics.functional.topk_agreement`.

    Args:
        k: ranks compared; 1 for text-only rows, 10 for rows with a picture.
        kwargs: as for ``torchmetrics.Metric``.

    Raises:
        ValueError: ``k`` below 1.
    """

    def __init__(self, k: int, **kwargs: Any) -> None:
        if k < 1:
            raise ValueError(f"Expected argument `k` to be at least 1, but got {k}.")
        super().__init__(**kwargs)
        self.k = k

    def update(self, before: Tensor, after: Tensor, attention_mask: Tensor) -> None:
        """Add a batch of predictions before and after the edit, and the attention mask ``(batch, seq)``."""
        self._add(topk_agreement(before, after, attention_mask, self.k))


class RouterCounts(Metric):
    """Where a router sent its queries.

    Each query belongs to one edit under test, to which it is relevant or not, and was routed to that edit ("here"),
    to another one ("elsewhere") or to the base model (neither). ``compute`` returns scalars:

    - ``tpr``: relevant queries routed here / relevant queries;
    - ``fpr``: irrelevant queries routed to any edit, here or elsewhere / irrelevant queries;
    - ``misroute``: relevant queries routed elsewhere / relevant queries, so that ``1 - tpr - misroute`` is the share
      of relevant queries left to the base model;
    - ``misroute_all``: queries answered by an edit that is not theirs, that is relevant ones routed elsewhere and
      irrelevant ones routed to any edit / all queries.

    A rate without queries is NaN. Source: ours.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    relevant: Tensor
    irrelevant: Tensor
    hits: Tensor
    strays: Tensor
    false_alarms: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("relevant", "irrelevant", "hits", "strays", "false_alarms"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, relevant: Tensor, routed_here: Tensor, routed_elsewhere: Tensor) -> None:
        """Add queries.

        Args:
            relevant: ``(n,)``, bool: the query should be routed to its edit.
            routed_here: ``(n,)``, bool: it was.
            routed_elsewhere: ``(n,)``, bool: it was routed to another edit.

        Raises:
            ValueError: not bool, shapes that differ, or a query routed both here and elsewhere.
        """
        for name, flags in (("routed_here", routed_here), ("routed_elsewhere", routed_elsewhere)):
            if flags.dtype != torch.bool or relevant.dtype != torch.bool or flags.shape != relevant.shape:
                raise ValueError(
                    f"Expected argument `{name}` to be bool and shaped like `relevant`, which is {relevant.dtype} of "
                    f"shape {tuple(relevant.shape)}, but got {flags.dtype} of shape {tuple(flags.shape)}."
                )
        if (routed_here & routed_elsewhere).any():
            raise ValueError(
                "Expected argument `routed_elsewhere` to be false where `routed_here` is true, but both are."
            )
        self.relevant += relevant.sum()
        self.irrelevant += (~relevant).sum()
        self.hits += (relevant & routed_here).sum()
        self.strays += (relevant & routed_elsewhere).sum()
        self.false_alarms += (~relevant & (routed_here | routed_elsewhere)).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``tpr``, ``fpr``, ``misroute`` and ``misroute_all``, scalars."""
        return {
            "tpr": self.hits / self.relevant,
            "fpr": self.false_alarms / self.irrelevant,
            "misroute": self.strays / self.relevant,
            "misroute_all": (self.strays + self.false_alarms) / (self.relevant + self.irrelevant),
        }
