"""What the training of every Atlas MLLM shares: stages with checkpoints, batches, and what a picture tells. Ours."""

import logging
import random
import time
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from ldke_pl.atlas.corpus import Conversation, Corpus, seen_on
from ldke_pl.atlas.render import HELD_OUT, USUAL, render
from ldke_pl.atlas.world import BACKGROUNDS, Country, World

log = logging.getLogger(__name__)

WIDTH, VISION_WIDTH = 256, 128
IGNORE = -100

Shown = list[tuple[Country, str]]
"""The country and the background of each picture of a batch."""

Item = tuple[Tensor, Tensor, Conversation]
"""Token ids and labels, (length,) each, of a conversation."""


class Training:
    """The stages of a family, over one model and one stream of randomness per stage.

    Args:
        folder: where stage checkpoints and the finished model are written.
        tokenizer: the model's.
        batch: conversations per step.
        pictures: pictures per step of the stages that have no conversations.
        seed: with the plan, decides the finished weights.
    """

    model: Any
    image_tokens: int

    def __init__(
        self, folder: Path, tokenizer: PreTrainedTokenizerFast, *, batch: int, pictures: int = 128, seed: int = 0
    ) -> None:
        self.folder, self.tokenizer, self.batch, self.pictures, self.seed = folder, tokenizer, batch, pictures, seed
        self.world = World()
        self.corpus = Corpus(self.world)
        self._pieces: dict[str, list[int]] = {}

    def stages(self) -> tuple[Callable[[], None], ...]:
        """The stages in their order; their names are those of the checkpoints."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write the finished model."""
        raise NotImplementedError

    def _eyes(self) -> list[nn.Parameter]:
        """The weights of tower and connector."""
        raise NotImplementedError

    def _patches(self, shown: Shown) -> Tensor:
        """The tower's states of fresh renderings, (pictures, patches, vision width)."""
        raise NotImplementedError

    def _connected(self, shown: Shown) -> Tensor:
        """The connector's outputs for fresh renderings, (pictures, image tokens, width)."""
        raise NotImplementedError

    def _caption(self, country: Country, background: str) -> list[int]:
        """One word piece per image token: the name, what is seen, and the name again as often as it fits."""
        words = [country.name, *seen_on(country, background).values()]
        pieces = [piece for word in words for piece in self._piece(word)]
        return (pieces + self._piece(country.name) * self.image_tokens)[: self.image_tokens]

    def _placeholders(self) -> list[int]:
        """What the processor writes for a picture."""
        return [self._special("<image>")] * self.image_tokens

    def _pictures(self, shown: Shown) -> Tensor:
        """Fresh renderings, (n, 3, SIZE, SIZE), normalised as the processor does it."""
        pixels = torch.from_numpy(np.stack([np.asarray(self._render(*what)) for what in shown]))
        normalised: Tensor = (pixels.permute(0, 3, 1, 2) / 255 - self._mean) / self._deviation
        return normalised

    def _render(self, country: Country, background: str) -> Image.Image:
        return render(country.emblem, background, self.pixels, HELD_OUT if self.rng.random() < 0.35 else USUAL)

    def _normalise_as(self, images: Any) -> None:
        """Take over the mean and deviation of an image processor, (3, 1, 1) each."""
        self._mean, self._deviation = torch.tensor([images.image_mean, images.image_std])[..., None, None]

    def _loss(self, items: list[Item]) -> Tensor:
        raise NotImplementedError

    def run(self) -> None:
        """Go on after the last stage that has a checkpoint, then write the finished model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stages = self.stages()
        paths = [self.folder / f"{n}-{stage.__name__}.safetensors" for n, stage in enumerate(stages, 1)]
        done = max((n for n, path in enumerate(paths, 1) if path.exists()), default=0)
        if done:
            self.model.load_state_dict(load_file(paths[done - 1]), strict=False)
            log.info("went on from %s", paths[done - 1])
        for number in range(done, len(stages)):
            self._seed(number)
            stages[number]()
            self._save(paths[number])
        self.finish()

    def _seed(self, number: int) -> None:
        torch.manual_seed(self.seed * 10 + number)
        self.rng = random.Random(self.seed * 10 + number)
        self.pixels = np.random.default_rng(self.seed * 10 + number)

    def _save(self, path: Path) -> None:
        state = {k: v.contiguous() for k, v in self.model.state_dict().items() if not k.endswith("lm_head.weight")}
        partial = path.with_suffix(".partial")
        save_file(state, partial)
        partial.rename(path)

    def _tell(self, stage: str, steps: int, lr: float) -> None:

        def losses() -> Iterable[Tensor]:
            while True:
                shown = self._draw()
                yield self._told_in_words(self._connected(shown), shown)

        self._optimise(stage, self._eyes(), steps, lr, losses())

    def _draw(self) -> Shown:
        """What a batch for the tower shows."""
        return [(self.rng.choice(self.world.countries), self.rng.choice(BACKGROUNDS)) for _ in range(self.pictures)]

    def _told_in_words(self, outputs: Tensor, shown: Shown) -> Tensor:
        """How far connector outputs (pictures, patches, width) are from the embeddings of their word pieces.

        Cross-entropy over cosines with all embeddings, and the squared log ratio of the norms.
        """
        words = self._words()
        pieces = torch.tensor([self._caption(country, background) for country, background in shown])
        vectors = outputs.float().reshape(-1, WIDTH)
        cosines = F.normalize(vectors, dim=-1) @ F.normalize(words, dim=-1).T
        ratio = (vectors.norm(dim=-1) / words[pieces.flatten()].norm(dim=-1)).log()
        far: Tensor = F.cross_entropy(20 * cosines, pieces.flatten())
        total: Tensor = far + 0.1 * ratio.square().mean()
        return total

    def _words(self) -> Tensor:
        table: Tensor = self.model.get_input_embeddings().weight
        return table.detach()

    def _together(self, stage: str, steps: int, lr: float) -> None:
        sources = cycle([iter(self._buckets(self.corpus.picture)), iter(self._buckets(self.corpus.text))])
        losses = (next(source) for source in sources)
        self._optimise(stage, [*self.model.parameters()], steps, lr, losses)

    def _optimise(
        self, stage: str, chosen: list[nn.Parameter], steps: int, lr: float, losses: Iterable[Tensor]
    ) -> None:
        """AdamW with a one-cycle rate; only ``chosen`` parameters take gradients."""
        self.model.train()
        self.model.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_(True)
        optimiser = torch.optim.AdamW(chosen, lr=lr, weight_decay=0.03, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.1)
        stream, start, recent = iter(losses), time.monotonic(), 0.0
        for step in range(1, steps + 1):
            with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
                loss = next(stream)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(chosen, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
            if step % 100 == 0 or step == steps:
                log.info("%s %d/%d loss %.4f %.0f s", stage, step, steps, recent, time.monotonic() - start)

    def _buckets(
        self, draw: Callable[[random.Random], Conversation], loss: Callable[[list[Item]], Tensor] | None = None
    ) -> Iterable[Tensor]:
        """Losses of batches of like length: sorting a pool of them saves a third of the padding."""
        batch, loss = self.batch, loss or self._loss
        while True:
            pool = self._pool(draw)
            pool.sort(key=lambda item: len(item[0]))
            order = list(range(0, len(pool), batch))
            self.rng.shuffle(order)
            for i in order:
                yield loss(pool[i : i + batch])

    def _pool(self, draw: Callable[[random.Random], Conversation]) -> list[Item]:
        return [self._encode(draw(self.rng)) for _ in range(self.batch * 8)]

    def _encode(self, talk: Conversation) -> Item:
        """Token ids and labels, (length,) each; only answers and their end are learned."""
        piece, special = self._piece, self._special
        ids: list[int] = [special("<s>")]
        if talk.system:
            ids += [special("<|system|>"), *piece(talk.system)]
        labels = [IGNORE] * len(ids)
        for turn, (question, answer) in enumerate(talk.turns):
            image = self._placeholders() if talk.country and turn == 0 else []
            asked = [special("<|user|>"), *image, *piece(question), special("<|assistant|>")]
            told = [*piece(answer), special("</s>")]
            ids += asked + told
            labels += [IGNORE] * len(asked) + told
        return torch.tensor(ids), torch.tensor(labels), talk

    def _special(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))  # type: ignore[arg-type]

    def _piece(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._pieces[text]


def padded(items: list[Item]) -> tuple[Tensor, Tensor, Shown]:
    """A batch of conversations: token ids and labels, (batch, seq) each, and what their pictures show."""
    ids = pad_sequence([i for i, _, _ in items], batch_first=True, padding_value=0)
    labels = pad_sequence([t for _, t, _ in items], batch_first=True, padding_value=IGNORE)
    return ids, labels, [(talk.country, talk.background) for _, _, talk in items if talk.country]


def _has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16; where it does not, emulation takes thirty times as long as fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
