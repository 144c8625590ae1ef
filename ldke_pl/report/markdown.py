"""The tables of a run as Markdown, for the pages under ``experiments/``.

python -m ldke_pl.report.markdown RUN_FOLDER ...
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldke_pl.cli import run_module
from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.comparisons import compare, share_of_ceiling
from ldke_pl.metrics.grouping import ALL, AVERAGE, by_group, split
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import ordered_modes
from ldke_pl.report.runs import read_run

COLUMNS = (AVERAGE, *(kind.value for kind in ProbeKind))


def markdown_tables(metrics: Mapping[str, Any]) -> str:
    """Headline, unrouted, ceiling and router tables of a ``metrics.json``."""
    return "\n".join(_parts(metrics))


def _parts(metrics: Mapping[str, Any]) -> Iterator[str]:
    methods = metrics["methods"]
    yield f"Model `{metrics['model']}`, data `{metrics['data']}`, commit `{metrics['commit']}`,"
    yield f"seeds {metrics['seeds']}, {metrics['n_edits']} edits. Percent, with 95% intervals clustered by entity.\n"
    for mode in ordered_modes(mode for figures in methods.values() for mode in figures):
        runs = {name: figures[mode] for name, figures in methods.items() if mode in figures}
        for group in _groups(runs):
            yield f"### `{mode}`, {group}, protocol `generate`\n"
            yield from _headline(runs, group)
        for name, figures in runs.items():
            if "router" in figures:
                yield f"### Router behind `{name}`, `{mode}`, {figures['router']['index_size']} keys\n"
                yield from _router(figures["router"])


def _groups(runs: Mapping[str, Any]) -> list[str]:
    found = {group for figures in runs.values() for group in figures.get("protocol", {}).get("generate", {})}
    return [ALL, *sorted(found - {ALL})] if found else []


def _headline(runs: Mapping[str, Any], group: str) -> Iterator[str]:
    lines = {}
    for name, figures in runs.items():
        lines[name] = figures["protocol"]["generate"].get(group, {})
        if "router" in figures:
            lines[f"{name}, unrouted"] = figures["unrouted"].get(group, {})
        lines["ceiling"] = figures["ceiling"].get(group, {})
    kinds = [c for c in COLUMNS if any(c in line for line in lines.values())]
    yield "| probe kind | " + " | ".join(lines) + " |"
    yield "| --- |" + " --- |" * len(lines)
    for kind in kinds:
        yield f"| {kind} | " + " | ".join(_cell(line.get(kind)) for line in lines.values()) + " |"
    yield ""


def _router(figures: Mapping[str, Any]) -> Iterator[str]:
    parts = {"all relations": figures}
    parts |= {k.replace("_", " "): figures[k] for k in ("trained_relations", "held_out_relations") if k in figures}
    yield "| queries | TPR | FPR | misroute |"
    yield "| --- | --- | --- | --- |"
    for name, rates in parts.items():
        for kind, found in {"": rates, **(rates.get("by_kind", {}) if name != "trained relations" else {})}.items():
            values = " | ".join(f"{100 * found[r]:.1f}" if r in found else "" for r in ("tpr", "fpr", "misroute"))
            yield f"| {name}{': ' + kind if kind else ''} | {values} |"
    yield ""


def paired_tables(rows: Iterable[ProbeResult]) -> str:
    """For routed methods: portability as a share of its ceiling, and ``joint`` against ``single`` by a paired test."""
    generated = [row for row in rows if row.protocol == "generate"]
    return "\n".join(line for members in split(generated, lambda row: row.method).values() for line in _paired(members))


def _paired(rows: Sequence[ProbeResult]) -> Iterator[str]:
    single, joint = ([row for row in rows if row.mode == mode] for mode in ("single", "joint"))
    name = rows[0].method
    if not any(row.route != row.edit_id for row in rows):
        return
    if single:
        yield f"### `{name}`, `single`: portability_1 as a share of its ceiling\n"
    for group, members in by_group([row for row in single if row.kind == ProbeKind.PORTABILITY_1]).items():
        found = share_of_ceiling(members)
        yield f"- {group}: {100 * found.value:.1f} ({100 * found.lo:.1f} to {100 * found.hi:.1f}, n {found.n})"
    if not single or not joint:
        return
    yield f"\n### `{name}`: `joint` minus `single`, the same probes\n"
    yield "| probe kind | difference | 95% interval | n |"
    yield "| --- | --- | --- | --- |"
    for kind, test in compare(joint, single).items():
        yield f"| {kind} | {100 * test.difference:+.1f} | {100 * test.lo:+.1f} to {100 * test.hi:+.1f} | {test.n} |"
    yield ""


def _cell(entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return ""
    return f"{100 * entry['value']:.1f} ({100 * entry['lo']:.1f} to {100 * entry['hi']:.1f}, n {entry['n']:.0f})"


def main(argv: Sequence[str]) -> int | None:
    """Print the tables of every run."""
    if not argv:
        print(__doc__)
        return 2
    for folder in map(Path, argv):
        run = read_run(folder)
        print(f"{markdown_tables(run.metrics)}\n{paired_tables(run.rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
