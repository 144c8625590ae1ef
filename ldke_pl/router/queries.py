"""Every query in one form: a single user turn with at most one picture and the last question. Ours.

Earlier turns, system prompts and padding can then not change a route. A row with several pictures becomes a query for
each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.pictures import Pictures, by_row
from ldke_pl.backbone.prompts import per_token


@dataclass(frozen=True)
class Queries:
    """Canonical queries of a batch.

    Args:
        rows: batch row of each query, (queries,). A row with several pictures has a query for each.
        images: position of each query's picture among the batch's pictures, -1 for none, (queries,).
        inputs: the model's inputs, left-padded.
    """

    rows: Tensor
    images: Tensor
    inputs: dict[str, Any]


def canonical(backbone: Backbone, batch: Mapping[str, Any]) -> Queries:
    """Bring a batch of model inputs to canonical queries.

    Raises:
        ModelError: pictures that stand side by side cannot be told apart.
    """
    prompts, ids = backbone.prompts, batch["input_ids"]
    question = prompts.last_question(ids, batch["attention_mask"])
    pictures = prompts.pictures(batch)
    rows, images, places = [], [], []
    for row in range(len(ids)):
        text = question[row].nonzero()[:, 0]
        for picture in (pictures.rows == row).nonzero()[:, 0].tolist() or [-1]:
            rows.append(row)
            images.append(picture)
            span = torch.arange(*(pictures.spans[picture] if picture >= 0 else (0, 0)), device=ids.device)
            places.append(torch.cat([span, text]))
    opening = torch.tensor(prompts.grammar.opening, device=ids.device, dtype=ids.dtype)
    inputs: dict[str, Any] = {}
    for name in per_token(batch):
        value, pad = batch[name], prompts.tokenizer.pad_token_id if name == "input_ids" else 0
        before = opening if name == "input_ids" else value.new_zeros(len(opening), *value.shape[2:])
        before = torch.ones_like(opening) if name == "attention_mask" else before
        parts = [torch.cat([before, value[row, at]]) for row, at in zip(rows, places, strict=True)]
        inputs[name] = pad_sequence(parts, batch_first=True, padding_value=pad, padding_side="left")
    if max(images) >= 0:
        inputs |= _pixels(batch, pictures, images, prompts.image_token_id)
        if "cross_attention_mask" in batch:
            inputs["cross_attention_mask"] = _looking_at(inputs, batch, pictures, images, prompts.image_token_id)
    return Queries(torch.tensor(rows), torch.tensor(images), inputs)


def _pixels(batch: Mapping[str, Any], pictures: Pictures, images: list[int], placeholder: int) -> dict[str, Any]:
    """Picture inputs for one picture per query; where they are kept by picture they are used as they are."""
    named = per_token(batch)
    others = {n: v for n, v in batch.items() if n not in named and isinstance(v, Tensor)}
    if not by_row(batch["pixel_values"], batch):
        return others
    slots = [_slots(batch, pictures, image, placeholder) for image in images]
    most = max(end - start for _, start, end in slots)
    found = {}
    for name, value in others.items():
        found[name] = value.new_zeros(len(images), most, *value.shape[2:])
        if name == "aspect_ratio_mask":
            found[name][..., 0] = 1  # as in ldke_pl.backbone.pictures.fills_rows
        for query, (row, start, end) in enumerate(slots):
            found[name][query, : end - start] = value[row, start:end]
    return found


def _slots(batch: Mapping[str, Any], pictures: Pictures, image: int, placeholder: int) -> tuple[int, int, int]:
    """Where a picture's pixels are: batch row, first slot, and the slot after its last."""
    if image < 0:
        return 0, 0, 0
    row = int(pictures.rows[image])
    if "cross_attention_mask" in batch:
        slot = image % batch["pixel_values"].shape[1]
        return row, slot, slot + 1
    start, end = pictures.spans[image]
    there = torch.nn.functional.pad(batch["input_ids"][row] == placeholder, (1, 0))
    tiles = there[1:] & ~there[:-1]  # each tile is one run of placeholders
    return row, int(tiles[:start].sum()), int(tiles[:end].sum())


def _looking_at(
    inputs: dict[str, Any], batch: Mapping[str, Any], pictures: Pictures, images: list[int], placeholder: int
) -> Tensor:
    """Mllama's mask of which tokens look at which tiles: those from a query's picture on at that picture's."""
    mask = batch["cross_attention_mask"]
    seq, slots = inputs["input_ids"].shape[1], batch["pixel_values"].shape[1]
    found: Tensor = mask.new_zeros(len(images), seq, 1, mask.shape[-1])
    for query, image in enumerate(images):
        if image >= 0:
            row, (start, _) = int(pictures.rows[image]), pictures.spans[image]
            at = int((inputs["input_ids"][query] == placeholder).nonzero()[0])
            found[query, at:, 0] = mask[row, start, image % slots]
    return found
