"""The torchmetrics classes: alone and over two gloo processes, against plain loops."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ldke_pl.metrics.classes import ExactMatch, RouterCounts, TokenAccuracy, Top1Agreement, TopKAgreement

Checker = Callable[..., None]


def batches_of(seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Five batches of unequal size: logits before and after, and labels without padding."""
    rng = torch.Generator().manual_seed(seed)
    out = []
    for batch in (1, 4, 2, 3, 1):
        before = torch.randn(batch, 6, 11, generator=rng)
        after = before + 0.5 * torch.randn(batch, 6, 11, generator=rng)
        labels = after.argmax(dim=-1).roll(1, dims=1)
        labels[:, 3] = (labels[:, 3] + torch.randint(0, 2, (batch,), generator=rng)) % 11
        labels[:, :2] = -100
        out.append((before, after, labels))
    return out


def mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def best(scores: list[float], k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:k]


def test_exact_match(check_metric: Checker) -> None:
    batches = [(["Paris.", "b"], ["paris", "c"]), (["x"], ["x"]), (["x"], ["y"]), ([], []), (["z", "z"], ["z", "q"])]
    check_metric(ExactMatch, batches, 3 / 6)


def test_token_accuracy(check_metric: Checker) -> None:
    batches = [(after, labels) for _, after, labels in batches_of(0)]
    rows = [row for after, labels in batches for row in zip(after.tolist(), labels.tolist(), strict=True)]
    expected = mean([mean([best(logits[t - 1], 1)[0] == answer[t] for t in range(2, 6)]) for logits, answer in rows])
    assert 0 < expected < 1
    check_metric(TokenAccuracy, batches, expected)


def test_top1_agreement(check_metric: Checker) -> None:
    batches = batches_of(1)
    rows = [row for before, after, _ in batches for row in zip(before.tolist(), after.tolist(), strict=True)]
    expected = mean([mean([best(a[t - 1], 1) == best(b[t - 1], 1) for t in range(2, 6)]) for a, b in rows])
    assert 0 < expected < 1
    check_metric(Top1Agreement, batches, expected)


@pytest.mark.parametrize("k", [1, 10])
def test_topk_agreement(check_metric: Checker, k: int) -> None:
    batches = [(before, after, torch.ones(labels.shape)) for before, after, labels in batches_of(2)]
    rows = [row for before, after, _ in batches for row in zip(before.tolist(), after.tolist(), strict=True)]
    expected = mean([best(a[t], k)[r] == best(b[t], k)[r] for a, b in rows for t in range(6) for r in range(k)])
    assert 0 < expected < 1
    check_metric(lambda: TopKAgreement(k), batches, expected)


def naive_router(queries: list[tuple[bool, bool, bool]]) -> dict[str, float]:
    relevant = [query for query in queries if query[0]]
    irrelevant = [query for query in queries if not query[0]]
    strays = sum(elsewhere for _, _, elsewhere in relevant)
    alarms = sum(here or elsewhere for _, here, elsewhere in irrelevant)
    return {
        "tpr": sum(here for _, here, _ in relevant) / len(relevant),
        "fpr": alarms / len(irrelevant),
        "misroute": strays / len(relevant),
        "misroute_all": (strays + alarms) / len(queries),
    }


def test_router_counts(check_metric: Checker) -> None:
    rng = torch.Generator().manual_seed(3)
    batches: list[tuple[Any, ...]] = []
    for size in (5, 9, 2, 7, 30):
        relevant = torch.rand(size, generator=rng) < 0.5
        route = torch.randint(0, 3, (size,), generator=rng)
        batches.append((relevant, route == 1, route == 2))
    queries = [query for batch in batches for query in zip(*(flags.tolist() for flags in batch), strict=True)]
    check_metric(RouterCounts, batches, naive_router(queries))


def test_a_rate_without_queries_is_nan(check_metric: Checker) -> None:
    relevant, here, elsewhere = torch.tensor([True, True]), torch.tensor([True, False]), torch.tensor([False, False])
    expected = {"tpr": 0.5, "fpr": float("nan"), "misroute": 0.0, "misroute_all": 0.0}
    check_metric(RouterCounts, [(relevant, here, elsewhere)] * 3, expected)


def test_wrong_arguments_are_refused() -> None:
    yes, no = torch.tensor([True]), torch.tensor([False])
    with pytest.raises(ValueError, match="Expected argument `routed_elsewhere` to be false"):
        RouterCounts().update(yes, yes, yes)
    with pytest.raises(ValueError, match="Expected argument `routed_here` to be bool"):
        RouterCounts().update(yes, yes.long(), no)
    with pytest.raises(ValueError, match="Expected argument `routed_elsewhere` to be bool"):
        RouterCounts().update(yes, yes, torch.tensor([False, False]))
    with pytest.raises(ValueError, match="Expected argument `k` to be at least 1"):
        TopKAgreement(0)
    for targets in (["a", "b"], "a"):
        with pytest.raises(ValueError, match="Expected argument `targets`"):
            ExactMatch().update(["a"], targets)
