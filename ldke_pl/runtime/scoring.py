"""Rows of one method: each edit alone, all of them together, and one after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ldke_pl.data import EditRequest
from ldke_pl.editors import Editor, GatedEditor, JointEditor, SequentialEditor
from ldke_pl.edits import Edit
from ldke_pl.metrics.answers import Answers
from ldke_pl.metrics.evaluator import Evaluator, Routes, Run
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import SEQUENCE
from ldke_pl.runtime.session import Session


@dataclass
class Method:
    """One method and the edits that it made with one seed, each alone.

    Args:
        relevance: of every item to every request, and then every distractor, by the run's router, (items, edits).
    """

    session: Session
    evaluator: Evaluator
    name: str
    editor: Editor
    seed: int
    edits: Sequence[Edit]
    relevance: Tensor

    def rows(self) -> Iterator[ProbeResult]:
        """Rows of every mode."""
        unrouted = self.evaluator.forced(self.edits)
        if "single" in self.session.config.run.modes:
            yield from self.evaluator.rows(self._run("single"), self.edits, unrouted, self._single())
        for mode, together, changed in self._together():
            state, answers = self.edits, unrouted
            if changed is not None:
                state = [*self.edits]
                for place, edit in zip(together, changed, strict=True):
                    state[place] = edit
                answers = self.evaluator.forced(state, together)
            routes = self._joint(state, together)
            yield from self.evaluator.rows(self._run(mode), state, answers, routes, together)
        if self._routing == "shared" and not isinstance(self.editor, JointEditor):
            yield from self._crowded(unrouted)

    def _run(self, mode: str) -> Run:
        return Run(self.name, mode, self.seed)

    def _together(self) -> Iterator[tuple[str, list[int], list[Edit] | None]]:
        """Modes in which several edits are in force: name, positions of the edits, and what has become of them.

        None stands for edits that stay what they are alone: those that something routes, and empty ones.
        """
        members, sizes = self.session.joint(), self.session.sizes()
        modes = [("joint", members)] if members and "joint" in self.session.config.run.modes else []
        sequence = [(f"{SEQUENCE}_{size}", members[:size]) for size in sizes]
        requests = [self.session.requests[i] for i in members]
        if isinstance(self.editor, JointEditor):
            for mode, chosen in modes if isinstance(self.editor, SequentialEditor) else modes + sequence:
                edits = [self.edits[i] for i in chosen]
                yield mode, chosen, self.editor.edit_together(requests[: len(chosen)], edits, seed=self.seed)
        elif self._routing != "none" or all(edit.changes_nothing for edit in self.edits):
            yield from ((mode, chosen, None) for mode, chosen in modes + sequence)
        if isinstance(self.editor, SequentialEditor) and sizes:
            states = self.editor.edit_in_sequence(requests, sizes, seed=self.seed)
            yield from ((mode, chosen, edits) for (mode, chosen), edits in zip(sequence, states, strict=True))

    def _crowded(self, unrouted: Answers) -> Iterator[ProbeResult]:
        """Rows of the joint set with distractors in its index; an edit of theirs is made if something goes to it."""
        members, first = self.session.joint(), len(self.edits)
        for mode, others in self.session.crowded().items():
            edits = [*self.edits, *(_unmade(r) for r in self.session.distractors[:others])]
            index = [*members, *range(first, len(edits))]
            relevance = self.relevance[:, torch.tensor(index)]
            routes = self.evaluator.joint_routes(relevance, edits, index, self.session.router.threshold)
            asked = sorted({routes.edits[i] for i in self.evaluator.wanted(members) if routes.edits[i] >= first})
            requests = [self.session.distractors[place - first] for place in asked]
            made = self.editor.edit(requests, seed=self.seed) if requests else []
            for place, edit in zip(asked, made, strict=True):
                edits[place] = edit
            yield from self.evaluator.rows(self._run(mode), edits, unrouted, routes, members)

    @property
    def _routing(self) -> str:
        return self.session.config.editor[self.name].routing

    def _single(self) -> Routes:
        """Where every item goes with its own case's edit alone in force."""
        if self._routing == "none":
            return Routes(self.evaluator.own_routes())
        if isinstance(self.editor, GatedEditor) and self._routing == "own":
            gate = self.editor.gate
            relevance = self.evaluator.own_relevance(gate, [edit.key for edit in self.edits])
            return self.evaluator.single_routes(relevance, gate.threshold)
        return self.evaluator.single_routes(self.evaluator.own_column(self.relevance), self.session.router.threshold)

    def _joint(self, state: Sequence[Edit], together: Sequence[int]) -> Routes:
        """Where every item goes with the edits at positions ``together`` in force."""
        if self._routing == "none":
            return Routes(self.evaluator.own_routes())
        if isinstance(self.editor, GatedEditor) and self._routing == "own":
            gate = self.editor.gate
            relevance = self.evaluator.relevance(gate, [state[i].key for i in together], together)
            return self.evaluator.joint_routes(relevance, state, together, gate.threshold)
        relevance = self.relevance[:, torch.tensor(together)]
        return self.evaluator.joint_routes(relevance, state, together, self.session.router.threshold)


def _unmade(request: EditRequest) -> Edit:
    """What stands in the index for an edit that is made once something is routed to it."""
    return Edit("", request.prompt, request.target, (), {})
