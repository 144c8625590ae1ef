"""What a change of settings does to LDKE, by paired tests: runs with something left out against one with all of it.

python -m ldke_pl.report.ablations RUN_FOLDER OTHER_FOLDER ... [PAGE.md]

Prints, for every other run, named by its folder, what it differs by from the first over the probes that both asked;
with a page, puts the tables there between the marks ``<!-- ablations -->`` and ``<!-- end -->``.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ldke_pl.cli import run_module
from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.comparisons import compare
from ldke_pl.metrics.grouping import AVERAGE, by_group
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.statistics import PairedTest
from ldke_pl.metrics.summary import MODES
from ldke_pl.report.methods import HEADS, OURS
from ldke_pl.report.page import put
from ldke_pl.report.runs import comparable, read_run

Rows = Sequence[ProbeResult]


def ablations_page(whole: Rows, others: Mapping[str, Rows]) -> str:
    """Tables of ``others`` minus ``whole``, one for each mode that several edits can be in.

    Args:
        whole: rows of the run with everything.
        others: name to rows of a run with something changed.
    """
    return "\n".join(_parts(whole, others))


def _parts(whole: Rows, others: Mapping[str, Rows]) -> Iterator[str]:
    yield "Points by which each differs from the whole, with 95% intervals clustered by entity, over the same probes."
    yield "Bold where the interval leaves out 0. P1: portability_1.\n"
    for mode, title in zip(MODES, ("Each edit alone", "Edits together"), strict=True):
        base = _kept(whole, mode)
        tests = {name: found for name, rows in others.items() if (found := _tests(_kept(rows, mode), base))}
        if tests:
            heads = list(dict.fromkeys(head for found in tests.values() for head in found))
            yield f"### {title}\n"
            yield "| changed | n | " + " | ".join(heads) + " |"
            yield "| --- |" + " --- |" * (len(heads) + 1)
            for name, found in tests.items():
                edits = len({(row.seed, row.case_id) for row in _kept(others[name], mode)})
                yield f"| {name} | {edits} | " + " | ".join(_cell(found.get(head)) for head in heads) + " |"
            yield ""


def _kept(rows: Rows, mode: str) -> list[ProbeResult]:
    return [row for row in rows if (row.method, row.mode, row.protocol) == (OURS, mode, "generate")]


def _tests(rows: Rows, whole: Rows) -> dict[str, PairedTest]:
    """Column to test: kinds over all edits, and portability_1 of each kind of edit."""
    if not rows or not whole:
        return {}
    found = compare(rows, whole)
    tests = {HEADS[kind]: found[kind] for kind in (AVERAGE, *HEADS) if kind in found}
    parts, base = by_group(rows), by_group(whole)
    for group in [name for name in parts if name != "all" and name in base]:
        of_kind = compare(parts[group], base[group])
        if ProbeKind.PORTABILITY_1 in of_kind:
            tests[f"P1, {group}"] = of_kind[ProbeKind.PORTABILITY_1]
    return tests


def _cell(test: PairedTest | None) -> str:
    if test is None:
        return ""
    text = f"{100 * test.difference:+.1f} ({100 * test.lo:+.1f} to {100 * test.hi:+.1f})"
    return f"**{text}**" if test.lo > 0 or test.hi < 0 else text


def main(argv: Sequence[str]) -> int | None:
    """Print the tables of some runs, or put them into a page."""
    paths = [Path(argument) for argument in argv]
    page = paths.pop() if paths and paths[-1].suffix == ".md" else None
    if len(paths) < 2:
        print(__doc__)
        return 2
    whole, *others = (run.rows for run in comparable([read_run(path) for path in paths]))
    names = [path.name for path in paths[1:]]
    put(ablations_page(whole, dict(zip(names, others, strict=True))), "ablations", page)
    return 0


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
