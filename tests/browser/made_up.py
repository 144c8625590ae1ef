"""Run folders as ``edit.py`` leaves them, of made-up rows: as many edits as one likes, in no time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.results import BASE, ProbeResult, write_results
from ldke_pl.metrics.summary import summarise
from ldke_pl.report.html import write_report

SITES = ["connector", "decoder.0", "decoder.1"]


def rows_of(
    edits: int, pictures: list[str], prompt: str = "Which city is the capital of this country?"
) -> Iterator[ProbeResult]:
    """Rows of a method and of none: every third edit has a wrong answer, every ninth a wrong route as well."""
    for case in range(edits):
        for place, kind in enumerate(ProbeKind):
            relevant = not kind.is_locality
            wrong, astray = case % 3 == 0 and place == 1, case % 9 == 0 and place == 2
            right = f"Dokuton {case}"
            shared: dict[str, Any] = dict(
                mode="joint", protocol="generate", seed=0, case_id=f"case-{case:05d}", entity=f"x{case}",
                group="entity" if case % 5 == 0 else "attribute", edit_relation="", kind=kind.value, relation="",
                image=pictures[(case + place) % len(pictures)] if place % 4 else "", prompt=prompt, expected=right,
                before="Bizuton" if relevant else right, score_no_edit=float(not relevant), ceiling=None,
                relevant=relevant,
            )  # fmt: skip
            after = "Bizuton" if wrong else right
            route = f"e{case}" if relevant is not astray else BASE
            yield ProbeResult(
                method="ldke", after=after, after_unrouted=right, score=float(not wrong), score_unrouted=1.0,
                route=route, edit_id=f"e{case}", sites=SITES[case % 5 > 0],
                relevance=0.95 if route != BASE else 0.02 * (case % 20), threshold=0.85, **shared,
            )  # fmt: skip
            yield ProbeResult(
                method="no_edit", after=shared["before"], after_unrouted=shared["before"], score=float(not relevant),
                score_unrouted=float(not relevant), route=BASE, edit_id="", sites="", **shared,
            )  # fmt: skip


def leave_run(folder: Path, edits: int, **options: str) -> Path:
    """A run folder as ``edit.py`` leaves it, of made-up rows."""
    folder.mkdir()
    pictures = [str(folder / f"{n}.png") for n in range(20)]
    for number, path in enumerate(pictures):
        Image.new("RGB", (64, 64), (12 * number, 120, 255 - 12 * number)).save(path)
    rows = list(rows_of(edits, pictures, **options))
    localized = [
        {"case_id": f"case-{n:05d}", "group": "entity" if n % 5 == 0 else "attribute", "chosen": [SITES[n % 5 > 0]],
         "scores": [0.5 + 0.1 * (n % 5), 0.9, 0.6]}
        for n in range(min(edits, 240))
    ]  # fmt: skip
    metrics = {
        "schema": 1, "model": "made up", "data": "rows", "commit": "0a1b2c3", "seeds": [0], "n_edits": edits,
        "methods": {**summarise(rows, index_sizes={"joint": edits}, resamples=10)},
        "localization": {"localizer": "cosine", "score": "cosine", "sites": SITES, "edits": localized},
    }  # fmt: skip
    metrics["methods"]["ldke"] |= {"seconds_per_edit": 0.5, "seconds_localize": 0.0001, "bytes_per_edit": 28672.0}
    write_results(folder / "results.csv", rows)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "config.yaml").write_text("", encoding="utf-8")
    write_report(folder / "report.html", metrics, rows, title="Edits of a made-up model")
    return folder
