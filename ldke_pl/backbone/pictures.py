"""Which of a batch's tokens and pixels belong to which picture: found from the placeholders, family by family. Ours.

A picture's *span* in its row holds its placeholders and what the processor writes with them (start and end marks, tile
names, row breaks). The order of pictures is that in which the connector meets them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from ldke_pl.errors import ModelError

Span = tuple[int, int]
"""First position of a picture in its row, and the first one after it."""


@dataclass(frozen=True)
class Marks:
    """What a processor writes for a picture.

    Args:
        placeholder: id of the token whose states a picture's vectors take, or which stands for the picture.
        lead, trail: ids that it writes right before and right after the placeholders of any picture.
        within: ids of other tokens that can stand between two placeholders of one picture.
        last: id of the mark before the last of a picture's tiles, for a processor that names them (Idefics 3).
    """

    placeholder: int
    lead: tuple[int, ...] = ()
    within: frozenset[int] = frozenset()
    trail: tuple[int, ...] = ()
    last: int | None = None

    def spans(self, tokens: Sequence[int]) -> list[Span]:
        """The spans in one row of token ids; pictures that stand side by side unmarked share one."""
        kinds = "".join(self._kind(token) for token in tokens)
        pattern = r"p(?:[pw]*p)?" if self.last is None else r"w*(?:p+w+)*lp+w?"
        return [self._with_marks(tokens, *match.span()) for match in re.finditer(pattern, kinds)]

    @property
    def separate(self) -> bool:
        """Whether pictures side by side can be told apart by their marks."""
        return bool(self.lead or self.trail or self.last is not None)

    def _kind(self, token: int) -> str:
        if token in (self.placeholder, self.last):
            return "p" if token == self.placeholder else "l"
        return "w" if token in self.within else " "

    def _with_marks(self, tokens: Sequence[int], start: int, end: int) -> Span:
        lead, trail = len(self.lead), len(self.trail)
        if tuple(tokens[max(0, start - lead) : start]) == self.lead:
            start -= lead
        if tuple(tokens[end : end + trail]) == self.trail:
            end += trail
        return start, end


@dataclass(frozen=True)
class Pictures:
    """The pictures of a batch.

    Args:
        rows: batch row of each picture; -1 for a slot that only fills a row up, (pictures,) long.
        spans: where in its row each picture stands; (0, 0) for a slot that fills up.
        sizes: relative number of vectors that each has at the connector, (pictures,) long.
    """

    rows: Tensor
    spans: list[Span]
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def vectors(self, states: Tensor) -> tuple[Tensor, ...]:
        """What the connector gave, (..., width), by picture: (vectors, width) each.

        Raises:
            ModelError: it is no multiple of what the pictures' sizes say.
        """
        flat = states.reshape(-1, states.shape[-1])
        return torch.split(flat, shares(self.sizes, len(flat)))

    def numbered(self, rows: Tensor) -> Tensor:
        """What is said of rows said of pictures, (batch,) to (pictures,); -1 where there is no picture."""
        found = torch.where(self.rows >= 0, rows[self.rows.clamp_min(0)], -1)
        return found


def shares(sizes: Tensor, vectors: int) -> list[int]:
    """How many of the connector's vectors each picture has.

    Raises:
        ModelError: there are other numbers of vectors than the pictures' sizes say.
    """
    unit, rest = divmod(vectors, int(sizes.sum()))
    if rest:
        raise ModelError(
            f"The connector has {vectors} vectors, no multiple of the {int(sizes.sum())} that pictures account for.",
            "report the model's family: its pictures are laid out in a way that is not known here",
        )
    return [int(size) * unit for size in sizes]


def find_pictures(ids: Tensor, batch: Mapping[str, Any], marks: Marks, config: Any) -> Pictures:
    """The pictures of a batch of model inputs.

    Args:
        ids: (batch, seq).
        batch: the inputs that came with them.
        config: the model's configuration.

    Raises:
        ModelError: pictures that stand side by side cannot be told apart.
    """
    pixels = batch.get("pixel_values")
    if pixels is None:
        return Pictures(torch.zeros(0, dtype=torch.long), [], torch.zeros(0, dtype=torch.long))
    if "cross_attention_mask" in batch:
        return _crossed(ids, pixels, marks)
    stretches = [(row, span) for row, tokens in enumerate(ids.tolist()) for span in marks.spans(tokens)]
    if not marks.separate:
        stretches = _shared_out(stretches, len(batch.get("image_sizes", pixels)))
    rows = torch.tensor([row for row, _ in stretches], dtype=torch.long)
    spans = [span for _, span in stretches]
    return Pictures(rows, spans, _sizes(ids, rows, spans, batch, marks, config))


def _shared_out(stretches: list[tuple[int, Span]], count: int) -> list[tuple[int, Span]]:
    """Stretches split into ``count`` pictures of equal length, where pictures stand side by side unmarked."""
    if len(stretches) == count:
        return stretches
    lengths = [end - start for _, (start, end) in stretches]
    share, rest = divmod(sum(lengths), count)
    if rest or any(length % share for length in lengths):
        raise ModelError(
            "Pictures of different token counts that stand side by side cannot be told apart.",
            "put a text between the pictures of a row, or give them one size",
        )
    return [(row, (at, at + share)) for row, (start, end) in stretches for at in range(start, end, share)]


def _sizes(ids: Tensor, rows: Tensor, spans: list[Span], batch: Mapping[str, Any], marks: Marks, config: Any) -> Tensor:
    """Vectors of each picture at the connector: its placeholders, or its crops where some vectors are dropped later."""
    if "image_sizes" in batch and batch["pixel_values"].ndim == 5:
        return torch.tensor(_crops(batch, config))
    places = zip(rows.tolist(), spans, strict=True)
    counts = [int((ids[row, start:end] == marks.placeholder).sum()) for row, (start, end) in places]
    return torch.tensor(counts, dtype=torch.long)


def _crops(batch: Mapping[str, Any], config: Any) -> list[int]:
    """Crops of each picture (LLaVA-NeXT, LLaVA-OneVision); a row of several pictures has them whole (OneVision)."""
    sizes, together = batch["image_sizes"], batch.get("batch_num_images")
    whole = [n > 1 for n in together.tolist() for _ in range(n)] if together is not None else [False] * len(sizes)
    grid, side = config.image_grid_pinpoints, config.vision_config.image_size
    return [1 if w else int(image_size_to_num_patches(s, grid, side)) for s, w in zip(sizes, whole, strict=True)]


def _crossed(ids: Tensor, pixels: Tensor, marks: Marks) -> Pictures:
    """Pictures that the decoder reads through cross-attention: one placeholder each, slots filled up per row."""
    rows, spans = [], []
    for row, tokens in enumerate(ids.tolist()):
        places = [i for i, token in enumerate(tokens) if token == marks.placeholder]
        for slot in range(pixels.shape[1]):
            there = slot < len(places)
            rows.append(row if there else -1)
            spans.append((places[slot], places[slot] + 1) if there else (0, 0))
    return Pictures(torch.tensor(rows, dtype=torch.long), spans, torch.ones(len(rows), dtype=torch.long))


def fills_rows(inputs: Mapping[str, Any], places: Sequence[int], count: int) -> dict[str, Any]:
    """Picture inputs of some rows as those of a batch of ``count`` rows, where the model wants an entry for each row.

    Args:
        inputs: what the processor returned of pictures, one per row.
        places: the rows that they belong to.
    """
    if not by_row(inputs["pixel_values"], inputs):
        return dict(inputs)
    filled = {}
    for name, value in inputs.items():
        filled[name] = value.new_zeros(count, *value.shape[1:])
        if name == "aspect_ratio_mask":
            filled[name][..., 0] = 1  # Mllama wants one tile of a slot that only fills up to be looked at
        filled[name][torch.tensor(places)] = value
    return filled


def by_row(pixels: Tensor, inputs: Mapping[str, Any]) -> bool:
    """Whether pixels are kept per batch row, (batch, slots, ...): Mllama's pictures, Idefics 3's tiles."""
    return pixels.ndim == 6 or (pixels.ndim == 5 and "image_sizes" not in inputs)
