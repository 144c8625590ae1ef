"""Parts of ``edit.py`` that need no model: costs, times, and which cases are applied together."""

from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, load_config
from ldke_pl.data import EditCase, EditRequest
from ldke_pl.localize import Calibration
from ldke_pl.modules.editing import Timed
from ldke_pl.router import Router
from ldke_pl.runtime.session import Costs, Session

REQUESTS = [EditRequest(None, "Who?", name) for name in ("Ada", "Bo", "Cy", "Di")]


def session(joint: list[bool], limit: int) -> Session:
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", [f"run.joint={limit}"])
    cases = [EditCase(f"case-{i}", r, (), joint=j) for i, (r, j) in enumerate(zip(REQUESTS, joint, strict=True))]
    backbone, router = cast(Backbone, None), cast(Router, None)  # not looked at by what is tested here
    return Session(config, Path(), backbone, router, Calibration(), cases, Console(), logger=False)


def test_costs_are_per_edit() -> None:
    costs = Costs(1, 2.0, 0.5, 100) + Costs(3, 6.0, 1.5, 300)
    assert costs == Costs(4, 8.0, 2.0, 400)
    assert costs.figures() == {"seconds_per_edit": 2.0, "seconds_localize": 0.5, "bytes_per_edit": 100.0}
    assert Costs().figures() == {"seconds_per_edit": 0.0, "seconds_localize": 0.0, "bytes_per_edit": 0.0}


def test_time_of_localizing_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr("ldke_pl.modules.editing.time.perf_counter", lambda: next(clock))
    sites = Timed(lambda requests: [("decoder.0",)] * len(requests))
    assert sites(REQUESTS[:2]) == [("decoder.0",)] * 2
    sites(REQUESTS[:1])
    assert sites.seconds == 2.5


def test_joint_set_leaves_out_contradictions_and_keeps_to_its_limit() -> None:
    assert session([True, False, True, True], 300).joint() == [0, 2, 3]
    assert session([True, False, True, True], 2).joint() == [0, 2]
    assert session([False] * 4, 2).joint() == []
    assert session([True] * 4, 9).requests == REQUESTS
