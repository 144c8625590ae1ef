"""Pure functions behind every score: strings for ``generate``, tensors for ``masked`` and ``vlkeb``.

Tensor functions take *predictions* in either of two forms, told apart by dtype: logits (floating,
``(batch, seq, vocab)``) or the ids that :func:`topk_ids` made of them (integer, ``(batch, seq, k)``). Keep the
ids of the unedited model, not its logits: for a vocabulary of 32000 they are 3200 times smaller at k = 10.
"""

import unicodedata

import torch
from torch import Tensor

IGNORE_INDEX = -100
"""Label of a position that is not part of the answer."""

_MEANINGFUL = frozenset("%#&@-+/")
"""Punctuation that can be part of an answer ("5%", "-5", "C#") and is therefore never stripped."""


def normalise_answer(text: str) -> str:
    """Bring an answer to the form in which answers are compared.

    Unicode NFKC, case folded, whitespace collapsed, punctuation and whitespace stripped at both ends (except
    ``% # & @ - + /``, which change the meaning). An answer of nothing but punctuation is left as it is, so that "?"
    does not equal an empty answer. Idempotent. Source: ours.
    """
    # Case folding can undo NFKC and the other way round; the second round reaches the fixed point.
    for _ in range(2):
        text = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    kept = [index for index, char in enumerate(text) if not _strippable(char)]
    return text[kept[0] : kept[-1] + 1] if kept else text


def _strippable(char: str) -> bool:
    return char.isspace() or (unicodedata.category(char).startswith("P") and char not in _MEANINGFUL)


def exact_match(prediction: str, target: str) -> float:
    """Return 1.0 if both answers are equal after :func:`normalise_answer`, else 0.0. Protocol ``generate``; ours."""
    return float(normalise_answer(prediction) == normalise_answer(target))


def topk_ids(logits: Tensor, k: int) -> Tensor:
    """Return the ids of the ``k`` largest logits, largest first.

    Args:
        logits: ``(batch, seq, vocab)``, floating.
        k: from 1 to vocab.

    Returns:
        ``(batch, seq, k)``, int64. The order among equal logits is that of ``torch.topk``, as in EasyEdit.

    Raises:
        ValueError: wrong rank or dtype of ``logits``, or ``k`` out of range.
    """
    if logits.ndim != 3 or not logits.is_floating_point():
        raise ValueError(
            "Expected argument `logits` to be a floating tensor of shape (batch, seq, vocab), "
            f"but got {logits.dtype} of shape {tuple(logits.shape)}."
        )
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"Expected argument `k` to be from 1 to {logits.shape[-1]}, the vocabulary size, but got {k}.")
    return logits.topk(k, dim=-1).indices


def token_accuracy(predictions: Tensor, labels: Tensor) -> Tensor:
    """Teacher-forced accuracy on the answer tokens of each row: position ``t`` predicts the label at ``t + 1``.

    With one row at a time this is also EasyEdit's reliability, generality and portability (protocol ``vlkeb``).

    Args:
        predictions: logits ``(batch, seq, vocab)`` or ids ``(batch, seq, k >= 1)``.
        labels: ``(batch, seq)``, integer, -100 outside the answer.

    Returns:
        ``(batch,)``, float32, in [0, 1].

    Raises:
        ValueError: shapes that do not match, or a row without an answer token after its first position.

    Source: protocol ``masked`` of LiveEdit and VisEdit.
    """
    ids = _top_ids(predictions, 1, "predictions")
    mask = _answer_mask(ids, labels)
    return _row_mean(ids[:, :-1, 0] == labels[:, 1:], mask)


def top1_agreement(before: Tensor, after: Tensor, labels: Tensor) -> Tensor:
    """Share of each row's answer tokens for which both passes rank the same token first (masked locality).

    Args:
        before: predictions of the unedited model, logits ``(batch, seq, vocab)`` or ids ``(batch, seq, k >= 1)``.
        after: predictions of the edited model on the same inputs, in either form.
        labels: ``(batch, seq)``, integer, -100 outside the answer; only their positions matter.

    Returns:
        ``(batch,)``, float32, in [0, 1].

    Raises:
        ValueError: shapes that do not match, or a row without an answer token after its first position.

    Source: protocol ``masked`` of LiveEdit and VisEdit.
    """
    first, second = _top_ids(before, 1, "before"), _top_ids(after, 1, "after")
    _check_same_positions(first, second)
    mask = _answer_mask(first, labels)
    return _row_mean(first[:, :-1, 0] == second[:, :-1, 0], mask)


def topk_agreement(before: Tensor, after: Tensor, attention_mask: Tensor, k: int) -> Tensor:
    """Share of (position, rank) pairs with the same token in both passes, over all positions that are not padding.

    Both passes must have been padded alike; on which side does not matter.

    Args:
        before: predictions of the unedited model, logits ``(batch, seq, vocab)`` or ids ``(batch, seq, >= k)``.
        after: predictions of the edited model on the same inputs, in either form.
        attention_mask: ``(batch, seq)``, bool or 0/1; false at padding.
        k: ranks compared, in order; the protocol takes 1 for text-only rows and 10 for rows with a picture.

    Returns:
        ``(batch,)``, float32, in [0, 1].

    Raises:
        ValueError: shapes that do not match, fewer than ``k`` ids, or a row of nothing but padding.

    Source: protocol ``vlkeb`` (VLKEB, EasyEdit).
    """
    first, second = _top_ids(before, k, "before"), _top_ids(after, k, "after")
    _check_same_positions(first, second)
    if attention_mask.shape != first.shape[:2]:
        raise ValueError(
            f"Expected argument `attention_mask` to be of shape {tuple(first.shape[:2])}, "
            f"but got {tuple(attention_mask.shape)}."
        )
    mask = attention_mask.to(device=first.device, dtype=torch.bool)
    if not mask.any(dim=1).all():
        raise ValueError(
            "Expected argument `attention_mask` to be true somewhere in every row, but got a row of padding only."
        )
    return _row_mean((first == second).float().mean(dim=-1), mask)


def _top_ids(predictions: Tensor, k: int, name: str) -> Tensor:
    """Return the first ``k`` ids, ``(batch, seq, k)``, of logits or of ids made earlier."""
    if predictions.is_floating_point():
        return topk_ids(predictions, k)
    if predictions.ndim != 3 or not 1 <= k <= predictions.shape[-1] or predictions.dtype == torch.bool:
        raise ValueError(
            f"Expected argument `{name}` to be logits or integer ids of shape (batch, seq, {k} or more), "
            f"but got {predictions.dtype} of shape {tuple(predictions.shape)}."
        )
    return predictions[..., :k]


def _check_same_positions(before: Tensor, after: Tensor) -> None:
    if before.shape != after.shape:
        raise ValueError(
            f"Expected argument `after` to cover the positions {tuple(before.shape[:2])} of `before`, "
            f"but got {tuple(after.shape[:2])}."
        )


def _answer_mask(ids: Tensor, labels: Tensor) -> Tensor:
    """Return ``(batch, seq - 1)``: true where the position predicts an answer token."""
    if labels.shape != ids.shape[:2]:
        raise ValueError(
            f"Expected argument `labels` to be of shape {tuple(ids.shape[:2])}, but got {tuple(labels.shape)}."
        )
    mask = labels[:, 1:] != IGNORE_INDEX
    empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"Expected argument `labels` to be other than {IGNORE_INDEX} somewhere after the first position of every "
            f"row, but got none in rows {empty}."
        )
    return mask


def _row_mean(scores: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``scores`` ``(batch, positions)`` where ``mask`` is true; every row has such a position."""
    return (scores * mask).sum(dim=1).float() / mask.sum(dim=1)
