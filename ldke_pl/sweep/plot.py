"""A plot of a sweep: what each of its settings does to the metric, to portability and to locality."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

Run = tuple[Mapping[str, str], Mapping[str, float]]
"""What a run tried, by key, and its figures, as :func:`ldke_pl.metrics.summary.flat_figures` names them."""

BESIDE = {"portability_1": ("/all/portability_1",), "locality": ("_locality",)}
"""What is drawn beside the metric -> how names of its figures end; the mean of these is drawn."""


def plot_sweep(path: Path, runs: Sequence[Run], keys: Sequence[str], metric: str) -> None:
    """Draw one panel per key, a point per run and a line through the mean of each value.

    Args:
        path: PNG file to write.
        keys: settings that the sweep varies; values that are not numbers are drawn in order of appearance.
    """
    figure = Figure(figsize=(1 + 4 * len(keys), 4), layout="constrained")
    panels = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
    for panel, key in zip(panels, keys, strict=True):
        tried = [chosen[key] for chosen, _ in runs]
        places, names = _places(tried)
        for label, values in _series(runs, metric).items():
            (points,) = panel.plot([places[t] for t in tried], values, "o", alpha=0.5)
            means = {places[t]: statistics.mean(v for u, v in zip(tried, values, strict=True) if u == t) for t in tried}
            panel.plot(*zip(*sorted(means.items()), strict=True), color=points.get_color(), label=label)
        panel.set_xlabel(key)
        if names:
            panel.set_xticks(range(len(names)), names)
    panels[0].set_ylabel("share of probes")
    panels[0].legend()
    figure.savefig(path)


def _places(tried: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Where values are drawn, and their names if they are no numbers."""
    try:
        return {value: float(value) for value in tried}, []
    except ValueError:
        names = list(dict.fromkeys(tried))
        return {name: float(i) for i, name in enumerate(names)}, names


def _series(runs: Sequence[Run], metric: str) -> dict[str, list[float]]:
    """The metric, and what its method's figures say of portability and locality, per run; without what none has."""
    method = metric.partition("/")[0]
    series = {metric: [figures[metric] for _, figures in runs]}
    for label, ends in BESIDE.items():
        names = [n for n in runs[0][1] if n.startswith(f"{method}/") and "/all/" in n and n.endswith(ends)]
        if names:
            series[label] = [statistics.mean(figures[n] for n in names) for _, figures in runs]
    return series
