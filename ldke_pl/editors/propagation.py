"""Propagation by mention distillation: an edit of what a picture shows acts as a mention of the target would. Ours.

The teacher is the unedited model that reads the target *instead of* the picture ("Ada Lovelace. Who is this?"). In
every decoder layer, the states of the question's tokens are drawn to the teacher's: what related questions are
answered from is gathered there as well. Only the edit's own question and target are read; no related question, no
relation and no wording of any probe is taught.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.hooks import captured
from ldke_pl.backbone.sites import cross_attention_layers
from ldke_pl.data import EditRequest, Question


@dataclass(frozen=True)
class Teacher:
    """What the teacher makes of one edit's question.

    Args:
        ids: token ids of its whole prompt, (tokens,).
        states: outputs of all decoder layers at those tokens, (layers, tokens, width), fp32.
    """

    ids: Tensor
    states: Tensor


@torch.no_grad()
def read_teachers(backbone: Backbone, requests: Sequence[EditRequest]) -> list[Teacher]:
    """One pass of the unedited model over "<target>. <prompt>" of every request."""
    questions = [Question(None, f"{r.target}. {r.prompt}") for r in requests]
    batch = backbone.prompts.encode(questions, padding_side="right").to(backbone.device)
    with captured(_layers(backbone)) as outputs:
        backbone(**batch, use_cache=False)
    states = torch.stack([outputs[name].to(backbone.device) for name in _layers(backbone)], 1).float()
    lengths = batch["attention_mask"].sum(1).tolist()
    return [Teacher(batch["input_ids"][i, :n], states[i, :, :n]) for i, n in enumerate(lengths)]


class Distance:
    """How far a batch's states are from their teachers'; rows without a teacher are at no distance.

    Args:
        teachers: the teacher of each row, or None.
        ids: token ids, (batch, seq).
        prompt: which of them belong to the prompts, (batch, seq) bool; right-padded.
    """

    def __init__(self, backbone: Backbone, teachers: Sequence[Teacher | None], ids: Tensor, prompt: Tensor) -> None:
        self.backbone, self.n_rows = backbone, len(teachers)
        rows: list[int] = []
        positions: list[int] = []
        states: list[Tensor] = []
        for row, (teacher, length) in enumerate(zip(teachers, prompt.sum(1).tolist(), strict=True)):
            if teacher is None:
                continue
            shared = _common_end(ids[row, :length], teacher.ids)
            rows += [row] * shared
            positions += range(length - shared, length)
            states.append(teacher.states[:, len(teacher.ids) - shared :])
        self.rows, self.positions = (torch.tensor(x, device=ids.device, dtype=torch.long) for x in (rows, positions))
        self.wanted = torch.cat(states, 1) if states else None

    def per_row(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Relative squared distance, averaged over layers, (batch,).

        Args:
            outputs: what :meth:`watched` collected in the student's pass.
        """
        if self.wanted is None:
            return torch.zeros(self.n_rows, device=self.rows.device)
        read = [outputs[name][self.rows, self.positions].float() for name in _layers(self.backbone)]
        here = torch.stack([states.to(self.wanted.device) for states in read])
        squared = self._per_row((here - self.wanted).square().sum(-1))
        # Rows without a teacher have no states: 0 / 1.
        size = self._per_row(self.wanted.square().sum(-1))
        return (squared / torch.where(size > 0, size, 1)).mean(0)

    def watched(self) -> dict[str, torch.nn.Module]:
        """The modules whose outputs are compared; none where no row has a teacher."""
        return _layers(self.backbone) if self.wanted is not None else {}

    def _per_row(self, values: Tensor) -> Tensor:
        """(layers, tokens) summed to (layers, batch)."""
        return values.new_zeros(len(values), self.n_rows).index_add(1, self.rows, values)


def _layers(backbone: Backbone) -> dict[str, torch.nn.Module]:
    """The layers that run for texts too."""
    crossing = cross_attention_layers(backbone.model)
    return {str(i): layer for i, layer in enumerate(backbone.layers) if i not in crossing}


def _common_end(a: Tensor, b: Tensor) -> int:
    """How many tokens two sequences share at their ends."""
    n = min(len(a), len(b))
    same = a[len(a) - n :].eq(b[len(b) - n :]).flip(0)
    return int(same.long().cumprod(0).sum())
