"""The report as one HTML file that opens anywhere: no network, no other file, every text escaped."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ldke_pl.metrics.grouping import ALL
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import ordered_modes
from ldke_pl.report.cards import ORDER, OUTCOMES, Card, Choice, cards, choose, fault, outcomes
from ldke_pl.report.charts import heat_map, router_charts
from ldke_pl.report.figures import (
    HEADLINE,
    RATES,
    Headline,
    Metrics,
    bounds,
    cost_lines,
    headlines,
    name,
    percent,
    router_blocks,
    router_columns,
    seconds,
    size,
)
from ldke_pl.report.pictures import embed

RUN = {"model": "Model", "data": "Data", "n_edits": "Edits", "seeds": "Seeds", "commit": "Commit"}
LONGEST = 300
"""Characters of one text; a model that does not stop must not fill the page."""


def write_report(
    path: Path,
    metrics: Metrics,
    rows: Sequence[ProbeResult],
    *,
    title: str,
    sample: int = 12,
    failures: int = 200,
) -> None:
    """Write the report; an existing file is replaced.

    It shows the run, the headline tables with floor and intervals, the scores of sites, what the router found and its
    rates, and the costs; then the edits with a failed probe (a routed score below 1, or a wrong route, under
    ``generate``), then a sample of the others.

    Args:
        path: the HTML file, in a folder that exists.
        metrics: content of ``metrics.json``.
        rows: content of ``results.csv``; pictures are read from the paths in it, missing ones are marked as such.
        title: of the page.
        sample: how many edits at most beyond the failures, evenly spread over groups.
        failures: how many edits with failures at most, evenly spread over methods and modes.

    Raises:
        OSError: the file cannot be written.
    """
    choice = choose(cards(rows), failures=failures, sample=sample)
    page = environment().get_template("report.html.j2").render(_context(metrics, rows, choice, title))
    # A path that is no valid Unicode (surrogates from the file system) must not cost the report.
    path.write_text(page, encoding="utf-8", errors="replace")


def _context(metrics: Metrics, rows: Sequence[ProbeResult], choice: Choice, title: str) -> Mapping[str, Any]:
    tables = list(headlines(metrics))
    blocks = router_blocks(metrics)
    shown = choice.failed + choice.sample
    return {
        "title": title,
        "run": {label: _run_value(metrics[key]) for key, label in RUN.items() if key in metrics},
        "first": [table for table in tables if _is_first(table)],
        "further": [table for table in tables if not _is_first(table)],
        "heat_map": heat_map(metrics.get("localization")),
        "n_cases": metrics.get("n_edits", 0),
        "charts": router_charts(rows),
        "blocks": blocks,
        "block_columns": router_columns(blocks),
        "rates": RATES,
        "costs": cost_lines(metrics),
        "choice": choice,
        "filters": _filters(shown),
        "many_seeds": len({card.any.seed for card in shown}) > 1,
        "pictures": embed(_by_importance(shown)),
    }


def _is_first(table: Headline) -> bool:
    return table.protocol == HEADLINE and table.group == ALL


def _run_value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _filters(shown: Sequence[Card]) -> dict[str, list[str]]:
    """Offer, per filter, the values that occur."""
    rows = [row for card in shown for row in card.rows]
    found = {outcome for row in rows for outcome in outcomes(row)}
    return {
        "method": list(dict.fromkeys(row.method for row in rows)),
        "mode": ordered_modes(row.mode for row in rows),
        "group": sorted({row.group for row in rows if row.group}),
        "kind": [kind for kind in ORDER if any(row.kind == kind for row in rows)],
        "outcome": [outcome for outcome in OUTCOMES if outcome in found],
    }


def _by_importance(shown: Sequence[Card]) -> Iterator[str]:
    """Yield paths of pictures: those of the edits, of failed probes, of the others."""
    yield from (card.any.image for card in shown)
    yield from (row.image for card in shown for row in card.failed)
    yield from (row.image for card in shown for row in card.passed)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def environment() -> Environment:
    """Jinja with the templates of this package; every text is escaped."""
    found = Environment(
        loader=PackageLoader("ldke_pl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "percent": percent, "bounds": bounds, "size": size, "name": name, "seconds": seconds, "shorten": _shorten,
    }  # fmt: skip
    found.globals |= {"fault": fault, "outcomes": outcomes}
    return found
