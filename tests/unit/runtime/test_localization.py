"""What the report is told about sites: scores and choices of some edits, and never a failed run for want of them."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditConfig, EditorConfig, LocalizerConfig
from ldke_pl.data import EditCase, EditRequest
from ldke_pl.localize import Calibration
from ldke_pl.runtime import localization as module
from ldke_pl.runtime.localization import localization
from ldke_pl.runtime.session import Costs, Session


@pytest.fixture
def session(backbone: Backbone, pictures: list[Image.Image]) -> Session:
    """Three edits, the second without picture, by a method that let the localizer choose."""
    images = [pictures[0], None, pictures[1]]
    cases = [EditCase(f"c{i}", EditRequest(image, "Who?", "Ada"), (), group="g") for i, image in enumerate(images)]
    config = EditConfig(editor={"ldke": EditorConfig(cls="", batch_size=2)}, localizer=LocalizerConfig(name="middle"))
    costs = {"ldke": Costs(edits=3, localize=0.1)}
    return Session(config, Path(), backbone, Mock(), Calibration(), cases, Mock(), False, costs=costs)


def test_scores_stand_beside_a_choice_that_does_not_look_at_them(session: Session) -> None:
    found = localization(session)
    assert found is not None
    sites = list(session.backbone.sites)
    assert (found["localizer"], found["score"], found["sites"]) == ("middle", "cosine", sites)
    assert [(edit["case_id"], edit["group"]) for edit in found["edits"]] == [(f"c{i}", "g") for i in range(3)]
    middle = f"decoder.{len(session.backbone.layers) // 2}"
    assert all(edit["chosen"] == [middle] and len(edit["scores"]) == len(sites) for edit in found["edits"])
    assert [edit["scores"][0] is None for edit in found["edits"]] == [False, True, False]  # no picture, no connector


def test_a_score_that_chose_is_the_one_that_is_shown(session: Session) -> None:
    session.config.localizer = LocalizerConfig(name="gradient", tau=1.0, max_sites=1)
    found = localization(session)
    assert found is not None and found["score"] == "gradient"
    for edit in found["edits"]:
        known = {site: score for site, score in zip(found["sites"], edit["scores"], strict=True) if score is not None}
        assert known[edit["chosen"][0]] == max(known.values())


def test_too_many_edits_are_sampled_from_all_over(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    found = localization(session)
    assert found is not None and [edit["case_id"] for edit in found["edits"]] == ["c0", "c1"]


def test_a_model_that_gives_no_scores_costs_no_run(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(module, "site_scores", fail)
    found = localization(session)
    assert found is not None and found["score"] == ""
    assert [edit["scores"] for edit in found["edits"]] == [[], [], []]
    assert "out of memory" in caplog.text and "and more" not in caplog.text


@pytest.mark.parametrize("costs", [Costs(edits=3), Costs(edits=3, localize=0.1)])
def test_nothing_was_localized(session: Session, costs: Costs) -> None:
    session.costs["ldke"] = costs
    if costs.localize:
        session.config.editor["ldke"].sites = "last"
    assert localization(session) is None
