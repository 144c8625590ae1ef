"""MEND: a hypernetwork turns the gradient of an edit into its update (Mitchell et al., 2022; EasyEdit's MMEdit).

The gradient of the target's cross-entropy with respect to a weight is a sum over tokens of delta u^T, with the token's
input u and the gradient delta at its output. The net reads both, normalised by their statistics over training edits,
and gives new ones through residual low-rank layers, shared by weights of one shape and scaled and shifted per weight;
the update is minus a learned rate per weight times their product. As published: the linear layers of the last three
decoder layers' MLPs, tokens without gradient dropped, loss weights 0.1 for the edit and 1 for locality.

Deviations: the gate of a gated MLP is edited as well; an edit keeps its update in factors, one rank per token, apart
from the weights; the net is as small as ``conf/editor/mend.yaml`` says (rank 1920 for 7B models); the rates are learned
as logarithms, by the same Adam as the rest, with a one-cycle rate and no early stop; rephrasings, altered pictures and
locality probes are drawn from one pool each, where EasyEdit weighs text and picture apart. Applied together, the
updates of all edits are summed, each from gradients at the unedited model; in sequence, each is computed at the model
that the earlier ones have made. The net is trained on single edits only, as published.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.hooks import traced
from ldke_pl.backbone.sites import Slot, slot_of
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.training import answer_loss, change_loss, drawn
from ldke_pl.edits import Delta, Deltas, Edit, applied, request_id
from ldke_pl.errors import EditError

LAYERS = 3
"""How many decoder layers are written to, from the top."""

EDIT_WEIGHT, LOCALITY_WEIGHT = 0.1, 1.0
"""What the two losses count in training."""

PROBES = 2
"""Relevant and irrelevant probes, each, that a training edit is judged by per step."""

Gradient = dict[str, tuple[Tensor, Tensor]]
"""Linear layer -> inputs (tokens, in) and gradients at its outputs (tokens, out) of one edit, fp32."""


class MEND:
    """Edits by transformed gradients."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del sites
        self.backbone, self.config = backbone, config
        plain = [name for name, site in backbone.sites.items() if not site.pictured]
        self.sites = tuple(plain[-LAYERS:])
        self.slots = {name: slot for site in self.sites for name, slot in _linears(backbone, site).items()}
        self.net = Hypernetwork(self.slots, config.rank, config.lr).to(backbone.device)

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            chunk = requests[start : start + self.config.batch_size]
            gradients, losses = self.gradients(chunk)
            for request, gradient, loss in zip(chunk, gradients, losses, strict=True):
                if not math.isfinite(loss):
                    raise EditError(
                        f"The loss of the edit {request.prompt!r} -> {request.target!r} is {loss}.",
                        "check the model's weights for values that are not numbers",
                    )
                deltas = self._stored(gradient)
                name = request_id(request, seed)
                edits.append(Edit(name, request.prompt, request.target, self.sites, deltas, {}, loss, 1))
        return edits

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """See :class:`ldke_pl.editors.base.JointEditor`."""
        total = {name: Delta((sum_of([e.deltas[name] for e in edits]),)) for name in self.slots}
        return [self._shared(requests[0], total, seed)] * len(requests)

    def edit_in_sequence(
        self, requests: Sequence[EditRequest], sizes: Sequence[int], *, seed: int = 0
    ) -> Iterator[list[Edit]]:
        """See :class:`ldke_pl.editors.base.SequentialEditor`."""
        total: dict[str, Delta] = {}
        for n, request in enumerate(requests[: sizes[-1]], 1):
            (gradient,), _ = self.gradients([request], total)
            update = self._stored(gradient)
            total = {name: Delta((sum_of([d for d in (total.get(name), update[name]) if d]),)) for name in update}
            if n in sizes:
                yield [self._shared(request, total, seed)] * n

    def training_loss(self, cases: Sequence[EditCase], generator: torch.Generator) -> Tensor:
        """See :meth:`ldke_pl.editors.base.TrainedEditor.training_loss`."""
        gradients, _ = self.gradients([case.request for case in cases])
        self.net.observe(gradients)
        deltas = [self.net(gradient) for gradient in gradients]
        edit = answer_loss(self.backbone, deltas, drawn(cases, generator, relevant=True, each=PROBES))
        locality = change_loss(self.backbone, deltas, drawn(cases, generator, relevant=False, each=PROBES))
        return EDIT_WEIGHT * edit + LOCALITY_WEIGHT * locality

    def gradients(
        self, requests: Sequence[EditRequest], under: Deltas | None = None
    ) -> tuple[list[Gradient], list[float]]:
        """The gradient of each request's loss, and that loss in nats per token, from one pass over all of them.

        Args:
            under: what was written before; None for the unedited model.
        """
        prompts, device = self.backbone.prompts, self.backbone.device
        with torch.inference_mode(False), torch.enable_grad():
            questions = [Question(r.image, r.prompt) for r in requests]
            batch, labels = prompts.encode_answers(questions, [r.target for r in requests])
            batch, labels = batch.to(device), labels.to(device)
            rows = torch.zeros(len(requests), dtype=torch.long)
            modules = {name: slot.module for name, slot in self.slots.items()}
            # Entered first, the trace sees outputs to which the earlier updates are added.
            with traced(modules) as seen, applied(self.backbone, [under] if under else [], rows if under else rows - 1):
                losses = answer_logits(self.backbone, batch, labels).loss_per_row()
            found = torch.autograd.grad(losses.sum(), [output for _, output in seen.values()])
        there = batch["attention_mask"].bool()
        gradients: list[Gradient] = [{} for _ in requests]
        for (name, (inputs, output)), at_output in zip(seen.items(), found, strict=True):
            u = output.detach() if self.slots[name].after else inputs
            u, delta = (x.reshape(len(requests), -1, x.shape[-1]).float() for x in (u, at_output))
            kept = there & (delta != 0).any(-1)
            for gradient, values, at_values, mask in zip(gradients, u, delta, kept, strict=True):
                gradient[name] = (values[mask], at_values[mask])
        return gradients, losses.tolist()

    def _stored(self, gradient: Gradient) -> dict[str, Delta]:
        with torch.no_grad():
            return {n: Delta(tuple(f.cpu() for f in delta.factors)) for n, delta in self.net(gradient).items()}

    def _shared(self, request: EditRequest, deltas: Deltas, seed: int) -> Edit:
        return Edit(request_id(request, seed), request.prompt, request.target, self.sites, deltas, steps=1)


class Hypernetwork(nn.Module):
    """Everything that MEND learns: a transform per shape of weight, and a rate per weight.

    Args:
        slots: linear layer -> its shape.
        rank: of the transforms' layers.
        lr: the rate that all weights start from.
    """

    def __init__(self, slots: Mapping[str, Slot], rank: int, lr: float) -> None:
        super().__init__()
        shapes = [(slot.in_features, slot.out_features) for slot in slots.values()]
        kinds = list(dict.fromkeys(shapes))
        self.inputs = {name: shape[0] for name, shape in zip(slots, shapes, strict=True)}
        self.places = {
            name: (kinds.index(shape), shapes[:i].count(shape))
            for i, (name, shape) in enumerate(zip(slots, shapes, strict=True))
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.transforms = nn.ModuleList(Transform(sum(kind), shapes.count(kind), rank) for kind in kinds)
        self.log_lr = nn.Parameter(torch.full((len(slots),), math.log(lr)))

    def observe(self, gradients: Sequence[Gradient]) -> None:
        """Take gradients of training edits into the statistics that they are normalised by."""
        for name, (kind, _) in self.places.items():
            self.transforms[kind].observe(torch.cat([torch.cat(g[name], -1) for g in gradients]))  # type: ignore[operator]

    def forward(self, gradient: Gradient) -> dict[str, Delta]:
        """The update of each linear layer, of as many ranks as its gradient has tokens."""
        deltas: dict[str, Delta] = {}
        for lr, (name, (kind, member)) in zip(self.log_lr.exp(), self.places.items(), strict=True):
            found = self.transforms[kind](torch.cat(gradient[name], -1), member)
            u, delta = found.tensor_split([self.inputs[name]], -1)
            deltas[name] = Delta((u, -lr * delta.T))
        return deltas


class Transform(nn.Module):
    """Normalises (u, delta) and transforms them by two residual layers; at first it does neither.

    Args:
        size: numbers in u and delta together.
        members: how many weights share it.
        rank: of its layers.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, size: int, members: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("squares", torch.zeros(size))
        self.layers = nn.ModuleList(ResidualLayer(size, members, rank) for _ in range(2))

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Update mean and sum of squared deviations by ``values``, (tokens, size) (Chan et al., 1979)."""
        count, mean = len(values), values.mean(0)
        away, total = mean - self.mean, self.count + count
        self.squares += (values - mean).square().sum(0) + away.square() * self.count * count / total
        self.mean += away * count / total
        self.count.copy_(total)

    def forward(self, values: Tensor, member: int) -> Tensor:
        """Transform ``values``, (tokens, size), of weight ``member``."""
        if self.count > 1:
            values = (values - self.mean) / ((self.squares / (self.count - 1)).sqrt() + 1e-7)
        for layer in self.layers:
            values = layer(values, member)
        return values


class ResidualLayer(nn.Module):
    """x + max(0, scale (V U x + b) + shift), with scale and shift per weight; the identity at first, as U is zero."""

    def __init__(self, size: int, members: int, rank: int) -> None:
        super().__init__()
        self.U = nn.Parameter(torch.zeros(rank, size))
        self.V = nn.Parameter(torch.randn(size, rank) / math.sqrt(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.scale, self.shift = nn.Parameter(torch.ones(members, size)), nn.Parameter(torch.zeros(members, size))

    def forward(self, values: Tensor, member: int) -> Tensor:
        """(tokens, size) to the same."""
        inner = self.scale[member] * (values @ self.U.T @ self.V.T + self.bias) + self.shift[member]
        # Unlike relu's, clamp's gradient at zero is not zero: there the layer starts.
        return values + inner.clamp(min=0)


def sum_of(deltas: Sequence[Delta]) -> Tensor:
    """The sum of updates of one weight as a full matrix, (out, in)."""
    full = [d.factors[0] for d in deltas if len(d.factors) == 1]
    low = [d.factors for d in deltas if len(d.factors) == 2]
    if low:
        # One product for all: edits add up to few matrices of many ranks.
        full.append(torch.cat([up for _, up in low], 1) @ torch.cat([down for down, _ in low]))
    return torch.stack(full).sum(0)


def _linears(backbone: Backbone, site: str) -> dict[str, Slot]:
    """The site's own linear map, and the linear layers beside it: those of the same MLP."""
    slots = dict(backbone.sites[site].slots)
    for name in list(slots):
        parent, _, _ = name.rpartition(".")
        for beside, module in backbone.model.get_submodule(parent).named_children():
            if isinstance(module, nn.Linear):
                slots.setdefault(f"{parent}.{beside}", slot_of(module))
    return slots
