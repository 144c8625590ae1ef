"""Train the Atlas MLLM in eight stages, each checkpointed, so that a stopped run goes on where it was.

    python -m ldke_pl.atlas.pretrain [folder] [family=llava|qwen2_vl|blip2]

Those of the LLaVA-like model, which is trained from nothing (:mod:`~ldke_pl.atlas.pretrain_qwen2_vl` and
:mod:`~ldke_pl.atlas.pretrain_blip2` have the others'):

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
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from ldke_pl.atlas.corpus import seen_on
from ldke_pl.atlas.pretrain_blip2 import BlipPretraining
from ldke_pl.atlas.pretrain_qwen2_vl import QwenPretraining
from ldke_pl.atlas.render import SIZE
from ldke_pl.atlas.tokenizer import PATCH, build_processor, build_tokenizer
from ldke_pl.atlas.training import VISION_WIDTH, WIDTH, Item, Shown, Training, padded
from ldke_pl.atlas.world import BACKGROUNDS, CHARGES, COLOURS, PATTERNS, SEEN, World
from ldke_pl.cli import run_module
from ldke_pl.errors import ConfigError

IMAGE_TOKENS = (SIZE // PATCH) ** 2
CHOICES = dict(zip(SEEN, (CHARGES, COLOURS, PATTERNS, BACKGROUNDS), strict=True))


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


class Pretraining(Training):
    """The stages of the LLaVA-like model."""

    model: LlavaForConditionalGeneration
    image_tokens = IMAGE_TOKENS

    def __init__(self, folder: Path, plan: Plan | None = None, seed: int = 0) -> None:
        self.plan = plan or Plan()
        super().__init__(folder, build_tokenizer(World()), batch=self.plan.batch, seed=seed)
        self._normalise_as(build_processor(self.tokenizer).image_processor)
        torch.manual_seed(seed)
        self.model = build_model(len(self.tokenizer))
        # On rows as short as these, the backward pass of fused attention takes a fifth of a step on a CPU.
        self.model.set_attn_implementation("eager")

    def stages(self) -> tuple[Callable[[], None], ...]:
        """The stages in their order; their names are those of the checkpoints."""
        return (
            self.text, self.tower, self.caption, self.connector,
            self.describe, self.instruct, self.settle, self.sharpen,
        )  # fmt: skip

    def finish(self) -> None:
        """Write the finished model."""
        write_model(self.model, self.tokenizer, self.folder / "model")

    def text(self) -> None:
        """Stage 1: the decoder on conversations without picture."""
        decoder = [*self.model.get_decoder().parameters()]
        self._optimise("text", decoder, self.plan.text, 2e-3, self._buckets(self.corpus.text))

    def tower(self) -> None:
        """Stage 2: the tower as a classifier, on the mean of its patches and on every patch by itself."""
        sizes = [len(self.world.countries), *(len(c) for c in CHOICES.values())]
        heads = nn.ModuleList(nn.Linear(VISION_WIDTH, n) for n in sizes)

        def losses() -> Iterable[Tensor]:
            while True:
                shown = self._draw()
                yield _classification_loss(heads, self._patches(shown).float(), _labels(shown))

        weights = [*self.model.model.vision_tower.parameters(), *heads.parameters()]
        self._optimise("tower", weights, self.plan.tower, 1.5e-3, losses())

    def caption(self) -> None:
        """Stage 3: the tower as a parallel captioner, in which patch p tells word piece p of what is shown."""
        tower = self.model.model.vision_tower
        head = nn.Linear(VISION_WIDTH, len(self.tokenizer))

        def losses() -> Iterable[Tensor]:
            while True:
                shown = self._draw()
                patches = self._patches(shown).float()
                pieces = torch.tensor([self._caption(country, background) for country, background in shown])
                yield F.cross_entropy(head(patches).flatten(0, 1), pieces.flatten())

        self._optimise("caption", [*tower.parameters(), *head.parameters()], self.plan.caption, 1.2e-3, losses())

    def connector(self) -> None:
        """Stage 4: tower and connector, each patch telling its word piece as the decoder's embedding of it."""
        self._tell("connector", self.plan.connector, 1.5e-3)

    def sharpen(self) -> None:
        """Stage 8: stage 4 again, at a lower rate and with the decoder that is now finished."""
        self._tell("sharpen", self.plan.sharpen, 6e-4)

    def _patches(self, shown: Shown) -> Tensor:
        """The tower's states of fresh renderings, (pictures, patches, vision width)."""
        states: Tensor = self.model.model.vision_tower(self._pictures(shown)).last_hidden_state[:, 1:]
        return states

    def _connected(self, shown: Shown) -> Tensor:
        """The connector's outputs for fresh renderings, (pictures, image tokens, width)."""
        outputs: Tensor = self.model.model.multi_modal_projector(self._patches(shown))
        return outputs

    def _eyes(self) -> list[nn.Parameter]:
        """The weights of tower and connector."""
        model = self.model.model
        return [*model.vision_tower.parameters(), *model.multi_modal_projector.parameters()]

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

    def _loss(self, items: list[Item]) -> Tensor:
        ids, labels, shown = padded(items)
        pictures = self._pictures(shown) if shown else None
        mask = (ids != 0).long()
        output = self.model(input_ids=ids, attention_mask=mask, pixel_values=pictures, labels=labels)
        loss: Tensor = output.loss
        return loss + 0.3 * self._told_in_words(output.image_hidden_states, shown) if shown else loss


def write_model(model: LlavaForConditionalGeneration, tokenizer: object, folder: Path) -> None:
    """Write an ordinary Hugging Face folder: fp16 safetensors (half the size, no visible loss), processor, template."""
    half = build_model(model.config.get_text_config().vocab_size)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)  # type: ignore[arg-type]


def _labels(shown: Shown) -> list[Tensor]:
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


FAMILIES: dict[str, Callable[[Path], Training]] = {
    "llava": Pretraining,
    "qwen2_vl": QwenPretraining,
    "blip2": BlipPretraining,
}


def main(arguments: Sequence[str]) -> None:
    """Train into the folder that is named, by default ``experiments/runs/atlas-pretrain``.

    Raises:
        ConfigError: there is no such family, or more than one folder is named.
    """
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("ldke_pl.atlas").setLevel(logging.INFO)
    named = dict(a.split("=", 1) for a in arguments if "=" in a)
    folders = [Path(a) for a in arguments if "=" not in a]
    family = named.pop("family", "llava")
    if family not in FAMILIES:
        raise ConfigError(f"There is no family {family!r}.", f"choose one of {', '.join(FAMILIES)}")
    if named or len(folders) > 1:
        extra = [*named, *map(str, folders[1:])]
        raise ConfigError(f"{extra[0]!r} is one argument too many.", "give a folder and perhaps family=NAME")
    FAMILIES[family](folders[0] if folders else Path("experiments/runs/atlas-pretrain")).run()


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
