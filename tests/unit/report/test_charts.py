"""What is drawn: scores of sites edit by edit, and what the router found."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.charts import BINS, HALF, SHADES, heat_map, router_charts

MakeRow = Callable[..., ProbeResult]


def found(*edits: tuple[str, str, list[float | None]]) -> dict[str, Any]:
    """What a run leaves, of (group, chosen site, scores of the sites a and b)."""
    kept = [
        {"case_id": f"c{n}", "group": group, "chosen": [site], "scores": scores}
        for n, (group, site, scores) in enumerate(edits)
    ]
    return {"localizer": "fixed", "score": "cosine", "sites": ["a", "b"], "edits": kept}


def test_an_edit_is_a_column_and_its_group_stands_together() -> None:
    chart = heat_map(found(("x", "a", [1.0, 0.0]), ("y", "b", [0.2, 0.4]), ("x", "a", [3.0, 2.0])))
    assert chart is not None
    first, second = chart.lines
    assert (chart.groups, chart.count, chart.width) == ({"x": 2, "y": 1}, 3, 4)
    assert first.shades == ("M3 0h1v1h-1z", "", "", "", "M0 0h2v1h-2z")
    assert second.shades == ("M0 0h2v1h-2z", "", "", "", "M3 0h1v1h-1z")
    assert (first.chosen, second.chosen) == ("M0 0.35h2v0.3h-2z", "M3 0.35h1v0.3h-1z")
    assert (first.mean, first.first, first.written) == (pytest.approx(1.4), 2, 2)
    assert (second.mean, second.first, second.written) == (pytest.approx(0.8), 1, 1)


def test_a_site_that_an_edit_cannot_be_written_at_is_blank() -> None:
    chart = heat_map(found(("", "b", [None, 0.3])))
    assert chart is not None
    assert chart.lines[0].shades == ("",) * SHADES and chart.lines[0].mean is None
    assert chart.lines[1].first == 1
    assert chart.groups == {"edits": 1}


def test_without_scores_there_is_the_choice() -> None:
    chart = heat_map(found(("", "a", []), ("", "a", [])) | {"score": ""})
    assert chart is not None
    assert [line.written for line in chart.lines] == [2, 0]
    assert not any(path for line in chart.lines for path in line.shades)


def test_a_thousand_edits_take_no_more_paths_than_one() -> None:
    chart = heat_map(found(*[("", "a", [n % 7 / 7, 0.5]) for n in range(1000)]))
    assert chart is not None and all(len(line.shades) == SHADES for line in chart.lines)


@pytest.mark.parametrize("nothing", [None, {"edits": []}])
def test_nothing_to_draw(nothing: dict[str, Any] | None, make_row: MakeRow) -> None:
    assert heat_map(nothing) is None
    assert router_charts([make_row(), make_row(relevance=float("nan"), threshold=0.5)]) == []


def bars(path: str) -> dict[int, float]:
    """Bin to height."""
    return {int(x) // (400 // BINS): float(h) for x, h in re.findall(rf"M(\d+) {HALF}v(-?[\d.]+)", path)}


def test_relevant_queries_go_up_and_others_down(make_row: MakeRow) -> None:
    rows = [make_row(relevance=value, threshold=0.5) for value in (1.0, 1.0, 1.0, 0.49)]
    rows += [make_row(relevance=value, threshold=0.5, relevant=False) for value in (0.0, 0.5)]
    (chart,) = router_charts(rows)
    assert (chart.threshold, chart.methods, chart.mode) == (0.5, ("ldke",), "single")
    assert (chart.relevant.n, chart.relevant.reached) == (4, 3)
    assert (chart.irrelevant.n, chart.irrelevant.reached) == (2, 1)
    assert bars(chart.relevant.bars) == {BINS - 1: -60, 19: -30}  # three, and one: half their logarithm
    assert bars(chart.irrelevant.bars) == {0: 30, 20: 30}


def test_methods_that_share_a_router_share_a_chart(make_row: MakeRow) -> None:
    rows = [
        make_row(method=method, mode=mode, protocol=protocol, relevance=value, threshold=0.5)
        for method, value in (("ldke", 0.9), ("lora", 0.9), ("serac", 0.6))
        for mode in ("joint", "single")
        for protocol in ("generate", "masked")
    ]
    assert [(chart.methods, chart.mode, chart.relevant.n) for chart in router_charts(rows)] == [
        (("ldke", "lora"), "single", 1), (("serac",), "single", 1),
        (("ldke", "lora"), "joint", 1), (("serac",), "joint", 1),
    ]  # fmt: skip
