"""Regret, hits and paired differences of localizers: by hand on small truths, and against enumeration."""

from itertools import combinations

import numpy as np
import pytest

from ldke_pl.metrics.localizers import HIT, best, figures, of_chance, of_quality, of_ranking

NAN = float("nan")
TRUTH = [[0.9, 0.5, 0.897, 0.1], [NAN, 0.4, 0.6, 0.2]]
"""Two edits at four sites; the second is text only, and cannot be made at the first site."""


def test_the_best_is_among_the_sites_where_the_edit_can_be_made() -> None:
    assert best(TRUTH).tolist() == [0.9, 0.6]


def test_a_near_tie_is_a_hit_and_regret_is_what_was_lost() -> None:
    choice = of_ranking(TRUTH, [[2, 3, 1, 0], [3, 1, 2]])
    assert choice.quality.tolist() == [0.897, 0.2]
    assert choice.hit.tolist() == [1, 0]
    assert choice.best_of_top is not None and choice.best_of_top.tolist() == [0.897, 0.6]


def test_the_limit_of_a_hit_belongs_to_it() -> None:
    qualities = [0.7 - HIT, 0.7 - HIT - 1e-6]
    assert [of_ranking([[0.7, q]], [[1]]).hit[0] for q in qualities] == [1, 0]


def test_a_localizer_of_one_site_has_no_best_of_three() -> None:
    assert of_ranking(TRUTH, [[0], [1]]).best_of_top is None


def test_a_choice_that_cannot_be_made_is_not_judged() -> None:
    choice = of_ranking(TRUTH, [[0, 1], [0, 1]])
    assert np.isnan([choice.quality[1], choice.hit[1]]).all()
    assert choice.best_of_top is not None and choice.best_of_top[1] == 0.4


@pytest.mark.parametrize("sites", [1, 2, 3, 5, 7])
def test_chance_is_the_mean_over_all_draws(sites: int) -> None:
    row = np.random.default_rng(sites).random(sites).round(2)
    choice = of_chance([[*row, NAN]])
    drawn = [max(draw) for draw in combinations(row, min(3, sites))]
    assert choice.quality[0] == pytest.approx(row.mean())
    assert choice.hit[0] == pytest.approx((row >= row.max() - HIT).mean())
    assert choice.best_of_top is not None and choice.best_of_top[0] == pytest.approx(np.mean(drawn))


def test_figures_are_apart_by_kind_and_leave_out_what_cannot_be_made() -> None:
    truth = [[0.5, 1.0], [1.0, 0.8], [NAN, 0.6]]
    choices = {"first": of_ranking(truth, [[0]] * 3), "both": of_quality(truth, [1.0, 0.9, 0.7])}
    found = figures(choices, truth, ["a", "b", "b"], ["x", "y", "z"], ["first"], {"resamples": 50, "seed": 0})
    assert list(found) == ["all", "a", "b"]
    first, both = found["all"]["first"], found["all"]["both"]
    assert (first["quality"]["n"], first["quality"]["value"], first["regret_1"]["value"]) == (2, 0.75, 0.25)
    assert first["hit_rate"]["value"] == 0.5 and "regret_3" not in first and first["minus"] == {}
    assert both["quality"]["n"] == 3
    assert both["minus"]["first"]["n"] == 2
    assert both["minus"]["first"]["difference"] == pytest.approx(0.2)
    assert found["b"]["both"]["regret_1"]["value"] == pytest.approx(0.0)  # more than any one site gave, once
    assert found["a"]["first"]["regret_1"]["value"] == 0.5


def test_edits_without_a_kind_are_only_among_all() -> None:
    choices = {"first": of_ranking(TRUTH, [[1], [1]])}
    assert list(figures(choices, TRUTH, ["", ""], ["x", "y"], [], {"resamples": 5, "seed": 0})) == ["all"]
