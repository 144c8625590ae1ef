"""Asks every probe before and after the edits and scores it under the protocols of DESIGN section 8.

The unedited model is asked once, before any edit exists, and its answers are shared by all methods. Rows of one batch
run under different edits; where the router sends a query to the base, its answer is the one the base gave, which is
what the edited model gives (a base row is bit-equal to the base on the same batch, and tested to be).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.prompts import prompt_ends
from ldke_pl.data import EditCase, ImageSource, Question, scored_together
from ldke_pl.edits import Edit, applied
from ldke_pl.metrics.answers import Answers, Forced, Item, answers_key, load_answers, save_answers
from ldke_pl.metrics.functional import exact_match, token_accuracy, top1_agreement, topk_agreement, topk_ids
from ldke_pl.metrics.grouping import split
from ldke_pl.metrics.results import BASE, ProbeResult
from ldke_pl.router import Gate, Key, best

TOP_K = {True: 10, False: 1}
"""The ``vlkeb`` protocol compares ten ids per position where there is a picture and one where there is none."""


@dataclass(frozen=True)
class Run:
    """What rows are labelled with: the editor's name, "single" or "joint", and the seed of the edits."""

    method: str
    mode: str
    seed: int


@dataclass(frozen=True)
class Routes:
    """Where every item goes.

    Args:
        edits: positions of edits; -1 for the base.
        relevance: of every item to the edit that it is most relevant to; None where nothing decides.
        threshold: what the relevance was compared with.
    """

    edits: list[int]
    relevance: list[float] | None = None
    threshold: float | None = None


class Evaluator:
    """Holds the probes of some cases and what the unedited model says to them.

    Args:
        cases: the edits and their probes.
        protocols: which of "generate", "masked", "vlkeb" to score.
        batch_size: probes in one forward.
    """

    def __init__(
        self, backbone: Backbone, cases: Sequence[EditCase], protocols: Sequence[str], batch_size: int
    ) -> None:
        self.backbone, self.cases, self.protocols, self.batch_size = backbone, cases, protocols, batch_size
        self.items: list[Item] = [(case, probe) for case in cases for probe in case.probes]
        self._own = [i for i, case in enumerate(cases) for _ in case.probes]
        self.before = Answers()

    def ask_base(self, cache: Path | None = None) -> None:
        """Ask the unedited model everything, ceilings included. Call before the first edit is made.

        Args:
            cache: folder in which its answers are kept for later runs; None to ask anew.
        """
        settings = {"protocols": self.protocols, "batch_size": self.batch_size}
        path = cache / f"answers-{answers_key(self.backbone, self.items, settings)}.safetensors" if cache else None
        kept = load_answers(path) if path else None
        self.before = kept or self._asked_base()
        if path and not kept:
            save_answers(path, self.before)

    @torch.no_grad()
    def _asked_base(self) -> Answers:
        answers = self._answers(range(len(self.items)), None)
        asked = [i for i, (_, probe) in enumerate(self.items) if probe.ceiling is not None]
        questions = [probe.ceiling for _, probe in self.items if probe.ceiling is not None]
        for place, text in zip(asked, self._generate(questions, None), strict=True):
            answers.ceilings[place] = exact_match(text, self.items[place][1].expected or "")
        return answers

    def self_agreement(self, sample: int = 256) -> float:
        """Share of answers that the base repeats when asked in batches of another size."""
        places = range(0, len(self.items), max(1, len(self.items) // sample))
        size, self.batch_size = self.batch_size, max(1, self.batch_size // 3)
        again = self._generate([self._question(i) for i in places], None)
        self.batch_size = size
        return sum(exact_match(a, self.before.texts[i]) for a, i in zip(again, places, strict=True)) / len(again)

    def relevance(self, gate: Gate, keys: Sequence[Key], together: Sequence[int] | None = None) -> Tensor:
        """Relevance of every item's question to every key, (items, keys), from the prompt alone.

        Args:
            together: positions of the cases whose items are asked, others are left at 0; None for all.
        """
        found = torch.zeros(len(self.items), len(keys))
        for batch in self._batches(self.wanted(together)):
            features = gate.reader.questions([self._question(i) for i in batch])
            found[batch] = gate.relevance(features, keys).cpu()
        return found

    def own_relevance(self, gate: Gate, keys: Sequence[Key]) -> Tensor:
        """Relevance of every item's question to its own case's key, (items,), for gates too dear to ask of all."""
        found = torch.zeros(len(self.items))
        for places in split(range(len(self.items)), lambda i: self._own[i]).values():
            features = gate.reader.questions([self._question(i) for i in places])
            found[places] = gate.relevance(features, [keys[self._own[places[0]]]])[:, 0].cpu()
        return found

    def forced(self, edits: Sequence[Edit], together: Sequence[int] | None = None) -> Answers:
        """Answers with every probe under its own case's edit, whatever a router would say.

        Args:
            together: positions of the cases whose probes are asked; None for all.
        """
        if all(edit.changes_nothing for edit in edits):
            return self.before
        return self._answers(self.wanted(together), {i: edits[own] for i, own in enumerate(self._own)})

    def rows(
        self,
        run: Run,
        edits: Sequence[Edit],
        unrouted: Answers,
        routes: Routes,
        together: Sequence[int] | None = None,
    ) -> Iterator[ProbeResult]:
        """Scored rows of one method.

        Args:
            edits: one per case, in order.
            unrouted: what :meth:`forced` returned.
            routes: where each item goes, by position in ``edits``.
            together: positions of the cases whose edits are applied together; None for each edit by itself.
        """
        wanted = self.wanted(together)
        goes = routes.edits
        strays = {i: edits[goes[i]] for i in wanted if goes[i] not in (-1, self._own[i])}
        after = self._answers(sorted(strays), strays)
        scores = {p: self._scores(p, unrouted) for p in self.protocols}
        stray_scores = {p: self._scores(p, after) for p in self.protocols}
        base_scores = {p: self._scores(p, self.before) for p in self.protocols}
        for protocol in self.protocols:
            for i in wanted:
                own, route = edits[self._own[i]], goes[i]
                chosen, said = (stray_scores, after) if i in strays else (scores, unrouted)
                if route < 0:
                    chosen, said = base_scores, self.before
                text = protocol == "generate"
                yield self._row(
                    i, own, run,
                    protocol=protocol,
                    after=said.texts[i] if text else "", after_unrouted=unrouted.texts[i] if text else "",
                    score=chosen[protocol][i], score_unrouted=scores[protocol][i],
                    score_no_edit=base_scores[protocol][i],
                    route=BASE if route < 0 else edits[route].edit_id,
                    relevance=routes.relevance[i] if routes.relevance else None, threshold=routes.threshold,
                )  # fmt: skip

    def wanted(self, together: Sequence[int] | None) -> list[int]:
        """Items to score; together, a locality probe that another edit answers has nothing to be compared with."""
        if together is None:
            return list(range(len(self.items)))
        members = sorted(together)
        scored = dict(zip(members, scored_together([self.cases[i] for i in members]), strict=True))
        places, first = [], 0
        for number, case in enumerate(self.cases):
            places += [first + i for i, kept in enumerate(scored.get(number, ())) if kept]
            first += len(case.probes)
        return places

    def own_routes(self) -> list[int]:
        """Every item routed to its own case's edit: what an unrouted method does."""
        return list(self._own)

    def own_column(self, relevance: Tensor) -> Tensor:
        """What :meth:`own_relevance` gives, from what :meth:`relevance` gave for one key per case."""
        return relevance[torch.arange(len(self._own)), torch.tensor(self._own)]

    def single_routes(self, relevance: Tensor, threshold: float) -> Routes:
        """Routes with each edit alone in the index, from the relevance of every item to its own edit, (items,)."""
        goes = torch.where(relevance >= threshold, torch.tensor(self._own), -1).tolist()
        return Routes(goes, relevance.tolist(), threshold)

    def joint_routes(
        self, relevance: Tensor, edits: Sequence[Edit], together: Sequence[int], threshold: float
    ) -> Routes:
        """Routes with the edits at positions ``together`` in one index.

        Where several are one change of the model, a query that goes to it goes to its own case's edit.

        Args:
            relevance: to the members of the index, (items, len(together)).
        """
        members, chosen = torch.tensor(together), best(relevance, threshold)
        routes = torch.where(chosen >= 0, members[chosen.clamp_min(0)], -1).tolist()
        shared = [r >= 0 and edits[r].deltas is edits[o].deltas for r, o in zip(routes, self._own, strict=True)]
        goes = [o if same else r for same, r, o in zip(shared, routes, self._own, strict=True)]
        return Routes(goes, relevance.amax(1).tolist(), threshold)

    def _question(self, i: int) -> Question:
        probe = self.items[i][1]
        return Question(probe.image, probe.prompt)

    def _batches(self, places: Iterable[int]) -> Iterator[list[int]]:
        """Questions of like length together, in an order that does not depend on the model."""
        order = sorted(places, key=lambda i: (self._question(i).image is None, len(self._question(i).prompt)))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _answers(self, places: Iterable[int], edits: Mapping[int, Edit] | None) -> Answers:
        answers = Answers()
        places = list(places)
        chosen = [edits[i] for i in places] if edits else None
        questions = [self._question(i) for i in places]
        asked = [e.asked(q) for e, q in zip(chosen, questions, strict=True)] if chosen else questions
        answers.texts = dict(zip(places, self._generate(asked, chosen), strict=True))
        if {"masked", "vlkeb"} & set(self.protocols):
            answers.forced = [self._force(batch, edits) for batch in self._batches(places)]
        return answers

    def _generate(self, questions: Sequence[Question], edits: Sequence[Edit] | None) -> list[str]:
        order = sorted(range(len(questions)), key=lambda i: (questions[i].image is None, len(questions[i].prompt)))
        texts = [""] * len(questions)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            asked = [questions[i] for i in batch]
            inputs = self.backbone.prompts.encode(asked).to(self.backbone.device)
            with self._under(inputs, [edits[i] for i in batch] if edits else None):
                for i, text in zip(batch, greedy_answers(self.backbone, inputs), strict=True):
                    texts[i] = text
        return texts

    def _under(
        self, inputs: Mapping[str, Any], edits: Sequence[Edit] | None, ends: Tensor | None = None
    ) -> AbstractContextManager[None]:
        """Run row b of a batch of model inputs under ``edits[b]``."""
        if not edits:
            return nullcontext()
        rows, pictures = torch.arange(len(edits)), self.backbone.prompts.pictures(inputs)
        return applied(self.backbone, [e.deltas for e in edits], rows, pictures.numbered(rows), pictures.sizes, ends)

    @torch.no_grad()
    def _force(self, batch: list[int], edits: Mapping[int, Edit] | None) -> Forced:
        questions = [self._question(i) for i in batch]
        told = [self.items[i][1].expected or self.before.texts.get(i) or "?" for i in batch]
        plain, labels = self.backbone.prompts.encode_answers(questions, told)
        chosen, inputs, ends = [edits[i] for i in batch] if edits else None, plain, prompt_ends(labels)
        if chosen and any(e.context or e.blind for e in chosen):
            asked = [e.asked(q) for e, q in zip(chosen, questions, strict=True)]
            inputs, placed = self.backbone.prompts.encode_answers(asked, told)
            ends = prompt_ends(placed)
        inputs = inputs.to(self.backbone.device)
        with self._under(inputs, chosen, ends):
            ids = topk_ids(self.backbone(**inputs, use_cache=False).logits, max(TOP_K.values())).cpu()
        if inputs is not plain:
            ids = _ends_aligned(ids, inputs["attention_mask"].cpu(), plain["attention_mask"].cpu())
        return Forced(batch, ids, labels, plain["attention_mask"].cpu())

    def _scores(self, protocol: str, after: Answers) -> dict[int, float]:
        """Score of every item that ``after`` answered: 1 is right, or unchanged."""
        if protocol == "generate":
            return {i: self._generated(i, text) for i, text in after.texts.items()}
        scores: dict[int, float] = {}
        before = {i: (b, n) for b in self.before.forced for n, i in enumerate(b.items)}
        for batch in after.forced:
            earlier = _aligned(batch, before)
            accuracy = token_accuracy(batch.ids[..., :1], batch.labels)
            kept = top1_agreement(earlier[..., :1], batch.ids[..., :1], batch.labels)
            if protocol == "vlkeb":
                by_k = {k: topk_agreement(earlier, batch.ids, batch.attention, k) for k in TOP_K.values()}
            for n, i in enumerate(batch.items):
                probe = self.items[i][1]
                if probe.kind.is_locality:
                    found = kept if protocol == "masked" else by_k[TOP_K[probe.image is not None]]
                else:
                    found = accuracy
                scores[i] = float(found[n])
        return scores

    def _generated(self, i: int, text: str) -> float:
        probe = self.items[i][1]
        wanted = self.before.texts[i] if probe.kind.is_locality else probe.expected or ""
        return exact_match(text, wanted)

    def _row(self, i: int, own: Edit, run: Run, **scored: Any) -> ProbeResult:
        case, probe = self.items[i]
        before = self.before.texts[i]
        return ProbeResult(
            method=run.method, mode=run.mode, seed=run.seed,
            case_id=case.case_id, group=case.group, entity=case.entity, edit_relation=case.relation,
            kind=probe.kind.value, relation=probe.relation, image=_name(probe.image), prompt=probe.prompt,
            expected=before if probe.kind.is_locality else probe.expected or "",
            before=before, ceiling=self.before.ceilings.get(i), relevant=not probe.kind.is_locality,
            edit_id=own.edit_id, sites="+".join(own.sites), **scored,
        )  # fmt: skip


def _aligned(batch: Forced, before: Mapping[int, tuple[Forced, int]]) -> Tensor:
    """The unedited predictions of a batch's items, padded as the batch is."""
    length = batch.ids.shape[1]
    rows = []
    for i in batch.items:
        earlier, n = before[i]
        row = earlier.ids[n, :length]
        rows.append(torch.nn.functional.pad(row, (0, 0, 0, length - len(row))))
    return torch.stack(rows)


def _ends_aligned(ids: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Predictions of rows with something added in front of, or taken from, them, put where they are without it.

    Args:
        ids: (batch, seq, k), right-padded as ``mask`` (batch, seq) says.
        wanted: the mask without it, (batch, other seq).
    """
    found = ids.new_zeros(*wanted.shape, ids.shape[-1])
    for row, (here, there) in enumerate(zip(mask.sum(1).tolist(), wanted.sum(1).tolist(), strict=True)):
        shared = min(here, there)
        found[row, there - shared : there] = ids[row, here - shared : here]
    return found


def _name(image: ImageSource | None) -> str:
    """How a picture is named in a result row."""
    return "" if image is None else str(image) if not hasattr(image, "tobytes") else f"memory:{hash(image.tobytes())}"
