"""The page of a localizer study, from what ``study.json`` holds."""

from typing import Any

from ldke_pl.metrics.localizers import figures, of_ranking
from ldke_pl.report.localizers import study_page

SITES = ["connector", "decoder.0"]
TRUTH = [[1.0, 0.5], [None, 0.75]]
"""The second edit is text only."""


def study() -> dict[str, Any]:
    truth = [[float("nan") if q is None else q for q in row] for row in TRUTH]
    choices = {"cosine": of_ranking(truth, [[1, 0], [1]]), "best_fixed_per_kind": of_ranking(truth, [[0], [1]])}
    resampling = {"resamples": 20, "seed": 0}
    cases = [
        {"id": str(i), "group": group, "entity": group, "quality": dict(zip(SITES, row, strict=True))}
        | {"ranked": {"cosine": ["decoder.0"], "best_fixed_per_kind": [SITES[i]]}}
        for i, (group, row) in enumerate(zip(("entity", "text"), TRUTH, strict=True))
    ]
    cost = {"tokens": 8.0, "seconds": 0.2}
    return {
        "model": "m", "data": "d", "split": "s", "commit": "c", "seed": 0, "sites": SITES,
        "fixed": None, "best_fixed": {}, "cases": cases,
        "figures": figures(choices, truth, ["entity", "text"], ["a", "b"], ["best_fixed_per_kind"], resampling),
        "costs": {"one forward": {"tokens": 4.0, "seconds": 0.1}, "cosine": cost, "best_fixed_per_kind": cost},
        "edit_costs": dict.fromkeys((*SITES, "all"), cost),
    }  # fmt: skip


def test_page_tells_qualities_differences_and_costs() -> None:
    page = study_page(study())
    assert "2 edits (1 entity, 1 text) about 2 entities" in page
    assert "| `connector` | 100.0 | 1 of 1 | 100.0 | 1 of 1 |  |  |" in page
    assert "| `decoder.0` | 62.5 | 1 of 2 | 50.0 | 0 of 1 | 75.0 | 1 of 1 |" in page
    (line, *_) = [line for line in page.splitlines() if line.startswith("| `cosine`")]
    assert line.startswith("| `cosine` | 2 | 62.5 (50.0 to 75.0) | 25.0 (0.0 to 50.0) | 0.0 (0.0 to 0.0) | 50.0 ")
    assert "| -25.0 (-50.0 to +0.0), p " in line and line.endswith("| decoder.0 2 |")
    assert "| exhaustive: at each site | 4.0 | 4.0 |" in page
    assert "nan" not in page
