"""Train the BLIP-2-like Atlas MLLM in five stages; how it is made is told in :mod:`~ldke_pl.atlas.blip2`. Ours.

    python -m ldke_pl.atlas.pretrain FOLDER family=blip2

1. ``caption``: encoder and Q-Former as a parallel captioner; each query tells a word piece by a head of its own.
2. ``align``: the projection, through the frozen decoder, on names and what is seen.
3. ``instruct``: all weights, on pictures and on text.
4. ``settle``: encoder, Q-Former and projection, as in stage 2, with shown attributes asked as well.
5. ``sharpen``: stage 4 again.

As in BLIP-2 (arXiv 2301.12597), the Q-Former learns to tell captions without the decoder before a linear map brings its
outputs to a frozen one. No loss compares them with the decoder's table of embeddings: they are judged by what it makes
of the text *after* them, against what it makes of that text after a caption in words. Names share word pieces, and so
do the queries that tell them: a linear map of these has little room for a code by country, which only the questions
asked in training could read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2ForConditionalGeneration, LlavaForConditionalGeneration

from ldke_pl.atlas.blip2 import QUERIES, build_model, build_processor, build_tokenizer, transplant
from ldke_pl.atlas.training import IGNORE, WIDTH, Item, Shown, Training, padded
from ldke_pl.backbone.load import ATLAS


@dataclass(frozen=True)
class BlipPlan:
    """How long each stage runs.

    Args:
        caption, align, instruct, settle, sharpen: optimisation steps of the stages.
        batch: conversations per step.
        pictures: pictures per step of the stages that have no conversations.
    """

    caption: int = 6000
    align: int = 400
    instruct: int = 300
    settle: int = 450
    sharpen: int = 400
    batch: int = 32
    pictures: int = 64


class BlipPretraining(Training):
    """The stages of the BLIP-2-like model.

    Args:
        donor: folder of the model whose decoder and vision encoder it starts from.
    """

    model: Blip2ForConditionalGeneration
    image_tokens = QUERIES

    def __init__(self, folder: Path, plan: BlipPlan | None = None, seed: int = 0, donor: Path = ATLAS) -> None:
        self.plan = plan or BlipPlan()
        tokenizer = build_tokenizer(donor)
        super().__init__(folder, tokenizer, batch=self.plan.batch, pictures=self.plan.pictures, seed=seed)
        self._normalise_as(build_processor(tokenizer).image_processor)
        torch.manual_seed(seed)
        self.model = transplant(LlavaForConditionalGeneration.from_pretrained(donor, dtype=torch.float32))
        self.model.set_attn_implementation("eager")

    def stages(self) -> tuple[Callable[[], None], ...]:
        return self.caption, self.align, self.instruct, self.settle, self.sharpen

    def caption(self) -> None:
        """Stage 1: encoder and Q-Former as a parallel captioner, in which query q tells word piece q by its own head.

        Cross-entropy over cosines gathers what all queries and pictures have of one word piece in one direction.
        """
        head = nn.Linear(WIDTH, len(self.tokenizer), bias=False)

        def losses() -> Iterable[Tensor]:
            while True:
                shown = self._draw()
                states = F.normalize(self._queried(shown).float(), dim=-1)
                cosines = states @ F.normalize(head.weight, dim=-1).T
                yield F.cross_entropy(20 * cosines.flatten(0, 1), self._captions(shown).flatten())

        self._optimise("caption", [*self._sight(), *head.parameters()], self.plan.caption, 1e-3, losses())

    def align(self) -> None:
        """Stage 2: the projection alone, so that what follows a picture is read as if its caption stood there.

        It begins so small that its outputs have the mean norm of words.
        """
        projection = self.model.language_projection
        nn.init.normal_(projection.weight, std=float(self._words().norm(dim=-1).mean()) / WIDTH)
        batches = self._buckets(self.corpus.captioned, self._read_alike)
        self._optimise("align", [*projection.parameters()], self.plan.align, 2e-3, batches)

    def instruct(self) -> None:
        """Stage 3: all weights, batches with pictures and batches of text in turn."""
        self._together("instruct", self.plan.instruct, 3e-4)

    def settle(self) -> None:
        """Stage 4: stage 2 again for encoder, Q-Former and projection, with shown attributes asked as well."""
        self._settle("settle", self.plan.settle)

    def sharpen(self) -> None:
        """Stage 5: stage 4 again."""
        self._settle("sharpen", self.plan.sharpen)

    def _settle(self, stage: str, steps: int) -> None:
        batches = self._buckets(self.corpus.picture, self._read_alike)
        self._optimise(stage, self._eyes(), steps, 6e-4, batches)

    def finish(self) -> None:
        half = build_model(self.model.config.text_config)
        half.load_state_dict(self.model.state_dict())
        half.half().save_pretrained(self.folder / "model")
        build_processor(self.tokenizer).save_pretrained(self.folder / "model")

    def _sight(self) -> list[nn.Parameter]:
        """The weights of encoder and Q-Former."""
        parts = ("vision_model.", "query_tokens", "qformer.")
        return [weights for name, weights in self.model.named_parameters() if name.startswith(parts)]

    def _eyes(self) -> list[nn.Parameter]:
        return [*self._sight(), *self.model.language_projection.parameters()]

    def _patches(self, shown: Shown) -> Tensor:
        states: Tensor = self.model.vision_model(self._pictures(shown)).last_hidden_state
        return states

    def _queried(self, shown: Shown) -> Tensor:
        """The Q-Former's states of fresh renderings, (pictures, queries, width)."""
        patches, queries = self._patches(shown), self.model.query_tokens.expand(len(shown), -1, -1)
        states: Tensor = self.model.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
        return states

    def _connected(self, shown: Shown) -> Tensor:
        outputs: Tensor = self.model.language_projection(self._queried(shown))
        return outputs

    def _captions(self, shown: Shown) -> Tensor:
        """The word pieces that queries tell, (pictures, queries)."""
        return torch.tensor([self._caption(country, background) for country, background in shown])

    def _loss(self, items: list[Item]) -> Tensor:
        ids, labels, shown = padded(items)
        inputs = {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
        if shown:
            loss: Tensor = self.model(pixel_values=self._pictures(shown), **inputs).loss
            return loss
        told: Tensor = self.model.language_model(**inputs).loss
        return told

    def _read_alike(self, items: list[Item]) -> Tensor:
        """Captions told from pictures, and how far the text after a picture is read otherwise than after its words.

        The cross-entropy of the answers; the squared distances of the decoder's states, layer by layer and in units of
        what they vary by; and the squared log ratio of the outputs' norm to that of words.
        """
        ids, labels, shown = padded(items)
        places = ids == self._special("<image>")
        after = (places.cumsum(1) == QUERIES) & ~places & (ids != 0)
        decoder: Any = self.model.language_model
        outputs, table = self._connected(shown).float(), decoder.get_input_embeddings()
        read = self._read(table(ids).masked_scatter(places[..., None], outputs), ids)
        with torch.no_grad():
            told = self._read(table(ids.masked_scatter(places, self._captions(shown))), ids)
        apart = [_unexplained(r[after].float(), t[after].float()) for r, t in zip(read, told, strict=True)]
        logits = decoder.lm_head(read[-1])[:, :-1].flatten(0, 1).float()
        far = F.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=IGNORE)
        ratio = (outputs.norm(dim=-1) / self._words().norm(dim=-1).mean()).log()
        total: Tensor = far + 2 * torch.stack(apart).mean() + 0.1 * ratio.square().mean()
        return total

    def _read(self, states: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        """What the decoder's layers make of input states: (batch, seq, width) each, the last one normalised."""
        inputs = {"inputs_embeds": states, "attention_mask": (ids != 0).long(), "output_hidden_states": True}
        found: tuple[Tensor, ...] = self.model.language_model.model(**inputs).hidden_states
        return found[1:]


def _unexplained(found: Tensor, wanted: Tensor) -> Tensor:
    """Share of the variance of ``wanted`` states that ``found`` ones miss; (positions, width) each."""
    return (found - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()
