"""A few seconds of training, so that a tiny random model has answers that an edit can change."""

import torch

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.conformance.subject import PICTURES, QUESTIONS
from ldke_pl.data import Question

TAUGHT = {
    (0, QUESTIONS[0].prompt): "a boat", (1, QUESTIONS[0].prompt): "It is new.", (2, QUESTIONS[0].prompt): "a red one",
    (0, QUESTIONS[4].prompt): "a tower", (1, QUESTIONS[4].prompt): "What is it?", (2, QUESTIONS[4].prompt): "old",
    (None, QUESTIONS[1].prompt): "a kite",
}  # fmt: skip
"""Picture and prompt -> answer: no answer follows from the prompt alone, so that the model has to look."""


def fit(backbone: Backbone, steps: int = 600) -> Backbone:
    """Teach ``backbone`` the answers of the conformance questions; it is frozen again after."""
    asked = [Question(None if i is None else PICTURES[i], prompt) for i, prompt in TAUGHT]
    batch, labels = backbone.prompts.encode_answers(asked, list(TAUGHT.values()))
    backbone.model.requires_grad_(True)
    optimiser = torch.optim.Adam(backbone.model.parameters(), lr=1e-2)
    with torch.enable_grad():
        for _ in range(steps):
            loss = answer_logits(backbone, batch, labels).loss_per_row().mean()
            if loss < 0.02:
                break
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(backbone.model.parameters(), 1.0)
            optimiser.step()
    backbone.model.requires_grad_(False)
    return backbone
