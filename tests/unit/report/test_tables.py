"""Terminal tables: the right numbers in the right order, at every width."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from ldke_pl.data.records import ProbeKind
from ldke_pl.report.tables import cost_table, headline_table, print_report, router_table


def text(table: Table, width: int = 100) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def report(metrics: dict[str, Any], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        print_report(metrics, console)
    return captured.get()


def test_headline_on_a_narrow_terminal(metrics: dict[str, Any]) -> None:
    assert text(headline_table(metrics, mode="single", width=60), 60) == [
        "single · all · generate",
        "method            Rel  T-Loc  Port1   Avg",
        "─────────────────────────────────────────",
        "no_edit (floor)   0.0  100.0    5.0  35.0",
        "                 ±0.0   ±0.0   ±5.0  ±2.0",
        "ceiling             -      -   90.0     -",
        "                              ±10.0",
        "",
        "ldke             98.2  100.0      -  99.1",
        "                 ±0.7   ±3.8         ±1.1",
        "  unrouted       99.0   12.5      -     -",
        "                 ±1.0   ±7.5",
        "",
        "n                  60    58-     60  118-",
        "                          60          180",
    ]


def test_headline_on_a_wide_terminal(metrics: dict[str, Any]) -> None:
    lines = text(headline_table(metrics, mode="single", width=160), 160)
    assert lines[6].split() == ["ldke", "98.2", "±0.7", "100.0", "±3.8", "-", "99.1", "±1.1"]


def test_floor_comes_first_and_unrouted_is_dim(metrics: dict[str, Any]) -> None:
    table = headline_table(metrics, mode="single")
    labels = [str(cell) for cell in table.columns[0].cells]
    assert labels == ["no_edit (floor)", "ceiling", "ldke", "  unrouted", "n"]
    assert [str(row.style) for row in table.rows] == ["italic", "italic dim", "bold", "dim", "dim"]


def test_unrouted_and_ceiling_belong_to_generated_answers(metrics: dict[str, Any]) -> None:
    table = headline_table(metrics, mode="single", protocol="masked")
    assert [str(cell) for cell in table.columns[0].cells] == ["ldke", "n"]


def test_nothing_to_show_is_no_rows(metrics: dict[str, Any]) -> None:
    assert headline_table(metrics, mode="joint").row_count == 0
    assert headline_table(metrics, mode="single", group="nobody").row_count == 0


def test_every_kind_has_a_column(metrics: dict[str, Any]) -> None:
    full = {kind.value: {"value": 0.5, "n": 4, "lo": 0.25, "hi": 0.75} for kind in ProbeKind}
    metrics["methods"]["ldke"]["single"]["protocol"]["generate"]["all"] = full
    headings = [str(column.header) for column in headline_table(metrics, mode="single").columns]
    assert len(headings) == len(set(headings)) == 1 + len(ProbeKind) + 1
    assert all(len(heading) <= 6 for heading in headings)
    for kind in ProbeKind:
        assert kind.value.replace("_", " ") in " ".join(report(metrics, 100).split())


def test_router_table(metrics: dict[str, Any]) -> None:
    assert text(router_table(metrics)) == [
        "router · per query against the whole index",
        "method             rate      All  Rel T-Loc",
        "───────────────────────────────────────────",
        "ldke               tpr      97.0 98.1     -",
        "single, 300 keys   fpr       4.1    -   4.1",
        "                   misroute  2.2  1.3     -",
        "",
        "ldke               tpr      79.1    -     -",
        "single, 300 keys   fpr         -    -     -",
        "held-out relations misroute    -    -     -",
    ]


def test_cost_table(metrics: dict[str, Any]) -> None:
    assert text(cost_table(metrics))[3].split() == ["ldke", "single", "0.61", "s", "0.0213", "s", "18.0", "KiB"]
    del metrics["methods"]["ldke"]["single"]["bytes_per_edit"]
    assert text(cost_table(metrics))[3].split()[-1] == "-"


@pytest.mark.parametrize("width", [60, 100, 160])
def test_report_keeps_every_figure_at_every_width(metrics: dict[str, Any], width: int) -> None:
    full = {kind.value: {"value": n / 16, "n": 4, "lo": 0.0, "hi": 1.0} for n, kind in enumerate(ProbeKind)}
    metrics["methods"]["ldke"]["single"]["protocol"]["generate"]["all"] = full
    shown = report(metrics, width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    words = shown.split()
    assert all(words.count(f"{100 * part['value']:.1f}") >= 1 for part in full.values())
    for needed in ("generate", "masked", "entity", "misroute", "localize", "0a1b2c3"):
        assert any(needed in word for word in words)


def test_report_splits_columns_where_they_do_not_fit(metrics: dict[str, Any]) -> None:
    full = {kind.value: {"value": 0.5, "n": 4, "lo": 0.25, "hi": 0.75} for kind in ProbeKind}
    metrics["methods"]["ldke"]["single"]["protocol"]["generate"] = {"all": full}
    title = "single · all · generate"
    assert report(metrics, 160).count(title) == 1
    assert report(metrics, 60).count(title) == 3


def test_a_long_name_is_folded_and_no_figure_is_cut(metrics: dict[str, Any]) -> None:
    metrics["methods"]["x" * 70] = metrics["methods"]["ldke"]
    shown = report(metrics, 60)
    assert "…" not in shown
    assert shown.count("x") >= 70


def test_names_are_not_read_as_markup(metrics: dict[str, Any]) -> None:
    metrics["methods"]["[red]a[/red]"] = metrics["methods"].pop("ldke")
    metrics["model"] = "[link=file:///]m[/link]"
    shown = report(metrics, 100)
    assert "[red]a[/red]" in shown
    assert "[link=file:///]m[/link]" in shown


def test_a_run_without_methods(metrics: dict[str, Any]) -> None:
    shown = report({**metrics, "methods": {}}, 100)
    assert shown.strip() == "model tiny · data atlas · n_edits 60 · commit 0a1b2c3 · seeds 0, 1"


def test_a_run_with_router_figures_alone(metrics: dict[str, Any]) -> None:
    router = metrics["methods"]["ldke"]["single"]["router"]
    shown = report({**metrics, "methods": {"ldke": {"joint": {"router": router}}}}, 100)
    assert "97.0" in shown
    assert "generate" not in shown
