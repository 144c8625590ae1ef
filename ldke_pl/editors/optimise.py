"""The targeted update: B independent problems solved in one forward per step. Ours.

Every edit has its own factors, its own views of its picture and its own moment of stopping; the loss of a batch is the
sum of theirs, so no gradient crosses from one edit to another.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.hooks import captured
from ldke_pl.backbone.prefix import Prefix, compiled, lowest_layer, recomputed, written_layers
from ldke_pl.backbone.prompts import IGNORE, prompt_ends
from ldke_pl.backbone.sites import Slot
from ldke_pl.backbone.vision import encoded_once
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question, load_image
from ldke_pl.data.views import augmented_views
from ldke_pl.editors.propagation import Distance, Teacher, read_teachers
from ldke_pl.editors.watch import Step, watcher
from ldke_pl.edits import Delta, Deltas, applied, request_id
from ldke_pl.errors import EditError

Where = tuple[str, ...] | Mapping[str, Slot] | Deltas
"""What an edit is written to: names of sites, linear maps by qualified name, or the deltas that it starts from."""

_REBUILD = 0.75
"""The batch is packed anew when the share of its edits that still run falls to this; fewer repacks, less padding."""


@dataclass
class Problem:
    """One edit being optimised.

    Args:
        request: the fact to write.
        name: id from the request's content; seeds views and initial factors.
        deltas: leaf factors per linear layer.
        teacher: what the question should be read as, if the edit propagates.
        loss: objective before the last step: nats per answer token, and the weighted distance from the teacher. If
            views are shown in turns, the mean over all of them, each as it was when last shown.
        steps: optimisation steps taken.
        done: whether the loss has fallen below the stop value, at every view.
        recent: what the loss is the mean of, one value per turn.
    """

    request: EditRequest
    name: str
    questions: list[Question]
    deltas: dict[str, Delta]
    teacher: Teacher | None = None
    loss: float = math.inf
    steps: int = 0
    done: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=1))

    def parameters(self) -> list[Tensor]:
        return [t for delta in self.deltas.values() for t in delta.tensors()]


Extra = Callable[[list[Problem]], Callable[[Problem], Tensor]]
"""What a method adds to the objective: of the problems as they begin, it makes a term of each one's loss."""


def optimise(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    sites: Sequence[Where],
    config: EditorConfig,
    *,
    seed: int,
    full_rank: bool = False,
    extra: Extra | None = None,
) -> list[Problem]:
    """Minimise each edit's objective over its views until it stops or the steps run out.

    Args:
        sites: what to write to, per request.
        full_rank: optimise a full weight update instead of a low-rank one.
        extra: adds a term to each edit's loss.

    Raises:
        EditError: a request is unusable, or a loss is not a number. Other edits of the batch are lost with it, so
            callers keep batches small and store finished ones.
    """
    with torch.inference_mode(False), torch.enable_grad(), encoded_once(backbone.model):
        problems = [begun(backbone, r, s, config, seed, full_rank) for r, s in zip(requests, sites, strict=True)]
        if config.propagation_weight:
            _teach(backbone, [p for p, s in zip(problems, sites, strict=True) if _propagates(p.request, s, config)])
        taught = [t for p in problems if p.teacher for t in p.parameters()]
        optimiser = adam((t for p in problems if not p.teacher for t in p.parameters()), config, taught)
        batch = Batch(backbone, problems, config)
        term = extra(problems) if extra else None
        for _ in range(config.steps):
            running = [p for p in problems if not p.done]
            if len(running) <= _REBUILD * len(batch.problems):
                batch = Batch(backbone, running, config)
            losses = batch.losses(term)
            record(batch.problems, losses, config.stop_loss)
            active = [(p, loss) for p, loss in zip(batch.problems, losses, strict=True) if not p.done]
            if not active:
                break
            objective = torch.stack([loss for _, loss in active]).sum()
            if config.norm_weight:
                objective = objective + config.norm_weight * torch.stack([_norm(p) for p, _ in active]).sum()
            optimiser.zero_grad()
            objective.backward()  # type: ignore[no-untyped-call]
            step(optimiser, batch.problems)
    return problems


def adam(parameters: Iterable[Tensor], config: EditorConfig, taught: Iterable[Tensor] = ()) -> torch.optim.Adam:
    """The optimiser of what edits are made of.

    Args:
        taught: the same of edits that have a teacher, for which it may forget sooner.
    """
    betas = config.propagation_beta1, config.propagation_beta2
    groups: list[dict[str, Any]] = [{"params": [*parameters]}, {"params": [*taught], "betas": betas}]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=config.lr, eps=config.eps)


def step(optimiser: torch.optim.Optimizer, problems: Sequence[Problem]) -> None:
    """Move the edits that still run. A gradient of zero would let Adam's momentum move the finished ones as well."""
    for problem in problems:
        if problem.done:
            for tensor in problem.parameters():
                tensor.grad = None
        else:
            problem.steps += 1
    optimiser.step()


def _propagates(request: EditRequest, sites: Where, config: EditorConfig) -> bool:
    """Whether the target says what the picture shows: an edit of unknown kind does if the connector is its site."""
    if request.image is None:
        return False
    return request.group in config.propagation_groups or (not request.group and CONNECTOR in sites)


def _teach(backbone: Backbone, problems: Sequence[Problem]) -> None:
    if problems:
        for problem, teacher in zip(problems, read_teachers(backbone, [p.request for p in problems]), strict=True):
            problem.teacher = teacher


def _norm(problem: Problem) -> Tensor:
    """Squared norm of the last factors: zero at the start, and zero only where nothing is written."""
    return torch.stack([d.factors[-1].square().sum() for d in problem.deltas.values()]).sum()


class Batch:
    """Some edits, whose views are shown all at once or in turns (``views_per_step``)."""

    def __init__(self, backbone: Backbone, problems: list[Problem], config: EditorConfig) -> None:
        self.problems = problems
        turns = max(_n_turns(len(p.questions), config) for p in problems)
        self.turns = [Turn(backbone, problems, config, i) for i in range(turns)]
        # An edit's next view does not depend on how often its batch was packed anew.
        self.next = max(p.steps for p in problems)

    def losses(self, term: Callable[[Problem], Tensor] | None = None) -> list[Tensor]:
        """The objective of each edit: the mean over the views of the next turn, and ``term``."""
        turn = self.turns[self.next % len(self.turns)]
        self.next += 1
        losses = turn.losses()
        return [loss + term(p) for loss, p in zip(losses, self.problems, strict=True)] if term else losses


class Turn:
    """The views that are shown in one turn, as one padded batch on the model's device."""

    def __init__(self, backbone: Backbone, problems: list[Problem], config: EditorConfig, number: int) -> None:
        self.backbone, self.problems, self.weight = backbone, problems, config.propagation_weight
        views = [shown(p.questions, config, number) for p in problems]
        questions = [q for of_one in views for q in of_one]
        answers = [p.request.target for p, of_one in zip(problems, views, strict=True) for _ in of_one]
        batch, self.labels = backbone.prompts.encode_answers(questions, answers)
        self.batch = batch.to(backbone.device)
        self.labels = self.labels.to(backbone.device)
        self.ends = prompt_ends(self.labels)
        self.rows = torch.tensor([i for i, of_one in enumerate(views) for _ in of_one])
        self.pictures = backbone.prompts.pictures(self.batch)
        prompt = self.batch["attention_mask"].bool() & (self.labels == IGNORE)
        teachers = [p.teacher for p, of_one in zip(problems, views, strict=True) for _ in of_one]
        self.distance = Distance(backbone, teachers, self.batch["input_ids"], prompt)
        names = [p.deltas.keys() for p in problems]
        lowest = lowest_layer(backbone, names)
        self.prefix = Prefix(backbone, lowest, watched=bool(self.distance.watched()))
        unwritten = {*range(lowest, len(backbone.layers))} - written_layers(backbone, names)
        plain = [backbone.layers[i] for i in unwritten]
        again = backbone.large if config.checkpointing is None else config.checkpointing
        self.recomputed, self.compiled = plain if again else [], plain if config.compile else []

    def losses(self) -> list[Tensor]:
        """The mean over its views, per edit."""
        deltas = [p.deltas for p in self.problems]
        watched = captured(self.distance.watched(), keep_graph=True)
        images, sizes = self.pictures.numbered(self.rows), self.pictures.sizes
        written = applied(self.backbone, deltas, self.rows, images, sizes, self.ends)
        with written, self.prefix.reused(), compiled(self.compiled), recomputed(self.recomputed), watched as states:
            per_row = answer_logits(self.backbone, self.batch, self.labels).loss_per_row()
        per_row = per_row + self.weight * self.distance.per_row(states)
        rows = self.rows.to(per_row.device)
        return [per_row[rows == i].mean() for i in range(len(self.problems))]


def _n_turns(n_views: int, config: EditorConfig) -> int:
    return math.ceil(n_views / (config.views_per_step or n_views))


def shown(views: list[Question], config: EditorConfig, turn: int) -> list[Question]:
    """The views of one turn; an edit that has fewer than others of its batch begins again with its first."""
    n = min(config.views_per_step or len(views), len(views))
    return [views[(turn * n + i) % len(views)] for i in range(n)]


def record(problems: Sequence[Problem], losses: Sequence[Tensor], stop_loss: float) -> None:
    """Note the losses of the edits that still run, and which of them are done; tell whoever watches.

    Raises:
        EditError: a loss is not a number.
    """
    tell = watcher()
    for problem, loss in zip(problems, losses, strict=True):
        if problem.done:
            continue
        problem.recent.append(loss.item())
        problem.loss = math.fsum(problem.recent) / len(problem.recent)
        if not math.isfinite(problem.loss):
            raise EditError(
                f"The loss of the edit {problem.request.prompt!r} -> {problem.request.target!r} is {problem.loss} "
                f"after {problem.steps} steps.",
                "lower the editor's lr, or check the model's weights for values that are not numbers",
            )
        problem.done = problem.loss < stop_loss and len(problem.recent) == problem.recent.maxlen
        if tell:
            tell(Step(problem.name, problem.steps, problem.loss))


def begun(
    backbone: Backbone, request: EditRequest, where: Where, config: EditorConfig, seed: int, full_rank: bool
) -> Problem:
    """One edit before its first step: its views, and deltas that change nothing.

    Args:
        where: site names, linear layers by name, or deltas to begin with by name; () for what has no delta of its own.

    Raises:
        EditError: the request has no picture, and a site is for pictures only.
    """
    name = request_id(request, seed)
    entropy = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    questions = [Question(None, request.prompt)]
    if request.image is not None:
        views = augmented_views(load_image(request.image), config.views, np.random.default_rng(entropy))
        questions = [Question(view, request.prompt) for view in views]
    generator = torch.Generator().manual_seed(entropy % 2**63)
    written = where if isinstance(where, Mapping) else _slots(backbone, request, where)
    rank = None if full_rank else config.rank
    deltas = {n: w if isinstance(w, Delta) else _fresh(w, rank, generator) for n, w in written.items()}
    device = backbone.device
    for delta in deltas.values():
        for tensor in delta.tensors():
            tensor.data = tensor.data.to(device)
            tensor.requires_grad_(True)
    recent: deque[float] = deque(maxlen=_n_turns(len(questions), config))
    return Problem(request, name, questions, deltas, recent=recent)


def _slots(backbone: Backbone, request: EditRequest, sites: tuple[str, ...]) -> dict[str, Slot]:
    unreached = [site for site in sites if request.image is None and backbone.sites[site].pictured]
    if unreached:
        raise EditError(
            f"The edit {request.prompt!r} -> {request.target!r} has no picture to write the {unreached[0]} for.",
            "write it to a decoder layer, as in localizer=readout, or give it a picture",
        )
    return {n: slot for site in sites for n, slot in backbone.sites[site].slots.items()}


def _fresh(slot: Slot, rank: int | None, generator: torch.Generator) -> Delta:
    """A delta whose product is zero, in fp32 whatever the default: the edit starts from the unedited model."""
    if rank is None:
        return Delta((torch.zeros(slot.out_features, slot.in_features, dtype=torch.float32),))
    down = torch.randn(rank, slot.in_features, generator=generator, dtype=torch.float32)
    return Delta((down / math.sqrt(slot.in_features), torch.zeros(slot.out_features, rank, dtype=torch.float32)))
