"""The tables of a run as Markdown, for the pages under ``experiments/``.

python -m ldke_pl.report.markdown RUN_FOLDER
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.grouping import ALL, AVERAGE

COLUMNS = (AVERAGE, *(kind.value for kind in ProbeKind))


def markdown_tables(metrics: Mapping[str, Any]) -> str:
    """Headline, unrouted, ceiling and router tables of a ``metrics.json``."""
    return "\n".join(_parts(metrics))


def _parts(metrics: Mapping[str, Any]) -> Iterator[str]:
    methods = metrics["methods"]
    yield f"Model `{metrics['model']}`, data `{metrics['data']}`, commit `{metrics['commit']}`,"
    yield f"seeds {metrics['seeds']}, {metrics['n_edits']} edits. Percent, with 95% intervals clustered by entity.\n"
    for mode in ("single", "joint"):
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


def _cell(entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return ""
    return f"{100 * entry['value']:.1f} ({100 * entry['lo']:.1f} to {100 * entry['hi']:.1f}, n {entry['n']:.0f})"


if __name__ == "__main__":
    sys.stdout.write(markdown_tables(json.loads((Path(sys.argv[1]) / "metrics.json").read_text())) + "\n")
