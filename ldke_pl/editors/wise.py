"""WISE: edits live in a side memory, and an activation says which questions see it (Wang et al., NeurIPS 2024).

The side memory is a copy W' of one MLP output projection W, kept as the update W' - W. It is trained on the target's
cross-entropy and a margin loss on its activation, the mean over a question's tokens of ``|A(x)(W' - W)|``, where A(x)
is what the projection reads: at most alpha for unrelated questions, at least beta for the edit's own, gamma between
them. A question meets the memory if its activation reaches ``act_ratio`` times the least one of the edits' own
questions. Several edits are spread over shards, written one batch after another under a random gradient mask per
shard, and the shards are merged by TIES.

Deviations: Adam in place of SGD with lr 1.0, without weight decay and without a bound on W' - W; alpha, beta and gamma
(published: 5, 20, 10) are in units of the mean norm of what W gives on the edit's own question, so that they fit a
model of any size; the activation is the paper's, on prompts alone, where the published code passes both outputs through
the MLP's nonlinearity, counts the answer's tokens too, and on long inputs takes the greatest token for the mean;
unrelated questions are the few of ``NEUTRAL``, with and without the edit's picture, in place of random text;
augmented views of the picture (``views``) in place of prompts with random prefixes; ``shard_batch`` requests are
written at once (published: one). All shards are merged into one side memory, where the published retrieval keeps
one per thousand edits, and the least activation is taken over views and on the merged memory, which is what questions
are compared with: taken while editing, as published, it lies so far below that every question passes. The gate decides
once for a whole answer, where the published code decides anew at every generated token.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.hooks import captured, early_exit
from ldke_pl.backbone.sites import Slot
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.ldke import finished
from ldke_pl.editors.optimise import Problem, optimise
from ldke_pl.editors.shared import optimise_together
from ldke_pl.edits import Delta, Deltas, Edit
from ldke_pl.errors import ConfigError
from ldke_pl.router import Features, Key

NEUTRAL = (
    *("Describe what you see.", "How are you today?", "What is two plus two?", "Tell me a joke.", "Name a fruit."),
    *("Who wrote this book?", "When does the train leave?", "Which animal is the largest?", "Is it warm outside?"),
    *("How many people are there?", "Where can I buy bread?", "What is the opposite of high?"),
)
"""Questions that no edit is about, asked with and without its picture."""

TRIM = 0.53
"""Share of a shard's entries that TIES keeps, the largest; published. A mask of lower density is not trimmed."""


class InputReader:
    """Reads what one linear map of the unedited model is given at every token of a question."""

    def __init__(self, backbone: Backbone, slot: Slot) -> None:
        self.backbone, self.slot = backbone, slot

    @torch.no_grad()
    def questions(self, questions: Sequence[Question]) -> Features:
        """``inputs`` (questions, tokens, in), and ``mask`` (questions, tokens), 1 where there is a token."""
        # Padded on the right, as in training: what is in front of a token must not depend on the batch.
        batch = self.backbone.prompts.encode(questions, padding_side="right").to(self.backbone.device)
        module = self.slot.module
        with captured({"inputs": module}, inputs=not self.slot.after) as read, early_exit(module):
            self.backbone(**batch, use_cache=False)
        inputs = read["inputs"].reshape(len(questions), -1, self.slot.in_features)
        return {"inputs": inputs, "mask": batch["attention_mask"].float()}


class ActivationGate:
    """Opens a side memory to the questions that activate it as much as its edits do; half is just enough."""

    threshold = 0.5

    def __init__(self, reader: InputReader) -> None:
        self.reader = reader

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Gate`. Keys that are one object are compared once."""
        found = {id(key): self._column(queries, key) for key in {id(k): k for k in keys}.values()}
        columns = [found[id(key)] for key in keys]
        return torch.stack(columns, 1) if columns else queries["mask"].new_zeros(len(queries["mask"]), 0)

    @staticmethod
    def _column(queries: Features, key: Key) -> Tensor:
        act = activation(queries, key["delta"].to(queries["inputs"].device))
        # An empty memory is activated by nothing: 0 of 0 is no relevance.
        least = key["epsilon"].to(act.device).clamp_min(torch.finfo(act.dtype).tiny)
        return act / (act + least)


class Margin:
    """The margin loss: a side memory is quiet for unrelated questions and loud for those of its edits."""

    def __init__(self, reader: InputReader, config: EditorConfig) -> None:
        self.reader, self.config = reader, config
        self.known: dict[str, tuple[Features, Features, Tensor]]

    def __call__(self, problems: Sequence[Problem]) -> Callable[[Problem], Tensor]:
        """Read what edits are compared on, which no side memory changes, and give each edit's term of the loss."""
        self.known = {}
        for problem in problems:
            image = problem.questions[0].image
            shown = [None] if image is None else [None, image]
            neutral = [Question(i, text) for text in NEUTRAL for i in shown]
            # Each edit by itself, so that what it is compared with does not depend on its batch.
            read = self.reader.questions([*problem.questions, *neutral])
            count = len(problem.questions)
            own = {name: value[:count] for name, value in read.items()}
            other = {name: value[count:] for name, value in read.items()}
            self.known[problem.name] = own, other, self._unit(own)
        return self.loss

    def loss(self, problem: Problem) -> Tensor:
        """The mean of what violates each of the three margins, as published, (); 1 is the layer's own output."""
        (delta,) = problem.deltas.values()
        own, other, unit = self.known[problem.name]
        inside, outside = (activation(read, delta.factors[0]) / unit for read in (own, other))
        alpha, beta, gamma = self.config.act_alpha, self.config.act_beta, self.config.act_gamma
        return _hinge(outside - alpha) + _hinge(beta - inside) + _hinge(outside[:, None] - inside + gamma)

    @torch.no_grad()
    def _unit(self, own: Features) -> Tensor:
        slot, inputs = self.reader.slot, own["inputs"]
        written = inputs if slot.after else slot.module(inputs)
        return _over_tokens(written.float().norm(dim=-1), own["mask"]).mean()


class WISE:
    """A side memory per edit, or one that edits in force together share, behind a gate of its own.

    Raises:
        ConfigError: the choice of sites is not one decoder layer for all edits.
    """

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        self.backbone, self.config = backbone, config
        # A side memory is one place, whatever is written to it: the choice is asked of any request.
        (self.chosen,) = sites([EditRequest(None, NEUTRAL[0], NEUTRAL[0])])
        slots = {n: s for site in self.chosen for n, s in backbone.sites[site].slots.items()}
        if len(slots) != 1 or any(backbone.sites[site].pictured for site in self.chosen):
            raise ConfigError(
                f"A side memory is a copy of one decoder layer's projection, but the sites are {self.chosen}.",
                "set the editor's sites to decoder.N, middle or last",
            )
        ((self.name, self.slot),) = slots.items()
        self.reader = InputReader(backbone, self.slot)
        self.gate = ActivationGate(self.reader)

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            chunk = requests[start : start + self.config.batch_size]
            margin = Margin(self.reader, self.config)

            def begun(problems: list[Problem], margin: Margin = margin) -> Callable[[Problem], Tensor]:
                for problem in problems:
                    self._mask(problem.deltas[self.name].factors[0], problem.name)
                return margin(problems)

            sites = [self.chosen] * len(chunk)
            problems = optimise(self.backbone, chunk, sites, self.config, seed=seed, full_rank=True, extra=begun)
            for problem in problems:
                edit = finished(problem, self.chosen)
                edits.append(replace(edit, key=self._key(edit.deltas, [problem])))
        return edits

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """See :class:`ldke_pl.editors.base.JointEditor`."""
        del edits
        size = math.ceil(len(requests) / self.config.shards)
        problems: list[Problem] = []
        shards: list[Tensor] = []
        for start in range(0, len(requests), size):
            problems += self._shard(requests[start : start + size], f"{seed}|shard {len(shards)}", seed)
            shards.append(problems[-1].deltas[self.name].factors[0].detach().cpu())
        deltas = {self.name: Delta((ties(torch.stack(shards), TRIM),))}
        key = self._key(deltas, problems)
        return [replace(finished(p, self.chosen), deltas=deltas, key=key) for p in problems]

    def _shard(self, requests: Sequence[EditRequest], name: str, seed: int) -> list[Problem]:
        """Write one batch of requests after another into one side memory, which their problems share."""
        shape, device = (self.slot.out_features, self.slot.in_features), self.backbone.device
        problems: list[Problem] = []
        with torch.inference_mode(False):
            memory = torch.zeros(shape, device=device, dtype=torch.float32, requires_grad=True)
            self._mask(memory, name)
        deltas, margin = {self.name: Delta((memory,))}, Margin(self.reader, self.config)
        for start in range(0, len(requests), self.config.shard_batch):
            batch = requests[start : start + self.config.shard_batch]
            problems += optimise_together(self.backbone, batch, deltas, self.config, seed=seed, extra=margin)
        return problems

    def _mask(self, memory: Tensor, name: str) -> None:
        """Let gradients reach a random ``density`` of a side memory's entries alone; ``name`` is what draws them."""
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]))
        mask = (torch.rand(memory.shape, generator=generator) < self.config.density).to(memory)
        memory.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _key(self, deltas: Deltas, problems: Sequence[Problem]) -> Key:
        """What the gate knows a finished memory by: its update, and what its edits' own questions activate at least."""
        delta = deltas[self.name].factors[0]
        memory = delta.to(self.backbone.device)
        acts = [activation(self.reader.questions(p.questions), memory).min() for p in problems]
        return {"delta": delta, "epsilon": torch.stack(acts).min().float().cpu() * self.config.act_ratio}


def activation(read: Features, delta: Tensor) -> Tensor:
    """Mean over a question's tokens of the norm of what a side memory adds to the projection, (questions,).

    Args:
        read: as :meth:`InputReader.questions` gives it.
        delta: W' - W, (out, in), fp32.
    """
    with torch.autocast(delta.device.type, enabled=False):
        return _over_tokens(torch.linalg.vector_norm(read["inputs"].float() @ delta.T, dim=-1), read["mask"])


def ties(deltas: Tensor, density: float) -> Tensor:
    """TIES merging (Yadav et al., 2023): trim each update, elect a sign per entry, average those that agree with it.

    Args:
        deltas: updates of one weight, (shards, out, in).
        density: share of an update's entries that is kept, the largest.

    Returns:
        (out, in).
    """
    kept = torch.zeros_like(deltas).flatten(1)
    top = deltas.flatten(1).abs().topk(max(1, int(density * kept.shape[1])), dim=1).indices
    kept = kept.scatter(1, top, deltas.flatten(1).gather(1, top)).view_as(deltas)
    elected = torch.where(kept.sum(0) >= 0, 1.0, -1.0)
    agrees = kept.sign() == elected
    return (kept * agrees).sum(0) / agrees.sum(0).clamp_min(1)


def _over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(1) / mask.sum(1).clamp_min(1)


def _hinge(excess: Tensor) -> Tensor:
    """The mean of what is above zero; zero if nothing is."""
    return excess.clamp_min(0).sum() / (excess > 0).sum().clamp_min(1)
