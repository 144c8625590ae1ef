"""Clustered intervals and paired tests, against plain loops and by their properties."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldke_pl.metrics.statistics import (
    _draws,
    average_bootstrap,
    cluster_bootstrap,
    paired_difference,
    ratio_bootstrap,
)

SCORE = st.floats(0, 1)
NAME = st.sampled_from("abcdef")
ROWS = st.lists(st.tuples(SCORE, NAME, st.sampled_from(["k1", "k2", "k3"])), min_size=1, max_size=30)


def naive_interval(values: list[float], clusters: list[str], resamples: int) -> tuple[float, float]:
    """95% percentile interval of the mean, by plain loops."""
    rng, names, means = random.Random(1), sorted(set(clusters)), []
    for _ in range(resamples):
        picked = rng.choices(names, k=len(names))
        drawn = [v for name in picked for v, c in zip(values, clusters, strict=True) if c == name]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def unequal_clusters(seed: int, clusters: int = 12) -> tuple[list[float], list[str]]:
    rng = random.Random(seed)
    names = [f"e{index}" for index in range(clusters) for _ in range(rng.randint(1, 5))]
    return [rng.random() ** 2 + int(name[1:]) / 20 for name in names], names


@pytest.mark.parametrize("seed", range(3))
def test_interval_equals_plain_loops(seed: int) -> None:
    values, clusters = unequal_clusters(seed)
    interval = cluster_bootstrap(values, clusters, resamples=4000)
    assert interval.value == pytest.approx(sum(values) / len(values))
    assert interval.n == len(values)
    assert (interval.lo, interval.hi) == pytest.approx(naive_interval(values, clusters, 4000), abs=0.02)
    assert interval.hi - interval.lo > 0.1


def test_rows_repeated_within_their_cluster_add_no_certainty() -> None:
    values, clusters = [0.0, 1.0, 1.0, 0.0, 1.0], list("abcde")
    once, often = cluster_bootstrap(values, clusters), cluster_bootstrap(values * 50, clusters * 50)
    assert (often.lo, often.hi) == pytest.approx((once.lo, once.hi))
    assert often.n == 250
    independent = cluster_bootstrap(values * 50, [str(index) for index in range(250)])
    assert independent.hi - independent.lo < 0.3 * (once.hi - once.lo)


def test_many_clusters_give_the_classical_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=30_000)
    interval = cluster_bootstrap(values, [str(index) for index in range(30_000)], resamples=300)
    # The classical interval of a mean is 2 * 1.96 / sqrt(n) wide.
    assert interval.hi - interval.lo == pytest.approx(2 * 1.96 / 30_000**0.5, rel=0.2)


def test_as_many_resamples_are_drawn_as_asked() -> None:
    """With 1500 clusters a block holds 1398 resamples, so that the second block is cut short."""
    draws = np.concatenate(list(_draws(1500, 1500, np.random.default_rng(0))))
    assert draws.shape == (1500, 1500)
    assert (draws.sum(axis=1) == 1500).all()


@pytest.mark.parametrize("seed", range(8))
def test_an_interval_that_would_miss_its_value_is_widened(seed: int) -> None:
    interval = cluster_bootstrap([0.0, 1.0], ["a", "b"], resamples=1, seed=seed)
    assert interval.lo <= 0.5 <= interval.hi


def test_average_weighs_kinds_equally() -> None:
    values, kinds = [1.0] * 9 + [0.0], ["many"] * 9 + ["one"]
    average = average_bootstrap(values, kinds, [str(index % 3) for index in range(10)])
    assert average.value == 0.5
    assert average.n == 10


def test_a_kind_missing_from_a_resample_is_left_out_of_it() -> None:
    average = average_bootstrap([1.0, 0.0], ["k1", "k2"], ["a", "b"])
    assert (average.lo, average.value, average.hi) == (0.0, 0.5, 1.0)
    shared = average_bootstrap([1.0, 0.0], ["k1", "k2"], ["a", "a"])
    assert (shared.lo, shared.value, shared.hi) == (0.5, 0.5, 0.5)


def test_ratio_of_means() -> None:
    ratio = ratio_bootstrap([0.4, 0.4, 0.0], [0.8, 0.8, 0.0], ["a", "b", "c"])
    assert (ratio.lo, ratio.value, ratio.hi) == pytest.approx((0.5, 0.5, 0.5))
    spread = ratio_bootstrap([1.0, 0.0], [1.0, 1.0], ["a", "b"])
    assert (spread.lo, spread.value, spread.hi) == (0.0, 0.5, 1.0)
    assert ratio_bootstrap([1.0] + [0.0] * 9, [1.0] + [0.0] * 9, list("abcdefghij"), resamples=1).value == 1.0


@given(rows=ROWS, order=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_intervals_hold_their_value_and_ignore_the_order_of_rows(
    rows: list[tuple[float, str, str]], order: random.Random
) -> None:
    shuffled = order.sample(rows, len(rows))
    first, second = (
        [
            cluster_bootstrap([v for v, _, _ in part], [c for _, c, _ in part], resamples=50),
            average_bootstrap([v for v, _, _ in part], [k for _, _, k in part], [c for _, c, _ in part], resamples=50),
        ]
        for part in (rows, shuffled)
    )
    for interval, again in zip(first, second, strict=True):
        assert -1e-12 <= interval.lo <= interval.value <= interval.hi <= 1 + 1e-12
        assert (again.value, again.lo, again.hi) == pytest.approx((interval.value, interval.lo, interval.hi))
        assert again.n == len(rows)


def naive_p_value(shares: list[float]) -> float:
    """Exact two-sided sign-flip p-value over all arrangements."""
    observed = abs(sum(shares)) - 1e-12
    flips = list(itertools.product([1, -1], repeat=len(shares)))
    return sum(abs(sum(s * f for s, f in zip(shares, flip, strict=True))) >= observed for flip in flips) / len(flips)


@pytest.mark.parametrize("seed", range(4))
def test_p_value_equals_all_sign_flips(seed: int) -> None:
    values, clusters = unequal_clusters(seed, clusters=9)
    other = [0.3 + 0.05 * seed] * len(values)
    totals = {name: 0.0 for name in clusters}
    for a, b, name in zip(values, other, clusters, strict=True):
        totals[name] += a - b
    test = paired_difference(values, other, clusters, resamples=20_000)
    assert test.p_value == pytest.approx(naive_p_value(list(totals.values())), abs=0.01)
    assert test.difference == pytest.approx(np.mean(values) - other[0])


def test_ties_between_arrangements_survive_rounding() -> None:
    shares = [0.6, -0.8, -0.6, -0.5, -0.6, 0.6, 0.7, 0.2]  # a tenth of the arrangements tie up to the last bit
    test = paired_difference(shares, [0.0] * 8, list("abcdefgh"), resamples=20_000)
    assert test.p_value == pytest.approx(naive_p_value(shares), abs=0.01)


def test_differences_count_by_cluster_not_by_row() -> None:
    a, b = [1.0] * 200, [0.0] * 200
    assert paired_difference(a, b, [str(index) for index in range(200)]).p_value == pytest.approx(1 / 1001)
    assert paired_difference(a, b, ["one"] * 200).p_value == 1.0
    same = paired_difference(a, a, [str(index) for index in range(200)])
    assert (same.difference, same.lo, same.hi, same.p_value, same.n) == (0.0, 0.0, 0.0, 1.0, 200)


def test_false_alarms_come_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(5)
    clusters = [f"e{index // 4}" for index in range(80)]
    shared = rng.normal(size=(200, 20)).repeat(4, axis=1)
    p_values = [paired_difference(noise, np.zeros(80), clusters, resamples=200).p_value for noise in shared]
    assert np.mean(np.array(p_values) <= 0.05) < 0.10


def test_paired_average_is_the_difference_of_averages() -> None:
    rng = np.random.default_rng(2)
    a, b, kinds, clusters = rng.random(40), rng.random(40), ["k"] * 30 + ["m"] * 10, [f"e{i % 8}" for i in range(40)]
    test = paired_difference(a, b, clusters, kinds=kinds)
    difference = average_bootstrap(a, kinds, clusters).value - average_bootstrap(b, kinds, clusters).value
    assert test.difference == pytest.approx(difference)
    assert test.lo <= test.difference <= test.hi


@given(rows=st.lists(st.tuples(SCORE, SCORE, NAME), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_swapping_sides_swaps_the_sign(rows: list[tuple[float, float, str]]) -> None:
    a, b, clusters = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    one, two = paired_difference(a, b, clusters, resamples=50), paired_difference(b, a, clusters, resamples=50)
    assert two.difference == pytest.approx(-one.difference)
    assert (two.lo, two.hi) == pytest.approx((-one.hi, -one.lo))
    assert two.p_value == one.p_value
    assert 1 / 51 <= one.p_value <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cluster_bootstrap([], []), "1 or more finite numbers"),
        (lambda: cluster_bootstrap([float("nan")], ["a"]), "with 1 not finite"),
        (lambda: cluster_bootstrap([1.0], ["a", "b"]), r"as many as clusters \(2\)"),
        (lambda: cluster_bootstrap([1.0], ["a"], resamples=0), "`resamples` to be at least 1"),
        (lambda: cluster_bootstrap([1.0], ["a"], level=95), r"`level` in \(0, 1\)"),
        (lambda: average_bootstrap([], [], []), "1 or more finite numbers"),
        (lambda: average_bootstrap([1.0], ["a", "b"], ["a"]), "`kinds` to have 1 names"),
        (lambda: paired_difference([1.0], [1.0, 2.0], ["a"]), "`b` to be"),
        (lambda: ratio_bootstrap([1.0], [0.0], ["a"]), "`denominators` to be at least 0 and positive"),
        (lambda: ratio_bootstrap([1.0, 1.0], [1.0, -1.0], ["a", "b"]), "`denominators`"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
