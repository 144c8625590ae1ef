"""Train the Qwen2-VL-like Atlas MLLM in three stages; how it is made is told in :mod:`~ldke_pl.atlas.qwen2_vl`. Ours.

    python -m ldke_pl.atlas.pretrain FOLDER family=qwen2_vl

1. ``recover``: the layers that are kept of the donor's decoder, on texts.
2. ``tell``: the vision encoder with its merger; each merged token tells a word piece as the decoder's embedding of it.
3. ``together``: all weights, so that the decoder gets used to pictures as the vision encoder tells them.

Qwen2-VL's vision encoder knows only how patches lie to each other. A picture's merged tokens therefore tell its caption
line by line: the name in one row, what is seen in the next, and so on, which holds for every width and height.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from ldke_pl.atlas.corpus import seen_on
from ldke_pl.atlas.qwen2_vl import (
    CELL,
    MARKS,
    PATCH,
    build_model,
    build_processor,
    build_tokenizer,
    look,
    patchify,
    transplant,
)
from ldke_pl.atlas.render import SIZE
from ldke_pl.atlas.training import IGNORE, Item, Shown, Training, padded
from ldke_pl.atlas.world import Country
from ldke_pl.backbone.load import ATLAS

SIZES = ((64, 64), (64, 64), (48, 64), (64, 80), (80, 64), (48, 96))
"""(height, width) of the pictures in training, square ones twice as often."""


@dataclass(frozen=True)
class QwenPlan:
    """How long each stage runs.

    Args:
        recover, tell, together: optimisation steps of the stages.
        batch: conversations per step.
        pictures: pictures per step of ``tell``.
    """

    recover: int = 700
    tell: int = 2400
    together: int = 200
    batch: int = 32
    pictures: int = 128


class QwenPretraining(Training):
    """The stages of the Qwen2-VL-like model.

    Args:
        donor: folder of the model whose decoder and tower it starts from.
    """

    def __init__(self, folder: Path, plan: QwenPlan | None = None, seed: int = 0, donor: Path = ATLAS) -> None:
        self.plan = plan or QwenPlan()
        tokenizer = build_tokenizer(donor)
        super().__init__(folder, tokenizer, batch=self.plan.batch, pictures=self.plan.pictures, seed=seed)
        self._normalise_as(build_processor(tokenizer).image_processor)
        self.size = SIZES[0]
        torch.manual_seed(seed)
        self.model = build_model(len(tokenizer))
        transplant(self.model, LlavaForConditionalGeneration.from_pretrained(donor))
        self.model.set_attn_implementation("eager")

    def stages(self) -> tuple[Callable[[], None], ...]:
        return self.recover, self.tell, self.together

    def recover(self) -> None:
        """Stage 1: what is kept of the decoder, on texts; not the table of embeddings, which pictures are told in."""
        decoder = self.model.model.language_model
        text, seen = iter(self._buckets(self.corpus.text)), iter(self._buckets(self.corpus.described))
        losses = (next(source) for source in cycle([text, text, text, seen]))
        chosen = [*decoder.layers.parameters(), *decoder.norm.parameters()]
        self._optimise("recover", chosen, self.plan.recover, 1e-3, losses)

    def tell(self) -> None:
        """Stage 2: each merged token tells its word piece as the decoder's embedding of it."""
        self._tell("tell", self.plan.tell, 1.5e-3)

    def together(self) -> None:
        """Stage 3: all weights, batches with pictures and batches of text in turn."""
        self._together("together", self.plan.together, 3e-4)

    def finish(self) -> None:
        half = build_model(len(self.tokenizer))
        half.load_state_dict(self.model.state_dict())
        half.half().save_pretrained(self.folder / "model")
        build_processor(self.tokenizer).save_pretrained(self.folder / "model")

    def _eyes(self) -> list[nn.Parameter]:
        return [*self.model.model.visual.parameters()]

    def _draw(self) -> Shown:
        """What a batch shows, and of what size its pictures are."""
        self.size = self.rng.choice(SIZES)
        return super()._draw()

    def _grid(self, pictures: int) -> Tensor:
        height, width = self.size
        return torch.tensor([[1, height // PATCH, width // PATCH]] * pictures)

    def _patches(self, shown: Shown) -> Tensor:
        return look(self.model.model.visual, self._pictures(shown), self._grid(len(shown)))

    def _connected(self, shown: Shown) -> Tensor:
        merged: Tensor = self.model.model.visual.merger(self._patches(shown))
        return merged.view(len(shown), -1, merged.shape[-1])

    def _caption(self, country: Country, background: str) -> list[int]:
        """One word piece per image token: rows of the name and rows of what is seen, by turns."""
        rows, columns = self.size[0] // CELL, self.size[1] // CELL
        seen = [piece for word in seen_on(country, background).values() for piece in self._piece(word)]
        lines = islice(cycle([self._piece(country.name), seen]), rows)
        return [piece for line in lines for piece in islice(cycle(line), columns)]

    def _pictures(self, shown: Shown) -> Tensor:
        """Fresh renderings of this batch's size, as the processor flattens them."""
        height, width = self.size
        drawn = []
        for country, background in shown:
            image = self._render(country, background)
            if self.size != (SIZE, SIZE):
                image = image.resize((width, height), Image.Resampling.BICUBIC)
            drawn.append(np.asarray(image))
        pixels = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2) / 255
        return patchify((pixels - self._mean) / self._deviation)

    def _placeholders(self) -> list[int]:
        images = self.size[0] * self.size[1] // CELL**2
        return [self._special(MARKS[0]), *[self._special("<image>")] * images, self._special(MARKS[1])]

    def _pool(self, draw: Any) -> list[Item]:
        """Encoded conversations; those of one pool have pictures of one size."""
        if draw == self.corpus.picture:
            self.size = self.rng.choice(SIZES)
        return super()._pool(draw)

    def _loss(self, items: list[Item]) -> Tensor:
        ids, labels, shown = padded(items)
        mask = (ids != 0).long()
        if not shown:
            loss: Tensor = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
            return loss
        kinds = (ids == self._special("<image>")).int()
        outputs = self._connected(shown)
        place = self.model.model.get_rope_index(
            ids, image_grid_thw=self._grid(len(shown)), attention_mask=mask, mm_token_type_ids=kinds
        )[0]
        words = self.model.get_input_embeddings()(ids)
        states = words.masked_scatter(kinds.bool()[..., None], outputs.to(words.dtype))
        logits = self.model(inputs_embeds=states, attention_mask=mask, position_ids=place).logits
        far = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORE)
        return far + 0.3 * self._told_in_words(outputs, shown)
