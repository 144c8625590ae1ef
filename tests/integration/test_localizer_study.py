"""Calibrating localizers on validation edits and judging them on others, as a user does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, Outcome, check_fault

from ldke_pl.report.localizers import study_page

SMALL = ["router=radius", "editor=ldke", "editor.ldke.steps=1", "logger=none", "run.sample=1"]


def call(module: str, *arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", f"ldke_pl.{module}", *SMALL, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def calibrated(tiny: list[str], tmp_path: Path) -> list[str]:
    """Arguments with a model whose localizers are calibrated."""
    arguments = [*tiny, f"model.router={tmp_path / 'router'}"]
    outcome = call("calibrate", *arguments)
    assert outcome.status == 0, outcome.err
    return arguments


def test_localizers_are_judged_with_what_validation_fitted(calibrated: list[str], tmp_path: Path) -> None:
    stored = json.loads((tmp_path / "router" / "localizer.json").read_text())
    compared = json.loads((tmp_path / "run" / "localizers.json").read_text())
    assert {*compared} == {"n", "sites", "best_fixed", "localizers"}
    outcome = call("localizer_study", *calibrated, "localizer.site=decoder.0")
    assert outcome.status == 0, outcome.err
    study = json.loads((tmp_path / "run" / "study.json").read_text())
    assert study["best_fixed"] == stored["best_fixed"]
    assert study["sites"] == ["connector", *(f"decoder.{i}" for i in range(8))]
    for case in study["cases"]:
        assert {*case["quality"]} == {*study["sites"], "all"}
        assert sorted(case["ranked"]["cosine"]) == sorted(study["sites"])
        assert len(case["ranked"]["middle"]) == 1
        assert case["ranked"]["fixed"] == ["decoder.0"]
    found = study["figures"]["all"]
    assert found["oracle"]["regret_1"]["value"] == 0
    assert all("regret_3" in found[name] for name in ("cosine", "readout", "random"))
    assert {*found["cosine"]["minus"]} == {"best_fixed_per_kind", "fixed"}
    costs, one = study["costs"], study["costs"]["one forward"]["tokens"]
    assert costs["middle"]["tokens"] == 0
    assert costs["cosine"]["tokens"] >= 7 * one  # the old answer, and forward and backward over two rows
    assert {*study["edit_costs"]} == {*study["sites"], "all"}
    assert (tmp_path / "run" / "results.md").read_text() == study_page(study)


def test_a_model_without_calibration_is_refused(tiny: list[str]) -> None:
    check_fault(call("localizer_study", *tiny), "No localizer was calibrated", "ldke_pl.calibrate")
