"""FT-L and FT-V: fine-tuning of one module, the field's plainest baselines.

FT-L tunes the last layer's MLP output (EasyEdit and VLKEB: AdamW, lr 1e-4, 10 steps; LiveEdit: lr 1e-3, 25 steps,
stop at loss < 1e-2); FT-V tunes the connector. Deviations: each edit has its own full-rank update instead of a
changed weight, so that edits stay apart; Adam without weight decay; the views, learning rate and steps of
``conf/editor/ft_l.yaml`` and ``ft_v.yaml``, where the published single view is ``views=1``. Applied together, edits are
one update, for which the same steps are passes over all of them. In sequence, one update is tuned
on one edit after another, with a fresh optimiser each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ldke_pl.data import EditRequest
from ldke_pl.editors.ldke import LDKE, finished
from ldke_pl.editors.shared import optimise_in_sequence, optimise_shared
from ldke_pl.edits import Delta, Edit


class FineTune(LDKE):
    """A full-rank update at a fixed site."""

    full_rank = True

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """See :class:`ldke_pl.editors.base.JointEditor`."""
        sites = self.sites(requests[:1])[0]
        change = finished(optimise_shared(self.backbone, requests, sites[:1], self.config, seed=seed), sites)
        return [change] * len(requests)

    def edit_in_sequence(
        self, requests: Sequence[EditRequest], sizes: Sequence[int], *, seed: int = 0
    ) -> Iterator[list[Edit]]:
        """See :class:`ldke_pl.editors.base.SequentialEditor`."""
        sites = self.sites(requests[:1])[0]
        after = optimise_in_sequence(self.backbone, requests[: sizes[-1]], sites[:1], self.config, seed=seed)
        for n, problem in enumerate(after, 1):
            if n in sizes:
                yield [copied(finished(problem, sites))] * n


def copied(edit: Edit) -> Edit:
    """An edit that what is tuned further no longer changes."""
    deltas = {name: Delta(tuple(f.clone() for f in delta.factors)) for name, delta in edit.deltas.items()}
    return replace(edit, deltas=deltas)
