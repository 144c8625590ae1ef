"""Gradient scores of sites: against a plain backward pass, and the same in a batch as alone."""

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.hooks import captured
from ldke_pl.data import EditRequest, Question
from ldke_pl.localize.gradients import SCORES, gradient_scores


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldke_pl.backbone.forward.NEW_TOKENS", 3)


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    shown = [EditRequest(p, q, a) for p, q, a in zip(pictures, ("Who?", "Which country is this?"), "xy", strict=False)]
    return [shown[0], EditRequest(None, "Who leads Balumo, and since when?", "Ada Lovelace"), shown[1]]


def test_a_batch_gives_the_scores_of_single_requests(backbone: Backbone, requests: list[EditRequest]) -> None:
    together = gradient_scores(backbone, requests)
    apart = [gradient_scores(backbone, [r]) for r in requests]
    for name in SCORES:
        assert together[name].shape == (3, len(backbone.sites))
        # Attribution is a small difference of large numbers.
        torch.testing.assert_close(together[name], torch.cat([a[name] for a in apart]), atol=1e-6, rtol=2e-3)
    for scores in together.values():
        connector = list(backbone.sites).index(CONNECTOR)
        assert scores[1, connector] == 0
        assert (scores[[0, 2], :-1] > 0).all() and (scores[1, 1:] > 0).all()


def test_gradient_is_the_mean_norm_over_the_question(backbone: Backbone, requests: list[EditRequest]) -> None:
    request = requests[1]
    batch, labels = backbone.prompts.encode_answers([Question(None, request.prompt)], [request.target])
    with captured({"layer": backbone.layers[3]}, keep_graph=True) as states:
        logits = backbone.model(**batch).logits
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:])
    (gradient,) = torch.autograd.grad(loss, [states["layer"]])
    asked = labels[0] == -100
    wanted = gradient[0, asked].norm(dim=-1).mean()
    found = gradient_scores(backbone, [request])["gradient"][0, list(backbone.sites).index("decoder.3")]
    torch.testing.assert_close(found, wanted, atol=1e-7, rtol=1e-3)
