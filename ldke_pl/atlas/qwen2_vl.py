"""A second Atlas MLLM, of another family: Qwen2-VL's vision encoder and M-RoPE around the first one's decoder. Ours.

Large MLLMs start from a trained language model and a trained vision encoder; so does this one, from the committed
LLaVA-like model. The decoder, whole, gives the same logits on a text, where M-RoPE's three positions are equal. Five of
its layers are kept, so that the folder has less than 10 MB; they are trained on texts again for a while. The tower
gives its blocks and its patch embedding, for patches of half the side; its absolute positions have no place here.
:mod:`~ldke_pl.atlas.pretrain_qwen2_vl` has the stages.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.modeling_qwen2_vl import rotate_half
from transformers.vision_utils import get_vision_position_ids

from ldke_pl.atlas.tokenizer import CHAT_TEMPLATE
from ldke_pl.atlas.tower import blocks, normalised
from ldke_pl.atlas.training import VISION_WIDTH, WIDTH
from ldke_pl.backbone.load import ATLAS
from ldke_pl.backbone.processors import without_videos

PATCH, MERGE, FRAMES = 8, 2, 2
CELL = PATCH * MERGE
"""Side of what one image token stands for, in pixels."""

KEPT, INNER = (0, 1, 3, 4, 6), 512
"""The donor's layers that are kept, and how many neurons of each: of all choices of five layers, the one that answers
texts best before any training. The folder then has less than 10 MB."""

SECTIONS = (0, 0, 8, 0, 8, 8, 8)
"""How M-RoPE deals a head's 32 frequencies, from the fastest: to time, height and width by turns. The column has the
fastest, so that a row is read like a text: with a caption's true embeddings in a picture's place, a decoder that has
read nothing but texts tells all of 96 names; with frequencies dealt one by one, 0.81 of them."""

MARKS = ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>")
"""Qwen2-VL's own tokens, added to the first model's, whose ``<image>`` stays the placeholder."""


def build_model(vocabulary: int, layers: int = len(KEPT), inner: int = INNER) -> Qwen2VLForConditionalGeneration:
    """An untrained model, as wide as the donor; ``inner`` neurons in each of the decoder's ``layers``."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(SECTIONS)}
    text = {
        "hidden_size": WIDTH, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 4,
        "num_key_value_heads": 4, "vocab_size": vocabulary, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "rope_parameters": rope, "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    vision = {
        "depth": 4, "embed_dim": VISION_WIDTH, "hidden_size": WIDTH, "num_heads": 4, "mlp_ratio": 4,
        "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": FRAMES,
    }  # fmt: skip
    start = vocabulary - len(MARKS)
    config = Qwen2VLConfig(
        text_config=text, vision_config=vision, image_token_id=3, video_token_id=start + 2,
        vision_start_token_id=start, vision_end_token_id=start + 1, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen2VLForConditionalGeneration(config)


def transplant(
    model: Qwen2VLForConditionalGeneration, donor: LlavaForConditionalGeneration, kept: Sequence[int] = KEPT
) -> None:
    """Put the donor's decoder and tower into the model; biases that the donor lacks are zero.

    The new marks' rows of the embedding table start as the user's mark's.

    Args:
        kept: which of the donor's layers; of each, the neurons with the largest weights are taken.
    """
    decoder, source = model.model.language_model, donor.model.language_model.float()
    size, table = decoder.config.intermediate_size, source.embed_tokens.weight.detach()
    new = decoder.embed_tokens.weight.shape[0] - len(table)
    state = {"embed_tokens.weight": torch.cat([table, table[5:6].expand(new, -1)])}
    state["norm.weight"] = source.norm.weight
    for place, number in enumerate(kept):
        layer = source.layers[number].state_dict()
        gate, up, down = (layer[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
        chosen = (gate.norm(dim=1) * up.norm(dim=1) * down.norm(dim=0)).topk(size).indices.sort().values
        for name, value in (("gate", gate[chosen]), ("up", up[chosen]), ("down", down[:, chosen])):
            layer[f"mlp.{name}_proj.weight"] = value
        state |= {f"layers.{place}.{name}": value for name, value in layer.items()}
    biases = {name: torch.zeros_like(value) for name, value in decoder.state_dict().items() if name.endswith(".bias")}
    decoder.load_state_dict(biases | state)
    model.tie_weights()
    visual, tower = model.model.visual, donor.model.vision_tower.float()
    visual.load_state_dict(_tower(tower.state_dict(), len(visual.blocks)), strict=False)


def _tower(source: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """A CLIP tower's weights under the names of Qwen2-VL's vision encoder, which has neither positions nor a bias."""
    source = {name.removeprefix("vision_model."): value for name, value in source.items()}
    names = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj"}
    names |= {layer: layer for layer in ("mlp.fc1", "mlp.fc2")}
    embedding = {"patch_embed.proj.weight": _patch_embedding(source)}
    return embedding | blocks(source, depth, names, "blocks", "attn.qkv")


def _patch_embedding(source: dict[str, Tensor]) -> Tensor:
    """What the tower makes of a patch at twice its size, over the frames, (width, 3, FRAMES, PATCH, PATCH)."""
    kernel = source["embeddings.patch_embedding.weight"]
    enlarged = (PATCH, kernel.shape[-1] // PATCH) * 2
    kernel = normalised(kernel.reshape(*kernel.shape[:2], *enlarged).sum((3, 5)), source)
    return torch.stack([kernel / FRAMES] * FRAMES, 2)


def build_tokenizer(source: Path = ATLAS) -> PreTrainedTokenizerFast:
    """The donor's tokenizer with the marks added, and the marks in its chat template."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(source)
    tokenizer.add_tokens(list(MARKS), special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<image>", "<|vision_start|><image><|vision_end|>")
    return tokenizer


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2VLProcessor:
    """An ordinary Qwen2-VL processor: one image token for ``CELL`` x ``CELL`` pixels, between 9 and 36 of them."""
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 48 * 48, "longest_edge": 96 * 96}, patch_size=PATCH, merge_size=MERGE,
        temporal_patch_size=FRAMES,
    )  # fmt: skip
    kind: Any = without_videos(Qwen2VLProcessor)
    processor: Qwen2VLProcessor = kind(images, tokenizer, chat_template=tokenizer.chat_template)
    return processor


def patchify(pixels: Tensor) -> Tensor:
    """Normalised pictures (n, 3, height, width) as the processor flattens them: (n x patches, 3 x FRAMES x PATCH^2)."""
    n, channels, height, width = pixels.shape
    cells = pixels.reshape(n, channels, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH)
    patches = cells.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, channels, 1, PATCH, PATCH)
    return patches.expand(-1, -1, FRAMES, -1, -1).flatten(1)


def look(visual: Any, patches: Tensor, grid: Tensor) -> Tensor:
    """What the vision encoder's blocks make of pictures of one size, (pictures, patches, width).

    Its own forward pass attends picture by picture, which takes over a third of a training step on a CPU.

    Args:
        visual: the vision encoder.
        patches: as :func:`patchify` gives them.
        grid: one row for each picture, all the same.
    """
    flat = F.linear(patches, visual.patch_embed.proj.weight.flatten(1))
    states = flat.view(len(grid), -1, flat.shape[-1])
    places = get_vision_position_ids(grid[:1], visual.spatial_merge_size)
    cos, sin = (turn.to(flat.dtype) for turn in visual.rotary_pos_emb(states, places))
    for block in visual.blocks:
        heads = block.attn.qkv(block.norm1(states)).unflatten(-1, (3, block.attn.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        q, k = (x * cos + rotate_half(x) * sin for x in (q, k))
        mixed = (q @ k.transpose(-1, -2) * block.attn.scaling).softmax(-1).to(v.dtype) @ v
        states = states + block.attn.proj(mixed.transpose(1, 2).flatten(2))
        states = states + block.mlp(block.norm2(states))
    return states
