"""Router figures from result rows."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from ldke_pl.metrics.classes import RouterCounts
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.routing import router_summary

MakeRow = Callable[..., ProbeResult]


def queries(make_row: MakeRow, kind: str, relevant: bool, routes: str, **changes: str) -> list[ProbeResult]:
    """One row per letter: h(ere), e(lsewhere) or b(ase)."""
    names = {"h": "e0", "e": "e7", "b": "base"}
    return [make_row(kind=kind, relevant=relevant, route=names[letter], **changes) for letter in routes]


def test_rates_by_hand(make_row: MakeRow) -> None:
    rows = queries(make_row, "reliability", True, "hhhe") + queries(make_row, "portability_1", True, "hbbe")
    rows += queries(make_row, "text_locality", False, "bbbbbhe") + queries(make_row, "image_locality", False, "bbb")
    router = router_summary(rows, resamples=50)
    assert (router["n_relevant"], router["n_irrelevant"]) == (8, 10)
    assert (router["tpr"], router["fpr"], router["misroute"]) == (4 / 8, 2 / 10, 2 / 8)
    assert router["misroute_all"] == pytest.approx((2 + 2) / 18)
    assert list(router["by_kind"]) == ["reliability", "text_locality", "image_locality", "portability_1"]
    assert router["by_kind"]["reliability"]["tpr"] == 3 / 4
    assert router["by_kind"]["text_locality"]["fpr"] == pytest.approx(2 / 7)
    assert router["by_kind"]["image_locality"]["fpr"] == 0.0
    assert router["intervals"]["tpr"]["n"] == 8


def test_a_rate_without_queries_is_absent(make_row: MakeRow) -> None:
    rates = router_summary(queries(make_row, "reliability", True, "hb"), resamples=20)
    assert "fpr" not in rates
    assert "fpr" not in rates["intervals"]
    locality = router_summary(queries(make_row, "text_locality", False, "hb"), resamples=20)
    assert (locality["fpr"], locality["misroute_all"]) == (0.5, 0.5)
    assert {"tpr", "misroute"} & locality.keys() == set()


def test_rows_and_running_counts_agree(make_row: MakeRow) -> None:
    rng = random.Random(4)
    rows = [make_row(relevant=rng.random() < 0.5, route=rng.choice(["base", "e0", "e1", "e2"])) for _ in range(60)]
    counts = RouterCounts()
    counts.update(
        torch.tensor([row.relevant for row in rows]),
        torch.tensor([row.route == "e0" for row in rows]),
        torch.tensor([row.route in ("e1", "e2") for row in rows]),
    )
    router = router_summary(rows, resamples=20)
    expected = {name: float(value) for name, value in counts.compute().items()}
    assert {name: router["intervals"][name]["value"] for name in expected} == pytest.approx(expected)


def test_groups_and_held_out_relations_are_reported_apart(make_row: MakeRow) -> None:
    rows = queries(make_row, "reliability", True, "hh", group="entity", relation="name", edit_relation="name")
    rows += queries(make_row, "reliability", True, "hb", group="attribute", relation="river", edit_relation="capital")
    rows += queries(make_row, "reliability", True, "bb", group="attribute", relation="capital", edit_relation="river")
    router = router_summary(rows, {"river"}, resamples=20)
    assert {name: rates["tpr"] for name, rates in router["by_group"].items()} == {"attribute": 0.25, "entity": 1.0}
    assert (router["held_out_relations"]["n_relevant"], router["held_out_relations"]["tpr"]) == (4, 0.25)
    assert (router["trained_relations"]["n_relevant"], router["trained_relations"]["tpr"]) == (2, 1.0)
    assert router["held_out_relations"]["by_kind"]["reliability"]["tpr"] == 0.25
    assert "held_out_relations" not in router_summary(rows, resamples=20)


def test_a_side_without_queries_holds_zero_counts(make_row: MakeRow) -> None:
    router = router_summary(queries(make_row, "reliability", True, "h", relation="name"), {"river"}, resamples=20)
    empty = {"n_relevant": 0, "n_irrelevant": 0, "intervals": {}, "by_kind": {}}
    assert router["held_out_relations"] == empty


def test_intervals_are_clustered_by_entity(make_row: MakeRow) -> None:
    rows = queries(make_row, "reliability", True, "h" * 30, entity="x") + queries(
        make_row, "reliability", True, "b" * 30, entity="y"
    )
    assert router_summary(rows)["intervals"]["tpr"] == {"value": 0.5, "n": 60, "lo": 0.0, "hi": 1.0}


def test_rows_without_an_edit_are_passed_over(make_row: MakeRow) -> None:
    rows = queries(make_row, "reliability", True, "hb")
    unedited = [replace(row, edit_id="base", route="base") for row in rows]
    assert router_summary([*rows, *unedited], resamples=20) == router_summary(rows, resamples=20)
    with pytest.raises(ValueError, match="Expected argument `rows`"):
        router_summary(unedited)


def test_runs_are_not_pooled(make_row: MakeRow) -> None:
    with pytest.raises(ValueError, match="one method, mode and protocol"):
        router_summary([make_row(mode="single"), make_row(mode="joint")])
