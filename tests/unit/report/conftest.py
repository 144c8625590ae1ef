"""A small run with figures written by hand, and a factory of result rows."""

from collections.abc import Callable
from typing import Any

import pytest

from ldke_pl.metrics.results import ProbeResult


def entry(value: float, n: int, lo: float, hi: float) -> dict[str, float]:
    return {"value": value, "n": n, "lo": lo, "hi": hi}


@pytest.fixture
def metrics() -> dict[str, Any]:
    """Two methods in single mode, one group, the floor written last as in no particular order."""
    kinds = {
        "reliability": entry(0.982, 60, 0.975, 0.989),
        "text_locality": entry(1.0, 58, 0.962, 1.0),
        "average": entry(0.991, 118, 0.98, 0.995),
    }
    floor = {
        "reliability": entry(0.0, 60, 0.0, 0.0),
        "text_locality": entry(1.0, 60, 1.0, 1.0),
        "portability_1": entry(0.05, 60, 0.01, 0.1),
        "average": entry(0.35, 180, 0.33, 0.37),
    }
    unrouted = {"reliability": entry(0.99, 60, 0.98, 1.0), "text_locality": entry(0.125, 60, 0.1, 0.2)}
    ldke = {
        "protocol": {"generate": {"all": kinds, "entity": kinds}, "masked": {"all": kinds, "entity": kinds}},
        "unrouted": {"all": unrouted, "entity": unrouted},
        "ceiling": {"all": {"portability_1": entry(0.9, 40, 0.8, 0.95)}},
        "router": {
            "index_size": 300, "tpr": 0.97, "fpr": 0.041, "misroute": 0.022,
            "by_kind": {"reliability": {"tpr": 0.981, "misroute": 0.013}, "text_locality": {"fpr": 0.041}},
            "held_out_relations": {"tpr": 0.791, "by_kind": {}},
        },
        "seconds_per_edit": 0.61, "seconds_localize": 0.0213, "bytes_per_edit": 18432,
    }  # fmt: skip
    # "no_edit" gets an unrouted part only to see that it is not shown: there is no edit to force on.
    no_edit = {"protocol": {"generate": {"all": floor}}, "unrouted": {"all": floor}, "ceiling": {}}
    methods = {"ldke": {"single": ldke}, "no_edit": {"single": no_edit}}
    return {
        "schema": 1, "model": "tiny", "data": "atlas", "commit": "0a1b2c3", "seeds": [0, 1], "n_edits": 60,
        "methods": methods,
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_row() -> Callable[..., ProbeResult]:
    """Build a row of results; by default a relevant probe of one edit, routed to it and answered right."""
    defaults: dict[str, Any] = {
        "method": "ldke", "mode": "single", "protocol": "generate", "seed": 0, "case_id": "c0", "group": "",
        "entity": "", "edit_relation": "", "kind": "reliability", "relation": "", "image": "", "prompt": "who?",
        "expected": "y", "before": "x", "after": "y", "after_unrouted": "y", "score": 1.0, "score_unrouted": 1.0,
        "score_no_edit": 0.0, "ceiling": None, "relevant": True, "route": "e0", "edit_id": "e0", "sites": "connector",
        "threshold": 0.5,
    }  # fmt: skip

    def make(**changes: Any) -> ProbeResult:
        return ProbeResult(**{**defaults, **changes})

    return make
