"""Benchmarks as a table and a drawing.

python -m ldke_pl.report.speed RESULTS.jsonl [PAGE.md]

``RESULTS.jsonl`` is what ``python -m ldke_pl.bench all --json`` printed. Prints the table; with a page, puts it there
between the marks ``<!-- speed -->`` and ``<!-- end -->``, and draws ``RESULTS.png`` beside it.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldke_pl.cli import run_module
from ldke_pl.errors import ConfigError, DataError
from ldke_pl.report.page import put

Line = Mapping[str, Any]
"""One comparison, as :meth:`ldke_pl.bench.timing.Result.line` writes it, with ``at_most``."""


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        ConfigError: the page has no place for the table.
        DataError: a line is not of a benchmark.
    """
    if not 1 <= len(argv) <= 2:
        print(__doc__)
        return 2
    results, page = Path(argv[0]), Path(argv[1]) if len(argv) > 1 else None
    lines = read(results)
    put("\n".join(table(lines)), "speed", page)
    if page is not None:
        draw(lines, page.with_name(f"{results.stem}.png"))
    return 0


def read(path: Path) -> list[Line]:
    """The lines of a file of results.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not all({"name", "ratio", "target", "at_most", "pass", "runs"} <= line.keys() for line in lines):
            raise ValueError("a line is not of a benchmark")
    except (OSError, ValueError, AttributeError) as fault:
        raise DataError(
            f"{path} cannot be read: {fault}", "write it with python -m ldke_pl.bench all --json"
        ) from fault
    return lines


def table(lines: Sequence[Line]) -> Iterator[str]:
    """A row for each comparison, Markdown."""
    yield "| what | median | least to most of the runs | target | met |"
    yield "| --- | --- | --- | --- | --- |"
    for line in lines:
        runs = line["runs"]
        spread = f"{min(runs):.4g} to {max(runs):.4g}, {len(runs)} runs" if len(runs) > 1 else "one run"
        bound = "at most" if line["at_most"] else "at least"
        target = "reported" if line["target"] is None else f"{bound} {line['target']:.6g}"
        met = {None: "", True: "yes", False: "**no**"}[line["pass"]]
        yield f"| {line['name']} | {line['ratio']:.4g} | {spread} | {target} | {met} |"


def draw(lines: Sequence[Line], path: Path) -> None:
    """Every run of the comparisons that have a target, as a multiple of it; above 1 is met.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as fault:
        raise ConfigError("Drawing needs matplotlib.", "pip install 'ldke-pl[sweep]'") from fault
    aimed = [line for line in lines if line["target"] is not None]
    figure = Figure(figsize=(9, 0.9 + 0.32 * len(aimed)), layout="constrained")
    axes = figure.subplots()
    for height, line in enumerate(reversed(aimed)):
        met = [line["target"] / run if line["at_most"] else run / line["target"] for run in line["runs"]]
        axes.plot(met, [height] * len(met), "o", color="C0" if line["pass"] else "C3", alpha=0.6)
    axes.axvline(1, color="grey")
    axes.set_xscale("log")
    axes.set_yticks(range(len(aimed)), [line["name"] for line in reversed(aimed)])
    axes.set_xlabel("times as good as the target (a dot for each run)")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
