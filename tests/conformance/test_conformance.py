"""Every check of ``ldke_pl.conformance`` on tiny models of the published families, briefly trained.

What a family cannot do is listed in ``LIMITS`` with the reason that a user is given; the README's table says the same.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families.fit import TAUGHT, fit
from families.models import FAMILIES
from torch import nn
from transformers.utils.import_utils import is_torchvision_available

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.config import ModelConfig
from ldke_pl.conformance import CHECKS, NotPossibleError, Subject
from ldke_pl.conformance.subject import PICTURES, SETTINGS
from ldke_pl.data import Question
from ldke_pl.errors import ModelError

ONE_PICTURE, NO_TEMPLATE = "puts one picture before each text", "has no chat template"
LIMITS = {
    ("blip_2", "one_of_two_pictures_is_edited"): ONE_PICTURE,
    ("blip_2", "later_turns_keep_the_route"): NO_TEMPLATE,
    ("instructblip", "one_of_two_pictures_is_edited"): ONE_PICTURE,
    ("instructblip", "later_turns_keep_the_route"): NO_TEMPLATE,
    ("paligemma", "later_turns_keep_the_route"): NO_TEMPLATE,
    ("pixtral", "pictures_are_encoded_once"): "takes the pictures of a batch as one sequence",
}
NEED_TORCHVISION = {"pixtral"}
THREADS = 1
"""Models this small are faster on one, and far faster where other programs keep the cores busy."""

LARGE_STEPS = replace(SETTINGS, lr=1e-1, steps=120)
"""A model of width 32 takes larger steps than the default, which is meant for a user's."""


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """A family's tiny model that has learned a few answers."""
    if request.param in NEED_TORCHVISION and not is_torchvision_available():
        pytest.skip(f"the processor of {request.param} needs torchvision, which does not fit a CPU build of torch")
    backbone = fitted(request.param)
    top = len(backbone.layers) - 1
    before = backbone.fingerprint(top)
    yield Subject(backbone, LARGE_STEPS)
    assert backbone.fingerprint(top) == before


def fitted(family: str) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fit(Backbone(*FAMILIES[family](), family))


def test_the_tiny_model_has_learned_its_answers(subject: Subject) -> None:
    asked = [Question(None if i is None else PICTURES[i], prompt) for i, prompt in TAUGHT]
    assert greedy_answers(subject.backbone, subject.backbone.prompts.encode(asked)) == list(TAUGHT.values())


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_family(subject: Subject, check: object) -> None:
    name = check.__name__  # type: ignore[attr-defined]
    limit = LIMITS.get((subject.backbone.name, name))
    if limit is None:
        CHECKS[name](subject)
        return
    with pytest.raises(NotPossibleError, match=limit):
        CHECKS[name](subject)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "mllama"])
def test_family_in_half_precision(family: str, dtype: torch.dtype) -> None:
    """The base in half precision, deltas in fp32."""
    built = fitted(family)
    subject = Subject(Backbone(built.model.to(dtype), built.processor, family), LARGE_STEPS)
    for check in CHECKS.values():
        check(subject)
    tensors = [t for e in subject.edits_at("connector") for d in e.deltas.values() for t in d.tensors()]
    assert {t.dtype for t in tensors} == {torch.float32}


def test_family_in_eight_bits(tmp_path: Path) -> None:
    """The base's weights in 8 bits (weights alone: activations that are quantised by batch would mix its rows)."""
    pytest.importorskip("torchao", reason="torchao is not installed: it is in the extra [quantized]")
    built = fitted("llava")
    built.model.save_pretrained(tmp_path)
    built.processor.save_pretrained(tmp_path)
    backbone = load_backbone(ModelConfig(name=str(tmp_path), quantization="torchao-int8"))
    subject = Subject(backbone, LARGE_STEPS)
    for check in CHECKS.values():
        check(subject)
    assert backbone.fingerprint(3) != built.fingerprint(3)


def test_bases_that_quantise_a_batch_together_are_refused() -> None:
    built = fitted("llava")
    kind = type("Linear8bitLt", (nn.Linear,), {})  # as bitsandbytes' class is called
    built.model.model.language_model.layers[0].mlp.down_proj = kind(48, 32)
    with pytest.raises(ModelError, match="torchao-int8"):
        Backbone(built.model, built.processor, "eight")
