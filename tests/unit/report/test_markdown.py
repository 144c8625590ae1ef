"""The Markdown tables: figures come out as they went in, and what a routed method gets besides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.markdown import markdown_tables, paired_tables


def test_only_routed_methods_have_a_column_without_router(metrics: dict[str, Any]) -> None:
    text = markdown_tables(metrics)
    assert "| reliability | 98.2 (97.5 to 98.9, n 60) | 99.0 (98.0 to 100.0, n 60) |" in text
    assert "ldke, unrouted" in text
    assert "no_edit, unrouted" not in text
    assert "| all relations | 97.0 | 4.1 | 2.2 |" in text


def test_joint_is_set_against_single_probe_by_probe(make_row: Callable[..., ProbeResult]) -> None:
    single = [make_row(kind="portability_1", ceiling=1.0, case_id=f"c{i}", entity=f"x{i}") for i in range(8)]
    joint = [replace(row, mode="joint", score=float(i > 3), route="base") for i, row in enumerate(single)]
    text = paired_tables(single + joint)
    assert "| portability_1 | -50.0 |" in text
    assert "- all: 100.0 (100.0 to 100.0, n 8)" in text


def test_methods_that_go_everywhere_have_no_paired_table(make_row: Callable[..., ProbeResult]) -> None:
    assert paired_tables([make_row(kind="portability_1", ceiling=1.0)]) == ""
