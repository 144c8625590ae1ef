"""The pure metric functions, against plain loops and by their properties."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ldke_pl.metrics.functional import (
    exact_match,
    normalise_answer,
    token_accuracy,
    top1_agreement,
    topk_agreement,
    topk_ids,
)

SEEDS = st.integers(0, 2**20)
Rows = list[list[list[float]]]


def ranked(scores: list[float], k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:k]


def naive_masked(first: Rows, second: Rows | None, labels: list[list[int]]) -> list[float]:
    """Accuracy of ``first`` on the answer, or its agreement with ``second`` there, by plain loops."""
    out = []
    for row, answer in enumerate(labels):
        right = total = 0
        for position in range(1, len(answer)):
            if answer[position] == -100:
                continue
            wanted = answer[position] if second is None else ranked(second[row][position - 1], 1)[0]
            right += ranked(first[row][position - 1], 1)[0] == wanted
            total += 1
        out.append(right / total)
    return out


def naive_vlkeb(first: Rows, second: Rows, mask: list[list[int]], k: int) -> list[float]:
    """Ordered top-k agreement over every position that is not padding, by plain loops."""
    out = []
    for row, flags in enumerate(mask):
        same = total = 0
        for position, flag in enumerate(flags):
            if flag:
                for a, b in zip(ranked(first[row][position], k), ranked(second[row][position], k), strict=True):
                    same += a == b
                    total += 1
        out.append(same / total)
    return out


def sample(seed: int, batch: int = 4, seq: int = 7, vocab: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits before, logits after (related, so that they agree in part), labels and a mask padded at random sides."""
    rng = torch.Generator().manual_seed(seed)
    before = torch.randn(batch, seq, vocab, generator=rng)
    after = before + 0.4 * torch.randn(batch, seq, vocab, generator=rng)
    right = before.argmax(dim=-1).roll(1, dims=1)
    labels = torch.where(torch.rand(batch, seq, generator=rng) < 0.5, right, (right + 1) % vocab)
    mask = torch.ones(batch, seq, dtype=torch.long)
    for row in range(batch):
        start = int(torch.randint(1, seq - 1, (1,), generator=rng))
        labels[row, :start] = -100
        padding = int(torch.randint(0, seq - 1, (1,), generator=rng))
        mask[row, :padding] = 0
        mask[row] = mask[row].flip(0) if row % 2 else mask[row]
    return before, after, labels, mask


@pytest.mark.parametrize("seed", range(20))
def test_masked_metrics_equal_plain_loops(seed: int) -> None:
    before, after, labels, _ = sample(seed)
    assert token_accuracy(after, labels).tolist() == pytest.approx(naive_masked(after.tolist(), None, labels.tolist()))
    expected = naive_masked(after.tolist(), before.tolist(), labels.tolist())
    assert top1_agreement(before, after, labels).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("seed", range(10))
def test_vlkeb_agreement_equals_plain_loops(seed: int, k: int) -> None:
    before, after, _, mask = sample(seed)
    expected = naive_vlkeb(before.tolist(), after.tolist(), mask.tolist(), k)
    assert topk_agreement(before, after, mask, k).tolist() == pytest.approx(expected)


def test_random_data_is_neither_all_right_nor_all_wrong() -> None:
    before, after, labels, mask = sample(0, batch=64)
    for scores in (token_accuracy(after, labels), top1_agreement(before, after, labels)):
        assert 0.2 < scores.mean() < 0.98
    assert 0.1 < topk_agreement(before, after, mask, 10).mean() < 0.9


def test_position_t_predicts_the_token_at_t_plus_one() -> None:
    logits = torch.zeros(1, 4, 5)
    for position, token in enumerate([4, 3, 2, 1]):
        logits[0, position, token] = 1.0
    assert token_accuracy(logits, torch.tensor([[-100, -100, 3, 0]])).tolist() == [0.5]
    assert token_accuracy(logits, torch.tensor([[-100, 4, 3, 2]])).tolist() == [1.0]


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_ids_and_logits_give_the_same_scores(seed: int) -> None:
    before, after, labels, mask = sample(seed)
    ids_before, ids_after = topk_ids(before, 10), topk_ids(after, 10)
    assert token_accuracy(ids_after, labels).equal(token_accuracy(after, labels))
    assert top1_agreement(ids_before, after, labels).equal(top1_agreement(before, ids_after, labels))
    for k in (1, 10):
        assert topk_agreement(ids_before, ids_after, mask, k).equal(topk_agreement(before, after, mask, k))


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_scores_are_in_range_and_one_for_an_untouched_model(seed: int) -> None:
    before, after, labels, mask = sample(seed)
    scores = [token_accuracy(after, labels), top1_agreement(before, after, labels)]
    scores.append(topk_agreement(before, after, mask, 10))
    assert all(((score >= 0) & (score <= 1)).all() for score in scores)
    assert (top1_agreement(before, before.clone(), labels) == 1).all()
    assert (topk_agreement(before, before.clone(), mask, 10) == 1).all()


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_destructive_edit_scores_zero_locality(seed: int) -> None:
    before, _, labels, mask = sample(seed)
    assert (top1_agreement(before, -before, labels) == 0).all()
    assert (topk_agreement(before, -before, mask, 1) == 0).all()


@given(seed=SEEDS, padding=st.integers(0, 5), k=st.sampled_from([1, 3, 10]))
@settings(max_examples=40, deadline=None)
def test_padding_changes_nothing_on_either_side(seed: int, padding: int, k: int) -> None:
    before, after, labels, _ = sample(seed)
    batch, _, vocab = before.shape
    noise = [torch.randn(batch, padding, vocab, generator=torch.Generator().manual_seed(seed + i)) for i in (1, 2)]
    on, off = torch.ones(labels.shape, dtype=torch.bool), torch.zeros(batch, padding, dtype=torch.bool)
    ignored = torch.full((batch, padding), -100)
    left = [torch.cat(pair, dim=1) for pair in zip([*noise, off, ignored], [before, after, on, labels], strict=True)]
    right = [torch.cat(pair, dim=1) for pair in zip([before, after, on, labels], [*noise, off, ignored], strict=True)]
    for padded_before, padded_after, mask, padded_labels in (left, right):
        padded = topk_agreement(padded_before, padded_after, mask, k)
        assert padded.tolist() == pytest.approx(topk_agreement(before, after, on, k).tolist())
        assert token_accuracy(padded_after, padded_labels).equal(token_accuracy(after, labels))
        assert top1_agreement(padded_before, padded_after, padded_labels).equal(top1_agreement(before, after, labels))


def test_rank_order_counts() -> None:
    before, after = torch.tensor([[[3.0, 2.0, 1.0]]]), torch.tensor([[[2.0, 3.0, 1.0]]])
    assert topk_agreement(before, after, torch.ones(1, 1), 3).tolist() == pytest.approx([1 / 3])


def test_half_precision_logits_are_scored() -> None:
    before, after, labels, _ = sample(1)
    assert token_accuracy(after.bfloat16(), labels).dtype == torch.float32
    assert (top1_agreement(before.bfloat16(), before.bfloat16(), labels) == 1).all()


def test_a_row_without_answer_is_refused() -> None:
    before, after, labels, mask = sample(2)
    labels[1] = -100
    labels[2] = -100
    labels[2, 0] = 3  # nothing precedes the first token, so nothing predicts it
    with pytest.raises(ValueError, match=r"Expected argument `labels` to be .*, but got none in rows \[1, 2\]"):
        token_accuracy(after, labels)
    with pytest.raises(ValueError, match="Expected argument `labels`"):
        top1_agreement(before, after, labels)
    mask[0] = 0
    with pytest.raises(ValueError, match="Expected argument `attention_mask`"):
        topk_agreement(before, after, mask, 1)


def test_shapes_that_do_not_match_are_refused() -> None:
    before, after, labels, mask = sample(3)
    with pytest.raises(ValueError, match="Expected argument `labels` to be of shape"):
        token_accuracy(after, labels[:, 1:])
    with pytest.raises(ValueError, match="Expected argument `after` to cover"):
        top1_agreement(before, after[:, 1:], labels)
    with pytest.raises(ValueError, match="Expected argument `attention_mask` to be of shape"):
        topk_agreement(before, after, mask[:2], 1)
    with pytest.raises(ValueError, match="Expected argument `before` to be logits or integer ids"):
        topk_agreement(topk_ids(before, 1), topk_ids(after, 10), mask, 10)
    with pytest.raises(ValueError, match="Expected argument `k` to be from 1 to 12"):
        topk_ids(before, 13)
    with pytest.raises(ValueError, match="Expected argument `logits`"):
        topk_ids(labels, 1)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (" Paris. ", "paris"),
        ("\u201cNew\u00a0 York\u201d!", "new york"),
        ("STRASSE", "stra\u00dfe".casefold()),
        ("\uff11\uff12", "12"),
        ("(5%)", "5%"),
        ("-5", "-5"),
        ("a.b", "a.b"),
        ("?", "?"),
        ("  ", ""),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


@given(text=st.text())
@settings(max_examples=300, deadline=None)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once
    assert exact_match(f"  {text}\n", text) == 1.0


def test_exact_match_tells_answers_apart() -> None:
    assert exact_match("Ada  LOVELACE.", "ada lovelace") == 1.0
    assert exact_match("Ada", "Ada Lovelace") == 0.0
    assert exact_match("?", "") == 0.0
    words = ["".join(random.Random(seed).choices("abcdef", k=6)) for seed in range(20)]
    assert [[exact_match(a, b) for b in words] for a in words] == [[float(a == b) for b in words] for a in words]
