"""A third Atlas MLLM, of BLIP-2's family (arXiv 2301.12597): vision encoder and Q-Former before a decoder. Ours.

As BLIP-2 starts from a trained language model and a trained vision encoder, so does this one, from the committed
LLaVA-like model, of which it keeps all layers. :mod:`~ldke_pl.atlas.pretrain_blip2` has the stages.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from ldke_pl.atlas.render import SIZE
from ldke_pl.atlas.tokenizer import CHAT_TEMPLATE, PATCH
from ldke_pl.atlas.tower import blocks, normalised
from ldke_pl.atlas.training import VISION_WIDTH, WIDTH
from ldke_pl.backbone.load import ATLAS

DEPTH = 4
"""Layers of the vision encoder, as many as the donor's has."""

QUERIES = 16
"""Query tokens of the Q-Former: what stands for a picture before the decoder."""


def build_model(text: Any) -> Blip2ForConditionalGeneration:
    """An untrained model around a decoder of configuration ``text``: encoder of 4 layers, Q-Former of 2."""
    vision = {
        "hidden_size": VISION_WIDTH, "intermediate_size": 512, "num_hidden_layers": DEPTH, "num_attention_heads": 4,
        "image_size": SIZE, "patch_size": PATCH, "initializer_range": 0.02, "hidden_act": "quick_gelu",
    }  # fmt: skip
    # The closing layer norm bounds what the projection to the decoder reads; without dropout, as little data is seen.
    qformer = {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
        "cross_attention_frequency": 1, "encoder_hidden_size": VISION_WIDTH, "vocab_size": text.vocab_size,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=text.to_dict(), num_query_tokens=QUERIES,
        image_token_index=3, tie_word_embeddings=True,  # type: ignore[call-arg]
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config)
    model.query_tokens.data.normal_(std=0.5)  # transformers leaves them zero, all alike
    return model


def transplant(donor: LlavaForConditionalGeneration) -> Blip2ForConditionalGeneration:
    """An untrained model with the donor's decoder and vision encoder."""
    model = build_model(donor.config.text_config)
    model.language_model.model.load_state_dict(donor.model.language_model.state_dict())
    model.tie_weights()
    model.vision_model.load_state_dict(_encoder(donor.model.vision_tower.state_dict()), strict=False)
    return model


def _encoder(source: dict[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP tower's weights under the names of BLIP-2's vision encoder; its closing norm stays as it begins."""
    source = {name.removeprefix("vision_model."): value for name, value in source.items()}
    positions = source["embeddings.position_embedding.weight"]
    placed = normalised(positions.T, source).T + source["pre_layrnorm.bias"]
    first = source["embeddings.class_embedding"] + positions[0]  # the same in every picture
    first = F.layer_norm(first, first.shape, source["pre_layrnorm.weight"], source["pre_layrnorm.bias"])
    parts = ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
    names = {part: part for part in parts} | {"self_attn.projection": "self_attn.out_proj"}
    embedding = {
        "embeddings.class_embedding": (first - placed[0])[None, None],
        "embeddings.position_embedding": placed[None],
        "embeddings.patch_embedding.weight": normalised(source["embeddings.patch_embedding.weight"], source),
        "embeddings.patch_embedding.bias": torch.zeros_like(first),
    }
    return embedding | blocks(source, DEPTH, names, "encoder.layers", "self_attn.qkv")


def build_tokenizer(source: Path = ATLAS) -> PreTrainedTokenizerFast:
    """The donor's tokenizer; its chat template writes a picture's tokens.

    ``Blip2Processor`` would put them before the mark that begins a conversation, where the decoder reads nothing yet.
    """
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(source)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<image>", "<image>" * QUERIES)
    return tokenizer


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Blip2Processor:
    """An ordinary BLIP-2 processor for pictures of ``SIZE`` x ``SIZE`` pixels."""
    images = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    processor = Blip2Processor(images, tokenizer)
    processor.chat_template = tokenizer.chat_template
    return processor
