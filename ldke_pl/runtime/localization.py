"""What the localizer made of a run's edits, for the report's heat map: a score per edit and site, and the choice."""

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ldke_pl.data import EditRequest
from ldke_pl.errors import EditError
from ldke_pl.localize import build_localizer, site_scores
from ldke_pl.localize.gradients import SCORES
from ldke_pl.runtime.session import Session

log = logging.getLogger(__name__)

MOST = 240
"""Edits that are scored, evenly from all over the data: as many as a page has room for, and a few percent of a run."""


def localization(session: Session) -> dict[str, Any] | None:
    """Scores and choices; None where no method let the localizer choose.

    A localizer that looks at no score (a fixed site, a control) still has the scores beside its choice, so that one
    sees what they would have said. Where they cannot be had there is the choice alone.
    """
    config, backbone = session.config, session.backbone
    asked = [n for n, e in config.editor.items() if e.sites == "localized" and session.costs[n].localize > 0]
    if not asked:
        return None
    size = config.editor[asked[0]].batch_size
    count = min(MOST, len(session.cases))
    cases = [session.cases[place * len(session.cases) // count] for place in range(count)]
    chunks = [[case.request for case in cases[i : i + size]] for i in range(0, count, size)]
    localize = build_localizer(backbone, config.localizer, session.calibration, config.run.seeds[0])
    chosen = [sites for chunk in chunks for sites in localize(chunk)]
    name = score_name(session)
    scores = _scores(session, name, chunks)
    return {
        "localizer": config.localizer.name, "score": name if scores else "", "sites": list(backbone.sites),
        "edits": [
            {"case_id": case.case_id, "group": case.group, "chosen": list(sites), "scores": row}
            for case, sites, row in zip(cases, chosen, scores or [[]] * count, strict=True)
        ],
    }  # fmt: skip


def score_name(session: Session) -> str:
    """The score that the localizer looks at, or else the best that the model is calibrated for."""
    if session.config.localizer.name in SCORES:
        return session.config.localizer.name
    return "readout" if session.calibration.readout else "cosine"


def _scores(session: Session, name: str, chunks: Sequence[Sequence[EditRequest]]) -> list[list[float | None]]:
    """Rows of scores, None for a site that an edit cannot be written at; no rows where the model gives no scores."""
    try:
        found = [site_scores(session.backbone, name, session.calibration, chunk) for chunk in chunks]
    except (EditError, RuntimeError) as fault:  # memory may do for editing one layer and not for this
        log.warning("The report shows no scores of sites: %s", str(fault).splitlines()[0])
        return []
    return [_rounded(row) for chunk in found for row in chunk]


def _rounded(row: Tensor) -> list[float | None]:
    return [round(value, 4) if value > float("-inf") else None for value in row.tolist()]
