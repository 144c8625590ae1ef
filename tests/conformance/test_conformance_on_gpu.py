"""Every check on every family's tiny model on a CUDA GPU, in half precision and few bits as well. Skipped without."""

from pathlib import Path

import pytest
import torch
from families.fit import fit
from families.models import FAMILIES

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.config import EditorConfig, ModelConfig
from ldke_pl.conformance import CHECKS, NotPossibleError, Subject

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")
SETTINGS = EditorConfig(
    cls="ldke_pl.editors.ldke.LDKE", lr=1e-1, eps=1e-4, steps=120, stop_loss=0.05, views=1, rank=8, batch_size=8
)
"""A model of width 32 takes larger steps than the default, which is meant for a user's."""


def fitted(family: str) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fit(Backbone(*FAMILIES[family](), family))


def passes_all(backbone: Backbone) -> None:
    assert backbone.device.type == "cuda"
    subject = Subject(backbone, SETTINGS)
    for check in CHECKS.values():
        try:
            check(subject)
        except NotPossibleError:
            continue


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str) -> None:
    built = fitted(family)
    built.model.to(GPU)
    passes_all(built)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "mllama"])
def test_family_in_half_precision(family: str, dtype: torch.dtype) -> None:
    built = fitted(family)
    passes_all(Backbone(built.model.to(GPU, dtype), built.processor, family))


@pytest.mark.parametrize("quantization", ["torchao-int8", "bitsandbytes-4bit"])
def test_family_in_few_bits(quantization: str, tmp_path: Path) -> None:
    pytest.importorskip(quantization.split("-")[0], reason="it is in the extra [quantized]")
    built = fitted("llava")
    built.model.save_pretrained(tmp_path)
    built.processor.save_pretrained(tmp_path)
    passes_all(load_backbone(ModelConfig(name=str(tmp_path), quantization=quantization), GPU))
