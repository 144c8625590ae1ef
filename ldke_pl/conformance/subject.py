"""What the checks ask a model: made-up pictures and questions, some in one row, some without a picture."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.ldke import LDKE
from ldke_pl.edits import Edit, applied
from ldke_pl.errors import LDKEError

SETTINGS = EditorConfig(
    cls="ldke_pl.editors.ldke.LDKE", lr=1e-2, eps=1e-4, steps=60, stop_loss=0.05, views=1, rank=8, batch_size=8
)
"""Of the edits that the checks make of a full-sized model."""


class NotPossibleError(LDKEError):
    """The model's family cannot do what a check is about; the message is the reason."""


def _pictures() -> list[Image.Image]:
    """Coarse coloured noise of several shapes, each unlike the others."""
    rng = np.random.default_rng(0)
    shapes = ((40, 40), (32, 64), (64, 32), (40, 40))
    return [
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(s, Image.Resampling.NEAREST) for s in shapes
    ]


PICTURES = _pictures()
QUESTIONS = (
    Question(PICTURES[0], "What is shown here?"),
    Question(None, "Name it."),
    Question(PICTURES[1], "What is shown here?"),
    Question(PICTURES[0], "What is shown here?"),
    Question(PICTURES[2], "Who made it, and is it old or new?"),
)
"""Asked in one batch: three shapes, one picture twice, one row in text alone."""

TARGETS = ("a boat", "a kite", "a tower")
"""Where the model says nothing else of another picture."""


@dataclass
class Subject:
    """One model under examination.

    Args:
        backbone: the model.
        settings: of the edits that the checks make.
        edits: finished edits by the site they are at, made when first asked for.
    """

    backbone: Backbone
    settings: EditorConfig = field(default_factory=lambda: SETTINGS)
    edits: dict[str, list[Edit]] = field(default_factory=dict)

    @property
    def decoder_site(self) -> str:
        """A decoder layer in the lower half."""
        return f"decoder.{max(0, len(self.backbone.layers) // 2 - 1)}"

    @cached_property
    def requests(self) -> list[EditRequest]:
        """Two edits of one picture's question, and one of another's; to what the model itself says of other pictures.

        A text that a model would never say is no fair target: a small one cannot be brought to it in a few steps.
        """
        asked = [Question(picture, QUESTIONS[0].prompt) for picture in PICTURES[:3]]
        said = greedy_answers(self.backbone, self.backbone.prompts.encode(asked).to(self.backbone.device))
        told = [" ".join(answer.split()[:6]) for answer in said]
        pairs = [(0, told[1], TARGETS[0]), (0, told[2], TARGETS[1]), (1, told[0], TARGETS[2])]
        targets = [other if other not in ("", told[i]) else usual for i, other, usual in pairs]
        edited = zip((asked[0], asked[0], asked[1]), targets, strict=True)
        return [EditRequest(q.image, q.prompt, target) for q, target in edited]

    def edits_at(self, site: str) -> list[Edit]:
        """The edits of :attr:`requests`, written at ``site``."""
        if site not in self.edits:
            self.edits[site] = self.editor(site).edit(self.requests)
        return self.edits[site]

    def editor(self, site: str, **settings: Any) -> LDKE:
        """An editor that writes at ``site``, with ``settings`` in place of the usual ones."""
        return LDKE(self.backbone, replace(self.settings, **settings), lambda requests: [(site,)] * len(requests))

    def batch(self, questions: Sequence[Question], side: str = "left") -> dict[str, Any]:
        return dict(self.backbone.prompts.encode(questions, padding_side=side).to(self.backbone.device))

    @torch.no_grad()
    def logits(self, batch: dict[str, Any]) -> Tensor:
        """Of whatever the hooks in force make of the base, (batch, seq, vocabulary)."""
        found: Tensor = self.backbone(**batch, use_cache=False).logits
        return found

    def under(self, batch: dict[str, Any], edits: Sequence[Edit], rows: Sequence[int]) -> AbstractContextManager[None]:
        """Run row b of ``batch`` under ``edits[rows[b]]``, -1 for the base."""
        if not edits:
            return nullcontext()
        numbers, pictures = torch.tensor(rows), self.backbone.prompts.pictures(batch)
        deltas = [edit.deltas for edit in edits]
        return applied(self.backbone, deltas, numbers, pictures.numbered(numbers), pictures.sizes)

    def two_pictures(self) -> dict[str, Any]:
        """A batch of one row that shows two pictures.

        Raises:
            NotPossibleError: the processor takes one picture per text.
        """
        processor: Any = self.backbone.processor
        if hasattr(processor, "num_query_tokens"):
            raise NotPossibleError("its processor puts one picture before each text")
        parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": QUESTIONS[0].prompt}]
        if processor.chat_template is None:
            text = processor.image_token * 2 + QUESTIONS[0].prompt
        else:
            text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
        shown = [[PICTURES[0], PICTURES[3]]]
        batch = processor(text=[text], images=shown, return_tensors="pt")
        batch.pop("labels", None)
        return dict(batch.to(self.backbone.device))
