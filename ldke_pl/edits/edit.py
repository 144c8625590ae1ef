"""One edit: what was asked, what was written, and how it is told apart from others."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ldke_pl.data import EditRequest, Question, load_image
from ldke_pl.edits.deltas import Deltas, n_bytes


@dataclass(frozen=True)
class Edit:
    """A finished edit, kept apart from the weights so that it can be saved, disabled and taken back.

    Args:
        edit_id: unique in its set of edits.
        prompt, target: the request's question and answer.
        sites: names of the sites written to.
        deltas: the update, by linear layer.
        key: what the router knows the edit by, a named set of tensors without batch dimension.
        loss: the objective when the edit stopped, nats per answer token.
        steps: optimisation steps taken.
        supersedes: id of the earlier edit of the same fact, "" if there was none.
        context: what is told in front of a question, for methods that edit the prompt in place of the weights.
        blind: a question is asked without its picture, for methods that answer from text alone.
        disabled: kept, but no query is routed to it.
        seed: of the randomness that it was made with; None where that is not known.
    """

    edit_id: str
    prompt: str
    target: str
    sites: tuple[str, ...]
    deltas: Deltas
    key: Mapping[str, Tensor] = field(default_factory=dict)
    loss: float = 0.0
    steps: int = 0
    supersedes: str = ""
    context: str = ""
    blind: bool = False
    disabled: bool = False
    seed: int | None = None

    @property
    def changes_nothing(self) -> bool:
        """Whether every question is answered as if there were no edit."""
        return not (self.deltas or self.context or self.blind)

    def asked(self, question: Question) -> Question:
        """The question as it is put to the model under this edit."""
        image = None if self.blind else question.image
        return Question(image, f"{self.context} {question.prompt}" if self.context else question.prompt)

    @property
    def n_bytes(self) -> int:
        """Size of what is written, as it is stored; without the router's key."""
        return n_bytes(self.deltas) + len(self.context.encode())


def kept_in(dtype: torch.dtype, edits: Sequence[Edit]) -> list[Edit]:
    """Edits with their deltas in another dtype; what several share they go on sharing."""
    converted = {id(e.deltas): {name: delta.to(dtype) for name, delta in e.deltas.items()} for e in edits}
    return [replace(e, deltas=converted[id(e.deltas)]) for e in edits]


def state_of(*, superseded: bool, disabled: bool) -> str:
    """Either "in force", or why no query is routed to an edit."""
    reasons = ["superseded"] * superseded + ["disabled"] * disabled
    return ", ".join(reasons) or "in force"


def request_id(request: EditRequest, seed: int = 0) -> str:
    """A name that depends on the request's content alone, so that an edit's randomness does not depend on its batch."""
    digest = hashlib.sha256(f"{seed}|{request.prompt}|{request.target}|".encode())
    if request.image is not None:
        image = load_image(request.image)
        digest.update(f"{image.size}".encode() + image.tobytes())
    return digest.hexdigest()[:16]
