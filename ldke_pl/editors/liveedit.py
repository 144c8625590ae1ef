"""LiveEdit: a hypernetwork emits a low-rank expert per edit, and a gate chooses it (Chen et al., CVPR 2025).

From the states of an edit's picture, question and target at one layer the net emits an expert of rank 4, which is added
to that layer's MLP output (layer 21 of 32 as published; the same fraction of other depths). A query meets an expert
only if its picture is more like the edit's than like a learned reference (hard visual routing); textual similarity,
less that to another reference, is its weight (soft textual routing). Trained on the edits' answers, on the divergence
from the unedited model under irrelevant probes, and on both similarities by contrast.

Deviations: a query goes to one expert, the passing one of most textual weight, if that is at least a half, in place of
a weighted sum of all that pass; the expert then has full weight. The generator is one cross-attention with two small
heads: each rank of the expert attends to tokens whose MLP activations it answers to, and to tokens whose states it
writes. Picture and question are averages of the unedited model's states at that layer, in place of attention pooling. A
query and an edit without picture pass the visual gate together, one of them without does not. The contrast is logistic
against the references, over the probes and edits of a batch; irrelevant probes count against the product of both
similarities, because it is not said in which of them they differ. Training targets are crossed with one another.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.hooks import captured, traced
from ldke_pl.backbone.prompts import IGNORE
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.training import Asked, answer_loss, change_loss, crossed, drawn
from ldke_pl.edits import Delta, Edit, request_id
from ldke_pl.router import FeatureReader, Features, Key

DEPTH = 21 / 32
"""Where the edited layer is, as a fraction of all layers."""

PROBES = 1
"""Relevant and irrelevant probes, each, that a training edit is judged by per step."""

ATTENTION, HIDDEN, ROUTING = 64, 128, 64
"""Sizes of the generator's keys, of its heads' hidden layers, and of the routing features."""

PLACES = 12
"""Places of tokens told apart by the generator: picture, question, and the first tokens of the target."""


class LiveEdit:
    """Edits by generated experts behind a gate of its own."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del sites
        self.backbone, self.config = backbone, config
        plain = [i for i in range(len(backbone.layers)) if not backbone.sites[f"decoder.{i}"].pictured]
        wanted = int(DEPTH * len(backbone.layers))
        self.layer = max((i for i in plain if i <= wanted), default=plain[0])
        self.site = f"decoder.{self.layer}"
        ((self.name, self.slot),) = backbone.sites[self.site].slots.items()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            expert = Generator(backbone.width, self.slot.in_features, self.slot.out_features, config.rank)
            self.net = nn.ModuleDict({"expert": expert, "routing": Routing(backbone.width)}).to(backbone.device)
        self.gate = ExpertGate(FeatureReader(backbone, [self.layer]), self.routing)

    @property
    def routing(self) -> "Routing":
        """What compares queries with edits."""
        found: Routing = self.net["routing"]  # type: ignore[assignment]
        return found

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            chunk = requests[start : start + self.config.batch_size]
            with torch.inference_mode(False), torch.no_grad():
                made, keys = self.experts(chunk), self.gate.keys(chunk)
            for request, deltas, key in zip(chunk, made, keys, strict=True):
                stored = {name: Delta(tuple(f.cpu() for f in delta.factors)) for name, delta in deltas.items()}
                name = request_id(request, seed)
                edits.append(Edit(name, request.prompt, request.target, (self.site,), stored, key, steps=1))
        return edits

    def experts(self, requests: Sequence[EditRequest]) -> list[dict[str, Delta]]:
        """The expert of each request, in the autograd graph of the net alone."""
        prompts, device = self.backbone.prompts, self.backbone.device
        questions = [Question(r.image, r.prompt) for r in requests]
        batch, labels = prompts.encode_answers(questions, [r.target for r in requests])
        batch, labels = batch.to(device), labels.to(device)
        layer = {"layer": self.backbone.layers[self.layer]}
        with torch.no_grad(), traced({"mlp": self.slot.module}) as seen, captured(layer) as states:
            answer_logits(self.backbone, batch, labels)
        inputs, output = seen["mlp"]
        read = (output.detach() if self.slot.after else inputs).reshape(*labels.shape, -1).float()
        picture = batch["input_ids"] == prompts.image_token_id
        places = _places(picture, labels)
        down, up = self.net["expert"](states["layer"].float(), read, places, batch["attention_mask"].bool())
        return [{self.name: Delta((d, u))} for d, u in zip(down, up, strict=True)]

    def training_loss(self, cases: Sequence[EditCase], generator: torch.Generator) -> Tensor:
        """See :meth:`ldke_pl.editors.base.TrainedEditor.training_loss`."""
        cases = crossed(self.backbone, cases, generator)
        experts = self.experts([case.request for case in cases])
        right = drawn(cases, generator, relevant=True, each=PROBES)
        wrong = drawn(cases, generator, relevant=False, each=PROBES)
        edit = answer_loss(self.backbone, experts, right)
        locality = change_loss(self.backbone, experts, wrong)
        return edit + locality + self._contrast(cases, right, wrong)

    def _contrast(self, cases: Sequence[EditCase], right: Asked, wrong: Asked) -> Tensor:
        """The routing losses of all pairs of probes and edits."""
        reader, asked = self.gate.reader, [*right, *wrong]
        queries = reader.questions([Question(p.image, p.prompt) for _, p in asked])
        known = reader.questions([Question(c.request.image, c.request.prompt) for c in cases])
        visual, textual = self.routing.compare(self.routing(queries), self.routing(known))
        own = torch.zeros_like(visual, dtype=torch.bool)
        for query, (number, _) in enumerate(right):
            own[query, number] = True
        facts = [(c.entity, c.relation) for c in cases]
        # Another edit of the batch may be of the same fact.
        same = torch.tensor([[bool(p.relation) and (p.entity, p.relation) == f for f in facts] for _, p in asked])
        other = ~own & ~same.to(own.device)
        pulled = F.softplus(-visual[own]).mean() + F.softplus(-textual[own]).mean()
        # -log(1 - pq), where p = 1 / (1 + e^a) and q = 1 / (1 + e^b): stable where either is close to 1.
        a, b = -visual[other], -textual[other]
        pushed = F.softplus(a) + F.softplus(b) - torch.logsumexp(torch.stack([a, b, a + b]), 0)
        return pulled + pushed.mean()


class ExpertGate:
    """Hard visual, then soft textual routing."""

    threshold = 0.5

    def __init__(self, reader: FeatureReader, routing: "Routing") -> None:
        self.reader, self.routing = reader, routing

    @torch.no_grad()
    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """Routing features of the edits' own questions."""
        found = self.routing(self.reader.questions([Question(r.image, r.prompt) for r in requests]))
        return [{name: value[i].cpu() for name, value in found.items()} for i in range(len(requests))]

    @torch.no_grad()
    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Gate`."""
        asked = self.routing(queries)
        known = {name: torch.stack([key[name] for key in keys]).to(value.device) for name, value in asked.items()}
        visual, textual = self.routing.compare(asked, known)
        return textual.sigmoid() * (visual > 0)


class Routing(nn.Module):
    """Projections of picture and question, and what similarities are measured against.

    Args:
        width: size of the model's states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ROUTING))
        self.textual = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, ROUTING))
        self.references = nn.Parameter(torch.randn(2, ROUTING))
        self.log_scale = nn.Parameter(torch.full((2,), math.log(10)))

    def forward(self, features: Features) -> Features:
        """``visual`` and ``textual`` unit vectors, (n, ROUTING), and ``seen``, (n, 1)."""
        asked = torch.cat([features["text"], features["last"]], -1)
        visual, textual = self.visual(features["image"]), self.textual(asked)
        return {
            "visual": F.normalize(visual, dim=-1),
            "textual": F.normalize(textual, dim=-1),
            "seen": features["seen"],
        }

    def compare(self, queries: Features, edits: Features) -> tuple[Tensor, Tensor]:
        """Visual and textual logits, (queries, edits): scaled cosines less those with the reference."""
        logits = []
        for name, reference, scale in zip(("visual", "textual"), self.references, self.log_scale.exp(), strict=True):
            level = queries[name] @ F.normalize(reference, dim=-1)
            logits.append(scale * (queries[name] @ edits[name].T - level[:, None]))
        seen, known = queries["seen"] > 0, edits["seen"].T > 0
        # No picture is like no picture, and unlike any.
        visual = torch.where(seen & known, logits[0], torch.where(seen == known, 20.0, -20.0))
        return visual, logits[1]


class Generator(nn.Module):
    """From an edit's states to its expert, whose product is zero at first.

    Args:
        width: size of the model's states.
        inputs, outputs: what the expert maps from and to.
        rank: of the expert.
    """

    def __init__(self, width: int, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.keys, self.places = nn.Linear(width, ATTENTION), nn.Embedding(PLACES, ATTENTION)
        self.queries = nn.Parameter(torch.randn(2, rank, ATTENTION))
        self.states, self.read = nn.LayerNorm(width), nn.LayerNorm(inputs)
        self.down = nn.Sequential(nn.Linear(inputs, HIDDEN // 2), nn.GELU(), nn.Linear(HIDDEN // 2, inputs))
        self.up = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs))
        self.written = nn.Parameter(torch.zeros(rank, outputs))
        last = self.up[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, states: Tensor, read: Tensor, places: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (edits, rank, in) and (edits, out, rank).

        Args:
            states: outputs of the layer, (edits, tokens, width).
            read: inputs of the linear map, (edits, tokens, in).
            places: what each token is, (edits, tokens) long below ``PLACES``.
            there: which tokens are not padding, (edits, tokens) bool.
        """
        states, read = self.states(states), self.read(read)
        scores = torch.einsum("fra,bta->bfrt", self.queries, self.keys(states) + self.places(places))
        weights = (scores / math.sqrt(ATTENTION)).masked_fill(~there[:, None, None], -torch.inf).softmax(-1)
        heard, told = weights[:, 0] @ read, weights[:, 1] @ states
        down = (heard + self.down(heard)) / math.sqrt(read.shape[-1])
        return down, (self.up(told) + self.written).transpose(1, 2)


def _places(picture: Tensor, labels: Tensor) -> Tensor:
    """0 for the picture's tokens, 1 for the question's, 2 and up along the target's, (edits, tokens)."""
    told = labels != IGNORE
    along = (told.cumsum(1) + 1).clamp(max=PLACES - 1)
    return torch.where(told, along, torch.where(picture, 0, 1))
