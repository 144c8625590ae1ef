"""The exhaustive truth about sites: every case's edit made at every site alone, and judged by its routed quality."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from ldke_pl.data import AVERAGED_KINDS
from ldke_pl.edits import Edit
from ldke_pl.errors import ConfigError
from ldke_pl.localize.controls import possible
from ldke_pl.metrics.evaluator import Evaluator, Routes, Run
from ldke_pl.metrics.grouping import split
from ldke_pl.runtime.making import make_edits
from ldke_pl.runtime.session import Session

METHOD = "ldke"


def exhaustive(
    session: Session,
    controls: Sequence[str] = (),
    meter: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> dict[str, list[float]]:
    """Site -> routed quality of every case's edit made there; NaN where it cannot be made.

    Args:
        controls: choices of several sites, such as "all", that are edits of their own and are judged like a site.
        meter: gives, by site or control, what its edits are made inside of; judging them is outside.
    """
    places_of = split(range(len(session.cases)), lambda i: session.cases[i].request.image is None)
    quality = {name: [math.nan] * len(session.cases) for name in (*session.backbone.sites, *controls)}
    for places in places_of.values():
        trial = Trial.of(replace(session, cases=[session.cases[i] for i in places]))
        for name in (*possible(session.backbone.sites, trial.session.requests[0]), *controls):
            with meter(name):
                edits = trial.edits(name)
            for place, value in zip(places, trial.quality(edits), strict=True):
                quality[name][place] = value
    return quality


@dataclass(frozen=True)
class Trial:
    """Edits of a session's cases at sites of one's choice, each alone in the router's index.

    Args:
        routes: where each probe goes.
    """

    session: Session
    evaluator: Evaluator
    routes: Routes

    @classmethod
    def of(cls, session: Session) -> "Trial":
        """Ask the unedited model every probe, and route them: neither depends on the site."""
        if METHOD not in session.config.editor:
            raise ConfigError(f"editor names no {METHOD}, whose sites are compared.", f"set editor={METHOD}")
        evaluator = Evaluator(session.backbone, session.cases, ["generate"], session.config.run.batch_size)
        evaluator.ask_base()
        relevance = evaluator.relevance(session.router, session.router.keys(session.requests))
        routes = evaluator.single_routes(evaluator.own_column(relevance), session.router.threshold)
        return cls(session, evaluator, routes)

    def edits(self, sites: str) -> list[Edit]:
        """Every case's edit at ``sites``: one site, or a control such as "all"."""
        settings = replace(self.session.config.editor[METHOD], sites=sites)
        return make_edits(self.session, METHOD, settings, self.session.config.run.seeds[0])[1]

    def quality(self, edits: list[Edit]) -> list[float]:
        """Per case: its routed mean score over the averaged probe kinds, each kind counted alike."""
        scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in self.evaluator.rows(Run(METHOD, "single", 0), edits, self.evaluator.forced(edits), self.routes):
            if row.kind in AVERAGED_KINDS:
                scores[row.case_id][row.kind].append(row.score)
        return [float(np.mean([np.mean(v) for v in scores[c.case_id].values()])) for c in self.session.cases]
