"""The truth about sites: every edit at every site where it can be made, and NaN elsewhere."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.config import EditConfig
from ldke_pl.data import EditCase, EditRequest
from ldke_pl.errors import ConfigError
from ldke_pl.localize import Calibration
from ldke_pl.runtime.exhaustive import Trial, exhaustive
from ldke_pl.runtime.session import Session


@dataclass
class FakeTrial:
    """Edits that are the names of their site, and as good as their case's number says."""

    session: Session

    def edits(self, sites: str) -> list[str]:
        return [sites] * len(self.session.cases)

    def quality(self, edits: list[str]) -> list[float]:
        numbers = [int(case.case_id) for case in self.session.cases]
        return [number + (edit == "all") / 10 for number, edit in zip(numbers, edits, strict=True)]


@pytest.fixture
def session(backbone: Backbone, pictures: list[Image.Image]) -> Session:
    images = [pictures[0], None, pictures[1]]
    cases = [EditCase(str(i), EditRequest(image, "Who?", "Ada"), ()) for i, image in enumerate(images)]
    return Session(EditConfig(), Path(), backbone, Mock(), Calibration(), cases, Mock(), False)


def test_a_text_only_edit_has_no_truth_at_the_connector(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "of", FakeTrial)
    made: list[str] = []

    @contextmanager
    def meter(name: str) -> Iterator[None]:
        made.append(name)
        yield

    quality = exhaustive(session, ["all"], meter)
    assert quality["decoder.0"] == [0, 1, 2]
    assert quality["all"] == pytest.approx([0.1, 1.1, 2.1])
    assert math.isnan(quality[CONNECTOR][1]) and quality[CONNECTOR][::2] == [0, 2]
    assert made.count("decoder.0") == 2 and made.count(CONNECTOR) == 1


def test_a_run_without_the_method_is_refused(session: Session) -> None:
    with pytest.raises(ConfigError, match="editor names no ldke"):
        Trial.of(session)
