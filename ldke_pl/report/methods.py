"""Methods side by side as Markdown: the table of ``experiments/README.md``.

python -m ldke_pl.report.methods RUN_FOLDER ... [PAGE.md]

Prints the tables of one run, or of several on the same edits; with a page, puts them there between the marks
``<!-- methods -->`` and ``<!-- end -->``.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldke_pl.cli import run_module
from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.comparisons import compare
from ldke_pl.metrics.grouping import ALL, AVERAGE, split
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import INDEX, PROTOCOLS, SEQUENCE, ordered_modes
from ldke_pl.report.page import put
from ldke_pl.report.runs import merged, read_run

HEADS = {
    AVERAGE: "average",
    ProbeKind.RELIABILITY: "reliability",
    ProbeKind.TEXT_GENERALITY: "text gen.",
    ProbeKind.IMAGE_GENERALITY: "image gen.",
    ProbeKind.TEXT_LOCALITY: "text loc.",
    ProbeKind.IMAGE_LOCALITY: "image loc.",
    ProbeKind.FINEGRAINED_LOCALITY: "same picture",
    ProbeKind.VISUAL_LOCALITY: "look-alikes",
    ProbeKind.ENTITY_LOCALITY: "same entity",
}
"""Kinds that have a column for all edits, and its head; portability_1 has one for each kind of edit."""

OURS = "ldke"


def methods_page(metrics: Mapping[str, Any], rows: Sequence[ProbeResult]) -> str:
    """All tables of one run of several methods."""
    return "\n".join(_parts(metrics, rows))


def _parts(metrics: Mapping[str, Any], rows: Sequence[ProbeResult]) -> Iterator[str]:
    methods = metrics["methods"]
    run = f"Model `{metrics['model']}`, commit `{metrics['commit']}`, {metrics['n_edits']} edits"
    yield f"{run}, protocol `generate`. {_seeds(rows)}"
    yield "Percent, with 95% intervals clustered by entity. P1: portability_1.\n"
    for mode in ("single", "joint"):
        runs = {name: figures for name, figures in methods.items() if mode in figures}
        if runs:
            yield f"### {_titled(mode, runs)}\n"
            yield from _side_by_side(runs, mode)
    yield from _sequence(methods)
    yield from _protocols(methods)
    yield from _differences(rows)


def _seeds(rows: Sequence[ProbeResult]) -> str:
    """Which methods were run with which seeds: "Seeds 0, 1: ft_l, ldke; seed 0: mend."."""
    of_method = split(sorted({(row.method, row.seed) for row in rows}), lambda pair: pair[0])
    alike = split(of_method, lambda name: tuple(seed for _, seed in of_method[name]))
    parts = [
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {', '.join(f'`{name}`' for name in names)}"
        for seeds, names in sorted(alike.items(), key=lambda item: -len(item[0]))
    ]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _titled(mode: str, runs: Mapping[str, Any]) -> str:
    if mode == "single":
        return "Each edit alone"
    sizes = {f[mode]["router"]["index_size"] for f in runs.values() if "router" in f[mode]}
    return f"{max(sizes)} edits together" if sizes else "Edits together"


def _side_by_side(runs: Mapping[str, Any], mode: str) -> Iterator[str]:
    """One table, the best average first."""
    headline = {name: figures[mode]["protocol"]["generate"] for name, figures in runs.items()}
    order = sorted(headline, key=lambda name: -headline[name][ALL][AVERAGE]["value"])
    groups = sorted({group for line in headline.values() for group in line} - {ALL}) or [ALL]
    kinds = [kind for kind in HEADS if any(kind in line[ALL] for line in headline.values())]
    heads = [*(HEADS[kind] for kind in kinds), *(f"P1, {group}" for group in groups)]
    yield "| method | " + " | ".join(heads) + " | s / edit | bytes / edit |"
    yield "| --- |" + " --- |" * (len(heads) + 2)
    for name in order:
        cells = [_cell(headline[name][ALL].get(kind)) for kind in kinds]
        cells += [_cell(headline[name].get(group, {}).get(ProbeKind.PORTABILITY_1)) for group in groups]
        seconds = runs[name].get("seconds_per_edit")
        costs = f"{'' if seconds is None else f'{seconds:.2g}'} | {runs[name]['bytes_per_edit']:.0f}"
        yield f"| `{name}` | " + " | ".join(cells) + f" | {costs} |"
    yield ""


def _sequence(methods: Mapping[str, Any]) -> Iterator[str]:
    """Average and reliability after N edits made one after another, and in a larger index."""
    heads = {SEQUENCE: "after {}", INDEX: "joint set, {} keys"}
    modes = [m for m in ordered_modes(m for f in methods.values() for m in f) if m.partition("_")[0] in heads]
    if not modes:
        return
    yield "### One edit after another: average, and reliability, of all edits made so far\n"
    named = [mode.partition("_") for mode in modes]
    yield "| method | " + " | ".join(heads[name].format(size) for name, _, size in named) + " |"
    yield "| --- |" + " --- |" * len(modes)
    for name, figures in methods.items():
        found = [figures.get(mode, {}).get("protocol", {}).get("generate", {}).get(ALL) for mode in modes]
        if any(found):
            cells = [f"{_value(f[AVERAGE])}, {_value(f[ProbeKind.RELIABILITY])}" if f else "" for f in found]
            yield f"| `{name}` | " + " | ".join(cells) + " |"
    yield ""


def _protocols(methods: Mapping[str, Any]) -> Iterator[str]:
    """The same edits under every protocol: average of each method, and how far above generation it lies."""
    found = {name: figures["single"]["protocol"] for name, figures in methods.items() if "single" in figures}
    names = [name for name in PROTOCOLS if found and all(name in by_protocol for by_protocol in found.values())]
    if len(names) < 2:
        return
    yield "### Each edit alone, under other protocols: average, and how far it lies above that of generation\n"
    yield "| method | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "| --- |" + " --- |" * len(names)
    for method, by_protocol in found.items():
        averages = [by_protocol[name][ALL][AVERAGE]["value"] for name in names]
        cells = [f"{100 * a:.1f} ({100 * (a - averages[0]):+.1f})" for a in averages[1:]]
        yield f"| `{method}` | {100 * averages[0]:.1f} | " + " | ".join(cells) + " |"
    yield ""
    for name in names[1:]:
        yield from _flattered(found, name, names[0])


def _flattered(found: Mapping[str, Any], name: str, headline: str) -> Iterator[str]:
    """How far each probe kind's score under a protocol lies above that of generation."""
    heads = {**HEADS, ProbeKind.PORTABILITY_1: "P1"}
    kinds = [k for k in heads if k != AVERAGE and any(k in by_protocol[name][ALL] for by_protocol in found.values())]
    yield f"### Each edit alone, by probe kind: `{name}` minus `{headline}`\n"
    yield "| method | " + " | ".join(heads[kind] for kind in kinds) + " |"
    yield "| --- |" + " --- |" * len(kinds)
    for method, by_protocol in found.items():
        here, there = by_protocol[name][ALL], by_protocol[headline][ALL]
        cells = [f"{100 * (here[k]['value'] - there[k]['value']):+z.1f}" if k in here else "" for k in kinds]
        yield f"| `{method}` | " + " | ".join(cells) + " |"
    yield ""


def _differences(rows: Sequence[ProbeResult]) -> Iterator[str]:
    """Our method against every other, by paired tests of the average."""
    generated = [row for row in rows if row.protocol == "generate" and row.mode in ("single", "joint")]
    by_method = split(generated, lambda row: row.method)
    others = [name for name in by_method if name != OURS]
    if OURS not in by_method or not others:
        return
    yield f"### `{OURS}` minus others: average over the same probes\n"
    yield "| method | alone | together |"
    yield "| --- | --- | --- |"
    ours = split(by_method[OURS], lambda row: row.mode)
    for name in others:
        theirs = split(by_method[name], lambda row: row.mode)
        cells = []
        for mode in ("single", "joint"):
            both = ours.get(mode) and theirs.get(mode)
            test = compare(ours[mode], theirs[mode])[AVERAGE] if both else None
            cells.append(f"{100 * test.difference:+.1f} ({100 * test.lo:+.1f} to {100 * test.hi:+.1f})" if test else "")
        yield f"| `{name}` | " + " | ".join(cells) + " |"
    yield ""


def _cell(entry: Mapping[str, float] | None) -> str:
    return "" if entry is None else f"{_value(entry)} ({100 * entry['lo']:.0f} to {100 * entry['hi']:.0f})"


def _value(entry: Mapping[str, float]) -> str:
    return f"{100 * entry['value']:.1f}"


def main(argv: Sequence[str]) -> int | None:
    """Print the tables of some runs, or put them into a page."""
    paths = [Path(argument) for argument in argv]
    page = paths.pop() if paths and paths[-1].suffix == ".md" else None
    if not paths:
        print(__doc__)
        return 2
    run = merged([read_run(folder) for folder in paths])
    put(methods_page(run.metrics, run.rows), "methods", page)
    return 0


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
