"""Train the Atlas MLLM in eight stages, each checkpointed, so that a stopped run goes on where it was.

    python -m ldke_pl.atlas.pretrain [folder]

1. ``text``: the decoder alone, on facts, mentions and overrides (no picture).
2. ``tower``: the vision tower alone, as a classifier of countries and of what is seen.
3. ``caption``: the tower alone, as a parallel captioner (each patch tells one word piece), as CapPa towers are trained.
4. ``connector``: tower and connector, the same task told in the decoder's own word embeddings; the decoder is frozen.
5. ``describe``: the decoder alone, mostly on reading what is seen out of a mention, which stage 1 leaves untold.
6. ``instruct``: everything together, on names, what is seen, shown attributes, and the text of stage 1.
7. ``settle``: the same at a lower rate, which pictures gain from longer than text does.
8. ``sharpen``: stage 4 again at a lower rate: tower and connector tell look-alikes apart that stages 6 and 7, most of
   whose batches go to the decoder, still confuse.

The decoder never sees a picture while it learns the facts, and half of the picture x attribute pairs are never asked:
what the finished model answers about them is composed, as in the large MLLMs that this one stands for. Trained through
the frozen decoder alone, the connector instead learns a code of its own (outputs seventy times the norm of a word) that
only the trained questions can read. Source: ours.
"""

import logging
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from ldke_pl.atlas.corpus import Conversation, Corpus, seen_on
from ldke_pl.atlas.render import HELD_OUT, SIZE, USUAL, render
from ldke_pl.atlas.tokenizer import PATCH, build_processor, build_tokenizer
from ldke_pl.atlas.world import BACKGROUNDS, CHARGES, COLOURS, PATTERNS, SEEN, Country, World

log = logging.getLogger(__name__)

IMAGE_TOKENS = (SIZE // PATCH) ** 2
WIDTH, VISION_WIDTH = 256, 128
CHOICES = dict(zip(SEEN, (CHARGES, COLOURS, PATTERNS, BACKGROUNDS), strict=True))
IGNORE = -100


@dataclass(frozen=True)
class Plan:
    """How long each stage runs; the tests use a far smaller one.

    Args:
        text, tower, caption, connector, describe, instruct, settle, sharpen: optimisation steps of the stages.
        batch: conversations (pictures for the tower) per step.
    """

    text: int = 3000
    tower: int = 900
    caption: int = 600
    connector: int = 2000
    describe: int = 400
    instruct: int = 300
    settle: int = 400
    sharpen: int = 2000
    batch: int = 64


def build_model(vocabulary: int) -> LlavaForConditionalGeneration:
    """An untrained Atlas MLLM: CLIP tower of 4 layers, two-layer connector, Llama decoder of 8; tied embeddings."""
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        image_size=SIZE, patch_size=PATCH,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=640, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=vocabulary, max_position_embeddings=512, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, vision_feature_layer=-1,
        image_seq_length=IMAGE_TOKENS, tie_word_embeddings=True, pad_token_id=0,  # type: ignore[call-arg]
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


class Pretraining:
    """The stages, over one model and one stream of randomness per stage.

    Args:
        folder: where stage checkpoints and the finished model are written.
        seed: with the plan, decides the finished weights.
    """

    def __init__(self, folder: Path, plan: Plan | None = None, seed: int = 0) -> None:
        self.folder, self.plan, self.seed = folder, plan or Plan(), seed
        self.world = World()
        self.corpus = Corpus(self.world)
        self.tokenizer = build_tokenizer(self.world)
        images = build_processor(self.tokenizer).image_processor
        self._mean, self._deviation = torch.tensor([images.image_mean, images.image_std])[..., None, None]
        self._pieces: dict[str, list[int]] = {}
        torch.manual_seed(seed)
        self.model = build_model(len(self.tokenizer))
        # On rows as short as these, the backward pass of fused attention takes a fifth of a step on a CPU.
        self.model.set_attn_implementation("eager")

    def run(self) -> None:
        """Go on after the last stage that has a checkpoint, then write the finished model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stages = (
            self.text, self.tower, self.caption, self.connector,
            self.describe, self.instruct, self.settle, self.sharpen,
        )  # fmt: skip
        paths = [self.folder / f"{n}-{stage.__name__}.safetensors" for n, stage in enumerate(stages, 1)]
        done = max((n for n, path in enumerate(paths, 1) if path.exists()), default=0)
        if done:
            self.model.load_state_dict(load_file(paths[done - 1]), strict=False)
            log.info("went on from %s", paths[done - 1])
        for number in range(done, len(stages)):
            self._seed(number)
            stages[number]()
            self._save(paths[number])
        write_model(self.model, self.tokenizer, self.folder / "model")

    def _seed(self, number: int) -> None:
        torch.manual_seed(self.seed * 10 + number)
        self.rng = random.Random(self.seed * 10 + number)
        self.pixels = np.random.default_rng(self.seed * 10 + number)

    def _save(self, path: Path) -> None:
        state = {k: v.contiguous() for k, v in self.model.state_dict().items() if k != "lm_head.weight"}
        partial = path.with_suffix(".partial")
        save_file(state, partial)
        partial.rename(path)

    def text(self) -> None:
        """Stage 1: the decoder on conversations without picture."""
        decoder = [*self.model.get_decoder().parameters()]
        self._optimise("text", decoder, self.plan.text, 2e-3, self._buckets(self.corpus.text))

    def tower(self) -> None:
        """Stage 2: the tower as a classifier, on the mean of its patches and on every patch by itself."""
        tower = self.model.model.vision_tower
        sizes = [len(self.world.countries), *(len(c) for c in CHOICES.values())]
        heads = nn.ModuleList(nn.Linear(VISION_WIDTH, n) for n in sizes)

        def losses() -> Iterable[Tensor]:
            while True:
                shown = [(self.rng.choice(self.world.countries), self.rng.choice(BACKGROUNDS)) for _ in range(128)]
                patches = tower(self._pictures(shown)).last_hidden_state[:, 1:].float()
                yield _classification_loss(heads, patches, _labels(shown))

        self._optimise("tower", [*tower.parameters(), *heads.parameters()], self.plan.tower, 1.5e-3, losses())

    def caption(self) -> None:
        """Stage 3: the tower as a parallel captioner, in which patch p tells word piece p of what is shown."""
        tower = self.model.model.vision_tower
        head = nn.Linear(VISION_WIDTH, len(self.tokenizer))

        def losses() -> Iterable[Tensor]:
            while True:
                shown = [(self.rng.choice(self.world.countries), self.rng.choice(BACKGROUNDS)) for _ in range(128)]
                patches = tower(self._pictures(shown)).last_hidden_state[:, 1:].float()
                pieces = torch.tensor([self._caption(country, background) for country, background in shown])
                yield F.cross_entropy(head(patches).flatten(0, 1), pieces.flatten())

        self._optimise("caption", [*tower.parameters(), *head.parameters()], self.plan.caption, 1.2e-3, losses())

    def _caption(self, country: Country, background: str) -> list[int]:
        """One word piece per patch: the name, what is seen, and the name again as often as it fits."""
        words = [country.name, *seen_on(country, background).values()]
        pieces = [piece for word in words for piece in self._piece(word)]
        return (pieces + self._piece(country.name) * IMAGE_TOKENS)[:IMAGE_TOKENS]

    def connector(self) -> None:
        """Stage 4: tower and connector, each patch telling its word piece as the decoder's embedding of it."""
        self._tell("connector", self.plan.connector, 1.5e-3)

    def sharpen(self) -> None:
        """Stage 8: stage 4 again, at a lower rate and with the decoder that is now finished."""
        self._tell("sharpen", self.plan.sharpen, 6e-4)

    def _tell(self, stage: str, steps: int, lr: float) -> None:
        model = self.model.model

        def losses() -> Iterable[Tensor]:
            while True:
                shown = [(self.rng.choice(self.world.countries), self.rng.choice(BACKGROUNDS)) for _ in range(128)]
                patches = model.vision_tower(self._pictures(shown)).last_hidden_state[:, 1:]
                yield self._told_in_words(model.multi_modal_projector(patches), shown)

        chosen = [*model.vision_tower.parameters(), *model.multi_modal_projector.parameters()]
        self._optimise(stage, chosen, steps, lr, losses())

    def _told_in_words(self, outputs: Tensor, shown: list[tuple[Country, str]]) -> Tensor:
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
        table: Tensor = self.model.get_input_embeddings().weight  # type: ignore[assignment]
        return table.detach()

    def describe(self) -> None:
        """Stage 5: the decoder on what is seen, with the text of stage 1 in every third batch."""
        seen, text = iter(self._buckets(self.corpus.described)), iter(self._buckets(self.corpus.text))
        losses = (next(source) for source in cycle([seen, seen, text]))
        self._optimise("describe", [*self.model.get_decoder().parameters()], self.plan.describe, 1e-3, losses)

    def instruct(self) -> None:
        """Stage 6: all weights, batches with pictures and batches of text in turn."""
        self._together("instruct", self.plan.instruct, 5e-4)

    def settle(self) -> None:
        """Stage 7: stage 6 again, at a lower rate."""
        self._together("settle", self.plan.settle, 3e-4)

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

    def _buckets(self, draw: Callable[[random.Random], Conversation]) -> Iterable[Tensor]:
        """Losses of batches of like length: sorting a pool of them saves a third of the padding."""
        batch = self.plan.batch
        while True:
            pool = [self._encode(draw(self.rng)) for _ in range(batch * 8)]
            pool.sort(key=lambda item: len(item[0]))
            order = list(range(0, len(pool), batch))
            self.rng.shuffle(order)
            for i in order:
                yield self._loss(pool[i : i + batch])

    def _encode(self, talk: Conversation) -> tuple[Tensor, Tensor, Conversation]:
        """Token ids and labels, (length,) each; only answers and their end are learned."""
        piece, special = self._piece, self._special
        ids: list[int] = [special("<s>")]
        if talk.system:
            ids += [special("<|system|>"), *piece(talk.system)]
        labels = [IGNORE] * len(ids)
        for turn, (question, answer) in enumerate(talk.turns):
            image = [special("<image>")] * IMAGE_TOKENS if talk.country and turn == 0 else []
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

    def _loss(self, items: list[tuple[Tensor, Tensor, Conversation]]) -> Tensor:
        ids = pad_sequence([i for i, _, _ in items], batch_first=True, padding_value=0)
        labels = pad_sequence([t for _, t, _ in items], batch_first=True, padding_value=IGNORE)
        shown = [(talk.country, talk.background) for _, _, talk in items if talk.country]
        pictures = self._pictures(shown) if shown else None
        mask = (ids != 0).long()
        output = self.model(input_ids=ids, attention_mask=mask, pixel_values=pictures, labels=labels)
        loss: Tensor = output.loss
        return loss + 0.3 * self._told_in_words(output.image_hidden_states, shown) if shown else loss

    def _pictures(self, shown: list[tuple[Country, str]]) -> Tensor:
        """Fresh renderings, (n, 3, SIZE, SIZE), normalised as the processor does it."""
        drawn = [
            render(country.emblem, background, self.pixels, HELD_OUT if self.rng.random() < 0.35 else USUAL)
            for country, background in shown
        ]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in drawn])).permute(0, 3, 1, 2) / 255
        normalised: Tensor = (pixels - self._mean) / self._deviation
        return normalised


def _has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16; where it does not, emulation takes thirty times as long as fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def write_model(model: LlavaForConditionalGeneration, tokenizer: object, folder: Path) -> None:
    """Write an ordinary Hugging Face folder: fp16 safetensors (half the size, no visible loss), processor, template."""
    half = build_model(model.config.get_text_config().vocab_size)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)  # type: ignore[arg-type]


def _labels(shown: list[tuple[Country, str]]) -> list[Tensor]:
    seen = [seen_on(country, background) for country, background in shown]
    rows = [[country.index for country, _ in shown]]
    rows += [[CHOICES[relation].index(s[relation]) for s in seen] for relation in SEEN]
    return [torch.tensor(row) for row in rows]


def _classification_loss(heads: nn.ModuleList, patches: Tensor, labels: list[Tensor]) -> Tensor:
    """Cross-entropy of the mean patch and, weighted 0.3, of every patch: (n, patches, width) features."""
    loss = patches.new_zeros(())
    for head, label in zip(heads, labels, strict=True):
        loss = loss + F.cross_entropy(head(patches.mean(1)), label)
        each = head(patches).flatten(0, 1)
        loss = loss + 0.3 * F.cross_entropy(each, label.repeat_interleave(patches.shape[1]))
    return loss


def main(arguments: list[str]) -> None:
    """Train into the folder that is named, by default ``experiments/runs/atlas-pretrain``."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    Pretraining(Path(arguments[0]) if arguments else Path("experiments/runs/atlas-pretrain")).run()


if __name__ == "__main__":
    main(sys.argv[1:])
