"""Teacher-forced losses against a plain pass; and the fingerprint that ties edits to a base."""

import copy

import torch
from PIL import Image
from torch.nn import functional as F

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.data import Question


def test_losses_are_those_of_a_plain_pass_over_each_row(backbone: Backbone, pictures: list[Image.Image]) -> None:
    questions = [Question(pictures[0], "Which country is this?"), Question(None, "Who?"), Question(pictures[1], "Why?")]
    answers = ["Balumo", "Ada Lovelace the second", "x"]
    batch, labels = backbone.prompts.encode_answers(questions, answers)
    with torch.no_grad():
        found = answer_logits(backbone, batch, labels)
        alone = []
        for question, answer in zip(questions, answers, strict=True):
            single, told = backbone.prompts.encode_answers([question], [answer])
            logits = backbone.model(**single).logits
            alone.append(F.cross_entropy(logits[0, :-1], told[0, 1:], ignore_index=-100))
    assert found.logits.shape == (int((labels != -100).sum()), backbone.model.config.text_config.vocab_size)
    torch.testing.assert_close(found.loss_per_row(), torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_fingerprint_depends_on_the_weights_below_alone(backbone: Backbone) -> None:
    model = copy.deepcopy(backbone.model)
    other = Backbone(model, backbone.processor, "other")
    assert other.fingerprint(2) == backbone.fingerprint(2) != backbone.fingerprint(3)
    with torch.no_grad():
        other.layers[3].mlp.down_proj.weight[0, 0] += 1
        assert other.fingerprint(2) == backbone.fingerprint(2)
        assert other.fingerprint(3) != backbone.fingerprint(3)
        model.model.vision_tower.get_parameter("post_layernorm.bias")[0] += 1
        assert other.fingerprint(0) != backbone.fingerprint(0)


def test_backbone_freezes_its_model(backbone: Backbone) -> None:
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
