"""Tables for the terminal: the headline with its floor and intervals, the router's rates, the costs."""

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ldke_pl.metrics.grouping import ALL
from ldke_pl.report.figures import (
    HEADINGS,
    HEADLINE,
    RATES,
    Headline,
    Line,
    Metrics,
    Role,
    RouterBlock,
    cost_lines,
    headline,
    headlines,
    name,
    percent,
    router_blocks,
    router_columns,
    seconds,
    size,
    spread,
)

STYLES = {Role.FLOOR: "italic", Role.CEILING: "italic dim", Role.ROUTED: "bold", Role.UNROUTED: "dim"}
FIGURE, FIGURE_AND_SPREAD = len("100.0"), len("100.0 ±50.0")
"""Width of a cell with the interval below the value, and with the interval beside it."""
LABEL = 24
"""A longer name is folded, so that figures are never cut."""
GAP, ROUTER_GAP = 2, 1
"""Spaces between columns."""

NOTES = (
    "Percent; ± is the wider side of the 95% bootstrap interval clustered by entity; n counts probes.",
    "floor: the unedited model on the same probes; ceiling: the unedited model where it already knows.",
    "unrouted: the edit above with the router forced on. Avg leaves out portability beyond one hop.",
)
ROUTER_NOTES = (
    "tpr: relevant queries sent to their edit; misroute: relevant ones sent to another edit;",
    "fpr: irrelevant queries sent to any edit. A key is one edit in the index.",
)
SECONDS = ("seconds_per_edit", "seconds_localize")


def headline_table(
    metrics: Metrics,
    *,
    mode: str,
    group: str = ALL,
    protocol: str = HEADLINE,
    kinds: Sequence[str] | None = None,
    width: int = 100,
) -> Table:
    """Methods by probe kinds, in percent with n and 95% interval.

    Args:
        metrics: content of ``metrics.json``.
        mode: "single" or "joint".
        group: "all" or a group of the data.
        protocol: "generate", "masked" or "vlkeb".
        kinds: the columns to show, or None for every kind present and the average.
        width: characters available; where there is room, values and intervals stand on one line.

    Returns:
        The floor (``no_edit``) first, then the ceiling where there is one, then each method with its unrouted line
        dimmed below it. Without figures the table has no rows.
    """
    figures = headline(metrics, mode=mode, group=group, protocol=protocol)
    shown = figures.kinds if kinds is None else tuple(kinds)
    wide = _label_width(line.label for line in figures.lines) + len(shown) * (FIGURE_AND_SPREAD + GAP) <= width
    table = _table(f"{mode} · {group} · {protocol}")
    table.add_column("method", max_width=LABEL, overflow="fold")
    for kind in shown:
        table.add_column(HEADINGS[kind], justify="right", no_wrap=True)
    for part in (figures.references, figures.edited):
        for line in part:
            label = Text(f"  {line.label}" if line.role is Role.UNROUTED else line.label)
            table.add_row(label, *(_cell(line, kind, " " if wide else "\n") for kind in shown), style=STYLES[line.role])
        table.add_section()
    if figures.lines:
        # A range such as 1180-1200 would be wider than the figures above it.
        table.add_row("n", *(figures.count(kind).replace("-", "-\n") for kind in shown), style="dim")
    return table


def router_table(metrics: Metrics, *, columns: Sequence[str] | None = None) -> Table:
    """The router's TPR, FPR and misroute in percent, over all queries and by probe kind, with the size of the index.

    Args:
        metrics: content of ``metrics.json``.
        columns: "all" and probe kinds to show, or None for those present.
    """
    blocks = router_blocks(metrics)
    shown = router_columns(blocks) if columns is None else columns
    table = _table("router · per query against the whole index", gap=ROUTER_GAP)
    table.add_column("method", max_width=LABEL, overflow="fold")
    table.add_column("rate")
    for column in shown:
        table.add_column(HEADINGS[column], justify="right", no_wrap=True)
    for block in blocks:
        for rate, label in zip(RATES, _router_labels(block), strict=True):
            values = block.rates[rate]
            cells = [percent(values[column]) if column in values else "-" for column in shown]
            table.add_row(Text(label), rate, *cells, style="dim" if block.part else "")
        table.add_section()
    return table


def cost_table(metrics: Metrics) -> Table:
    """Seconds per edit, seconds of it spent on localization, and stored bytes per edit, by method and mode."""
    table = _table("cost of an edit")
    table.add_column("method", overflow="fold")
    table.add_column("mode")
    for heading in ("seconds", "localize", "stored"):
        table.add_column(heading, justify="right")
    for line in cost_lines(metrics):
        times = [seconds(line.costs[key]) if key in line.costs else "-" for key in SECONDS]
        stored = size(line.costs["bytes_per_edit"]) if "bytes_per_edit" in line.costs else "-"
        table.add_row(Text(line.method), line.mode, *times, stored)
    return table


def print_report(metrics: Metrics, console: Console) -> None:
    """Print a table per mode and group, then the router and the costs; a table too wide is split by columns.

    The other protocols are shown for all groups together only.
    """
    _print_run(metrics, console)
    tables = [figures for figures in headlines(metrics) if figures.protocol == HEADLINE or figures.group == ALL]
    for figures in tables:
        _print_headline(figures, metrics, console)
    if tables:
        _print_notes((_legend(tables), *NOTES), console)
    _print_router(metrics, console)
    if cost_lines(metrics):
        console.print(cost_table(metrics))
        console.print()


def _print_run(metrics: Metrics, console: Console) -> None:
    parts = [f"{key} {metrics[key]}" for key in ("model", "data", "n_edits", "commit") if key in metrics]
    seeds = ", ".join(str(seed) for seed in metrics.get("seeds", []))
    console.print(Text(" · ".join([*parts, f"seeds {seeds}"] if seeds else parts)))
    console.print()


def _print_headline(figures: Headline, metrics: Metrics, console: Console) -> None:
    room = console.width - _label_width(line.label for line in figures.lines)
    for kinds in _parts(figures.kinds, room, GAP):
        table = headline_table(
            metrics, mode=figures.mode, group=figures.group, protocol=figures.protocol, kinds=kinds, width=console.width
        )
        console.print(table)
        console.print()


def _print_router(metrics: Metrics, console: Console) -> None:
    blocks = router_blocks(metrics)
    if not blocks:
        return
    labels = [label for block in blocks for label in _router_labels(block)]
    room = console.width - _label_width(labels) - len("misroute ")
    for columns in _parts(router_columns(blocks), room, ROUTER_GAP):
        console.print(router_table(metrics, columns=columns))
        console.print()
    _print_notes(ROUTER_NOTES, console)


def _print_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(note, style="dim"))
    console.print()


def _parts(columns: Sequence[str], room: int, gap: int) -> list[Sequence[str]]:
    """Cut columns into the fewest runs of about equal length that fit ``room`` characters (one column at least)."""
    for length in sorted({math.ceil(len(columns) / count) for count in range(1, len(columns) + 1)}, reverse=True):
        parts = [columns[start : start + length] for start in range(0, len(columns), length)]
        widths = [sum(max(FIGURE, len(HEADINGS[column])) + gap for column in part) for part in parts]
        if length == 1 or max(widths) <= room:
            return parts
    return []


def _legend(tables: Sequence[Headline]) -> str:
    present = [kind for kind in HEADINGS if any(kind in figures.kinds for figures in tables)]
    return "; ".join(f"{HEADINGS[kind]} {name(kind)}" for kind in present)


def _router_labels(block: RouterBlock) -> tuple[str, str, str]:
    """Label the lines of a block, one for each of :data:`~ldke_pl.report.figures.RATES`."""
    return block.method, block.place, block.part


def _label_width(labels: Iterable[str]) -> int:
    """Width of the first column with the gap after it; "unrouted" is indented by two."""
    return min(max((cell_len(label) for label in labels), default=0), LABEL) + 2


def _cell(line: Line, kind: str, between: str) -> Text:
    if kind not in line.entries:
        return Text("-")
    entry = line.entries[kind]
    return Text.assemble(percent(entry["value"]), between, (spread(entry), "not bold dim"))


def _table(title: str, gap: int = GAP) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,  # and the box puts one space between columns
        padding=(0, gap - 1, 0, 0),
        collapse_padding=True,
    )
