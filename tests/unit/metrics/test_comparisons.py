"""Paired tests between runs, and portability relative to its ceiling."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from ldke_pl.metrics.comparisons import compare, share_of_ceiling
from ldke_pl.metrics.results import ProbeResult

MakeRow = Callable[..., ProbeResult]


def sample(make_row: MakeRow, score: Callable[[int, str], float], method: str) -> list[ProbeResult]:
    kinds = ("reliability", "image_locality", "image_locality", "portability_3")
    return [
        make_row(method=method, case_id=f"c{case}", entity=f"e{case}", kind=kind, image=f"{index}.png",
                 score=score(case, kind))
        for case in range(30)
        for index, kind in enumerate(kinds)
    ]  # fmt: skip


def test_differences_by_kind_and_on_average(make_row: MakeRow) -> None:
    better = sample(make_row, lambda case, kind: float(kind != "image_locality" or case % 3 > 0), "ldke")
    worse = sample(make_row, lambda case, kind: float(kind == "image_locality" and case % 3 > 0), "ft_l")
    tests = compare(better, worse, resamples=200)
    assert list(tests) == ["reliability", "image_locality", "portability_3", "average"]
    assert [tests[name].difference for name in tests] == pytest.approx([1.0, 0.0, 1.0, 0.5])
    assert [tests[name].n for name in tests] == [30, 60, 30, 90]
    assert tests["reliability"].p_value == pytest.approx(1 / 201)
    assert tests["image_locality"].p_value == 1.0


def test_only_shared_probes_are_compared_in_any_order(make_row: MakeRow) -> None:
    rng = random.Random(3)
    first = sample(make_row, lambda case, kind: rng.random(), "ldke")
    second = sample(make_row, lambda case, kind: rng.random(), "ft_l")
    shared = compare(first[:80], second[40:], resamples=100)
    assert sum(test.n for name, test in shared.items() if name != "average") == 40
    shuffled = compare(rng.sample(first[40:80], 40), rng.sample(second[40:80], 40), resamples=100)
    for name, test in shared.items():
        assert vars(shuffled[name]) == pytest.approx(vars(test))


def test_seeds_are_matched_with_their_own(make_row: MakeRow) -> None:
    first = [make_row(case_id=f"c{case}", seed=seed, score=float(seed)) for case in range(8) for seed in range(2)]
    second = [replace(row, mode="joint") for row in reversed(first)]
    test = compare(first, second, resamples=50)["reliability"]
    assert (test.lo, test.hi, test.n) == (0.0, 0.0, 16)


def test_a_probe_asked_twice_counts_once(make_row: MakeRow) -> None:
    first = [make_row(score=1.0), make_row(score=0.0)]
    test = compare(first, [make_row(score=0.25)], resamples=20)["reliability"]
    assert (test.difference, test.n) == (0.25, 1)


def test_nothing_to_average_gives_no_average(make_row: MakeRow) -> None:
    rows = [make_row(kind="portability_2")]
    assert list(compare(rows, rows, resamples=20)) == ["portability_2"]


def test_what_cannot_be_compared_is_refused(make_row: MakeRow) -> None:
    row = make_row()
    with pytest.raises(ValueError, match="`rows_b` to share probes"):
        compare([row], [replace(row, prompt="where?")])
    with pytest.raises(ValueError, match=r"the protocol 'generate' with `rows_a`, but got .* 'vlkeb'"):
        compare([row], [replace(row, protocol="vlkeb")])
    with pytest.raises(ValueError, match="`rows_a` to hold"):
        compare([row, replace(row, method="ft_l")], [row])
    with pytest.raises(ValueError, match="`rows_b` to hold"):
        compare([row], [])


def test_share_of_ceiling_is_a_ratio_of_means(make_row: MakeRow) -> None:
    cells = [("portability_1", 0.4, 0.8), ("portability_2", 0.2, 0.4), ("portability_2", 0.9, None)]
    cells.append(("reliability", 1.0, 0.1))
    rows = [
        make_row(kind=kind, score=score, ceiling=ceiling, entity=f"e{entity}")
        for entity in range(5)
        for kind, score, ceiling in cells
    ]
    share = share_of_ceiling(rows, resamples=100)
    assert (share.lo, share.value, share.hi) == pytest.approx((0.5, 0.5, 0.5))
    assert share.n == 10
    varied = [replace(row, score=row.score * index % 2) for index, row in enumerate(rows)]
    spread = share_of_ceiling(varied, resamples=100)
    assert spread.lo < spread.value < spread.hi


def test_share_of_ceiling_needs_one(make_row: MakeRow) -> None:
    with pytest.raises(ValueError, match="Expected argument `rows`"):
        share_of_ceiling([make_row(kind="portability_1"), make_row(kind="reliability", ceiling=1.0)])
    with pytest.raises(ValueError, match="`denominators`"):
        share_of_ceiling([make_row(kind="portability_1", ceiling=0.0)])
