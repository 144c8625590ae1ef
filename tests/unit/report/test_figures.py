"""What is picked from ``metrics.json``, and how numbers are written."""

from typing import Any

import pytest

from ldke_pl.metrics.grouping import IntervalDict
from ldke_pl.report.figures import (
    bounds,
    cost_lines,
    headline,
    headlines,
    percent,
    router_blocks,
    seconds,
    size,
    spread,
)


def test_numbers() -> None:
    entry: IntervalDict = {"value": 0.982, "n": 60, "lo": 0.95, "hi": 0.989}
    assert percent(entry["value"]) == "98.2"
    assert spread(entry) == "±3.2"
    assert [seconds(value) for value in (61.26, 0.02134, 0.0009)] == ["61.3 s", "0.0213 s", "< 0.001 s"]
    assert bounds(entry) == "95.0\N{EN DASH}98.9"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (18432, "18.0 KiB"), (1048576, "1.0 MiB"), (5 * 2**30, "5.0 GiB")],
)
def test_sizes(count: float, shown: str) -> None:
    assert size(count) == shown


def test_tables_come_headline_first(metrics: dict[str, Any]) -> None:
    metrics["methods"]["ldke"]["joint"] = {"protocol": {"generate": metrics_of("zebra", "all")}}
    found = [(table.protocol, table.mode, table.group) for table in headlines(metrics)]
    assert found == [
        ("generate", "single", "all"), ("generate", "single", "entity"),
        ("generate", "joint", "all"), ("generate", "joint", "zebra"),
        ("masked", "single", "all"), ("masked", "single", "entity"),
    ]  # fmt: skip


def metrics_of(*groups: str) -> dict[str, Any]:
    return {group: {"reliability": {"value": 1.0, "n": 1, "lo": 1.0, "hi": 1.0}} for group in groups}


def test_columns_are_in_the_order_of_the_kinds(metrics: dict[str, Any]) -> None:
    assert headline(metrics, mode="single").kinds == ("reliability", "text_locality", "portability_1", "average")


def test_the_ceiling_does_not_count(metrics: dict[str, Any]) -> None:
    table = headline(metrics, mode="single")
    assert [table.count(kind) for kind in table.kinds] == ["60", "58-60", "60", "118-180"]


def test_router_blocks(metrics: dict[str, Any]) -> None:
    whole, held_out = router_blocks(metrics)
    assert (whole.place, whole.part, held_out.part) == ("single, 300 keys", "", "held-out relations")
    assert whole.rates["misroute"] == {"all": 0.022, "reliability": 0.013}
    assert held_out.rates == {"tpr": {"all": 0.791}, "fpr": {}, "misroute": {}}


def test_costs_of_a_mode_go_before_those_of_the_method(metrics: dict[str, Any]) -> None:
    ldke = metrics["methods"]["ldke"]
    ldke.update(seconds_per_edit=2.0, joint={}, bytes_per_edit=7)
    single, joint = cost_lines(metrics)
    assert single.costs == {"seconds_per_edit": 0.61, "seconds_localize": 0.0213, "bytes_per_edit": 18432}
    assert joint.costs == {"seconds_per_edit": 2.0, "bytes_per_edit": 7}
