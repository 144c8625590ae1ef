"""A localizer study as Markdown, for the pages under ``experiments/``.

python -m ldke_pl.report.localizers STUDY_JSON
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ldke_pl.cli import run_module
from ldke_pl.errors import DataError
from ldke_pl.metrics.grouping import ALL
from ldke_pl.metrics.localizers import of_quality

Study = Mapping[str, Any]


def study_page(study: Study) -> str:
    """All tables of a ``study.json``."""
    return "\n".join(_parts(study)) + "\n"


def _parts(study: Study) -> Iterator[str]:
    cases = study["cases"]
    kinds = ", ".join(f"{n} {group or 'other'}" for group, n in Counter(c["group"] for c in cases).items())
    yield f"Model `{study['model']}`, data `{study['data']}`, split `{study['split']}`, commit `{study['commit']}`,"
    yield f"seed {study['seed']}, {len(cases)} edits ({kinds}) about {len({c['entity'] for c in cases})} entities."
    yield "Percent, with 95% intervals clustered by entity; p by flipping the signs of entities' differences.\n"
    yield from _sites(study)
    for group, found in study["figures"].items():
        yield from _localizers(study, group, found)
    yield from _costs(study)


def _members(study: Study, group: str) -> list[Any]:
    return [case for case in study["cases"] if group in (ALL, case["group"])]


def _sites(study: Study) -> Iterator[str]:
    """Mean quality of each site's edits, and for how many it is as good as any."""
    groups = list(study["figures"])
    yield "### Routed quality of the edits made at each site, and for how many that is a hit\n"
    yield "| site | " + " | ".join(f"{group} | hits" for group in groups) + " |"
    yield "| --- |" + " --- |" * (2 * len(groups))
    for number, site in enumerate(study["sites"]):
        cells = []
        for group in groups:
            truth = np.array([[c["quality"][s] for s in study["sites"]] for c in _members(study, group)], dtype=float)
            made = truth[np.isfinite(truth[:, number])]
            hits = of_quality(made, made[:, number]).hit
            cells.append(
                f"{100 * made[:, number].mean():.1f} | {hits.sum():.0f} of {len(hits)}" if len(hits) else " | "
            )
        yield f"| `{site}` | " + " | ".join(cells) + " |"
    yield ""


def _localizers(study: Study, group: str, found: Mapping[str, Any]) -> Iterator[str]:
    """One table, the best quality first."""
    references = list(dict.fromkeys(r for entry in found.values() for r in entry["minus"]))
    yield f"### Localizers, {group} edits\n"
    heads = ["n", "quality", "regret@1", "regret@3", "hit rate", *(f"minus {_title(study, r)}" for r in references)]
    yield "| localizer | " + " | ".join(heads) + " | ranks first |"
    yield "| --- |" + " --- |" * (len(heads) + 1)
    for name in sorted((n for n in found if "quality" in found[n]), key=lambda n: -found[n]["quality"]["value"]):
        entry = found[name]
        cells = [str(entry["quality"]["n"])]
        cells += [_cell(entry.get(key)) for key in ("quality", "regret_1", "regret_3", "hit_rate")]
        cells += [_difference(entry["minus"].get(reference)) for reference in references]
        yield f"| {_title(study, name)} | " + " | ".join(cells) + f" | {_firsts(study, group, name)} |"
    yield ""


def _title(study: Study, name: str) -> str:
    return f"`{name}` ({study['fixed']})" if name == "fixed" else f"`{name}`"


def _firsts(study: Study, group: str, name: str) -> str:
    """The sites that it ranks first most often, and for how many edits."""
    firsts = Counter(case["ranked"][name][0] for case in _members(study, group) if name in case["ranked"])
    return ", ".join(f"{site} {count}" for site, count in firsts.most_common(3))


def _costs(study: Study) -> Iterator[str]:
    """In units of one forward pass over the question and new answer of one edit; making an edit comes on top."""
    costs = {name: cost for name, cost in study["costs"].items() if name != "one forward"}
    one, edits = study["costs"]["one forward"], study["edit_costs"]
    at_sites = [edits[site] for site in study["sites"]]
    search = {key: sum(cost[key] for cost in at_sites) for key in one}
    rows = {_title(study, name): cost for name, cost in costs.items()}
    rows |= {"making an edit at one site, mean": {key: search[key] / len(at_sites) for key in one}}
    rows |= {"making it at `all` sites together": edits["all"], "exhaustive: at each site": search}
    yield f"### Cost per edit; one forward pass is {one['tokens']:.1f} tokens and {1000 * one['seconds']:.1f} ms\n"
    yield "| | forward-equivalents | CPU time, in forward passes |"
    yield "| --- | --- | --- |"
    for name, cost in rows.items():
        yield f"| {name} | {_times(cost, one, 'tokens')} | {_times(cost, one, 'seconds')} |"


def _times(cost: Mapping[str, float], one: Mapping[str, float], key: str) -> str:
    times = cost[key] / one[key]
    return "< 0.01" if 0 < times < 0.01 else f"{times:.1f}"


def _cell(entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return ""
    value, low, high = (100 * entry[key] for key in ("value", "lo", "hi"))
    return f"{value:z.1f} ({low:z.1f} to {high:z.1f})"


def _difference(entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return ""
    difference, low, high = (100 * entry[key] for key in ("difference", "lo", "hi"))
    return f"{difference:+z.1f} ({low:+z.1f} to {high:+z.1f}), p {entry['p_value']:.3f}"


def main(argv: Sequence[str]) -> int | None:
    """Print the page of a study.

    Raises:
        DataError: the file cannot be read, or is of something else.
    """
    if len(argv) != 1:
        print(__doc__)
        return 2
    try:
        page = study_page(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise DataError(f"{argv[0]} cannot be read: {fault!r}", "give what localizer_study wrote") from fault
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
