"""From scores to sites: which are chosen, what a text-only edit may get, and the localizers by name."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.config import LocalizerConfig
from ldke_pl.data import EditRequest
from ldke_pl.errors import ArtefactError, ConfigError, EditError
from ldke_pl.localize import Calibration, build_localizer, rank_sites, select_sites
from ldke_pl.localize.base import standardised
from ldke_pl.localize.gradients import SCORES
from ldke_pl.localize.readout import Readout, fit_readout

Scored = Callable[[Tensor], None]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Scored:
    """Makes the localizers see given raw scores, (edits, sites)."""

    def give(raw: Tensor) -> None:
        monkeypatch.setattr("ldke_pl.localize.base.gradient_scores", lambda *_: {s: raw.clone() for s in SCORES})

    return give


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    told = [EditRequest(None, "Who leads Balumo?", f"name {i}", "text") for i in range(2)]
    return [told[0], EditRequest(pictures[0], "Which country is this?", "Balumo", "entity"), told[1]]


@pytest.mark.parametrize("seed", range(5))
def test_chosen_sites_reach_tau_times_the_best_and_come_best_first(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(6, 5, generator=generator)
    scores[::2, seed % 5] = -torch.inf
    tau, most = 0.2 + 0.08 * seed, 1 + seed % 5
    for row, chosen in zip(scores, select_sites(scores, list("abcde"), tau, most), strict=True):
        reaching = {s: v for s, v in zip("abcde", row.tolist(), strict=True) if v >= tau * row.max()}
        assert list(chosen) == sorted(reaching, key=lambda s: -reaching[s])[:most]
        assert "abcde"[seed % 5] not in chosen or row[seed % 5] > 0


def test_ranking_holds_every_site_that_can_be_written_and_equals_in_order() -> None:
    scores = torch.tensor([[-1.0, 2.0, -torch.inf], [0.5, 0.5, 0.5]])
    assert rank_sites(scores, ["a", "b", "c"]) == [("b", "a"), ("a", "b", "c")]


@pytest.mark.parametrize("name", ["cosine", "readout", "all", "random"])
def test_text_only_edit_never_gets_the_connector(
    backbone: Backbone, requests: list[EditRequest], scored: Scored, name: str
) -> None:
    sites = len(backbone.sites)
    raw = torch.rand(3, sites)
    raw[:, 0] = 1e3
    scored(raw)
    weights = torch.zeros(len(SCORES) * sites, sites)
    readout = Readout([0.0] * len(weights), [1.0] * len(weights), weights.tolist(), [9.0] + [8.9] * (sites - 1))
    calibration = Calibration({s: dict.fromkeys(backbone.sites, (0.0, 1.0)) for s in SCORES}, {}, readout)
    for seed in range(5):
        config = LocalizerConfig(name=name, tau=0.1, max_sites=sites)
        chosen = build_localizer(backbone, config, calibration, seed)(requests)
        assert all(chosen) and CONNECTOR not in chosen[0] + chosen[2]
        assert name == "random" or CONNECTOR in chosen[1]


@pytest.mark.parametrize("fault", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_are_an_error(
    backbone: Backbone, requests: list[EditRequest], scored: Scored, fault: float
) -> None:
    raw = torch.rand(3, len(backbone.sites))
    raw[1, 4] = fault
    scored(raw)
    with pytest.raises(EditError, match=r"scores are not numbers.*Who leads Balumo"):
        build_localizer(backbone, LocalizerConfig(name="cosine"), Calibration())(requests)


def test_controls_look_at_the_text_alone(backbone: Backbone, requests: list[EditRequest]) -> None:
    def found(name: str, asked: list[EditRequest], seed: int = 0) -> list[tuple[str, ...]]:
        return build_localizer(backbone, LocalizerConfig(name=name), Calibration(), seed)(asked)

    assert found("middle", requests) == [("decoder.4",)] * 3
    assert found("last", requests) == [("decoder.7",)] * 3
    assert found("all", requests)[0] == tuple(f"decoder.{i}" for i in range(8))
    assert found("random", requests) == found("random", requests[::-1])[::-1]
    many = [EditRequest(requests[1].image, "Which country is this?", f"name {i}") for i in range(100)]
    assert {s for (s,) in found("random", many)} == set(backbone.sites)
    assert found("random", many) != found("random", many, seed=1)


def test_kinds_take_their_best_site_and_others_are_scored(
    backbone: Backbone, requests: list[EditRequest], scored: Scored, caplog: pytest.LogCaptureFixture
) -> None:
    raw = torch.zeros(2, len(backbone.sites))
    raw[0, 3], raw[1, 6] = 1, 1
    scored(raw)
    calibration = Calibration(best_fixed={"entity": CONNECTOR})
    with caplog.at_level(logging.WARNING):
        localize = build_localizer(backbone, LocalizerConfig(name="best_fixed_per_kind"), calibration)
    assert "cosine is used instead" in caplog.text
    assert localize(requests) == [("decoder.2",), (CONNECTOR,), ("decoder.5",)]


@pytest.mark.parametrize(("name", "site"), [("fixed", "decoder.99"), ("fixed", None), ("nonsense", None)])
def test_unknown_localizers_and_sites_are_refused(backbone: Backbone, name: str, site: str | None) -> None:
    with pytest.raises(ConfigError, match="choose one of"):
        build_localizer(backbone, LocalizerConfig(name=name, site=site), Calibration())


def test_standardised_scores_are_shares_of_validation_edits() -> None:
    raw = torch.tensor([[1.0, 30.0], [3.0, 10.0]])
    found = standardised(raw, ["a", "b"], {"a": (2.0, 1.0), "b": (10.0, 20.0)})
    torch.testing.assert_close(found, torch.tensor([[0.1587, 0.8413], [0.8413, 0.5]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        standardised(raw, ["a", "b"], {})[:, 0], torch.tensor([0.1587, 0.8413]), atol=1e-4, rtol=0
    )


def test_readout_recovers_a_planted_linear_relation() -> None:
    generator = torch.Generator().manual_seed(0)
    logs = torch.randn(400, len(SCORES), 3, generator=generator)
    planted = torch.randn(len(SCORES) * 3, 3, generator=generator)

    def quality(patterns: Tensor) -> Tensor:
        return patterns.flatten(1) @ planted + torch.tensor([0.5, -1.0, 2.0])

    def scores(patterns: Tensor) -> dict[str, Tensor]:
        return {name: patterns[:, i].exp() for i, name in enumerate(SCORES)}

    readout = fit_readout(scores(logs), quality(logs).tolist(), ridge=1e-3)
    unseen = torch.randn(20, len(SCORES), 3, generator=generator)
    torch.testing.assert_close(readout.predict(scores(unseen)), quality(unseen), atol=1e-2, rtol=1e-2)
    strong = fit_readout(scores(logs), quality(logs).tolist(), ridge=1e9)
    mean = quality(logs).mean(0).expand(20, 3)
    torch.testing.assert_close(strong.predict(scores(unseen)), mean, atol=1e-2, rtol=1e-2)


def test_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    readout = Readout([0.0], [1.0], [[2.0]], [3.0])
    made = Calibration({"cosine": {"decoder.0": (1.0, 2.0)}}, {"entity": CONNECTOR}, readout)
    made.save(tmp_path / "deep" / "router")
    found = Calibration.load(tmp_path / "deep" / "router")
    assert (found.best_fixed, found.readout) == (made.best_fixed, made.readout)
    assert [*found.standard["cosine"]["decoder.0"]] == [1.0, 2.0]
    assert Calibration.load(tmp_path) == Calibration.load(None) == Calibration()
    (tmp_path / "localizer.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"localizer\.json cannot be read"):
        Calibration.load(tmp_path)


def test_scores_below_zero_still_choose_the_best() -> None:
    scores = torch.tensor([[-0.1, -0.2, -torch.inf], [-torch.inf, -torch.inf, -torch.inf]])
    assert select_sites(scores, ["a", "b", "c"], 0.9, 3) == [("a",), ()]
