"""What the router reads: pooled states of the unedited model at a few layers, picture and question kept apart. Ours.

Every query is first brought to one canonical form, a single user turn with at most one picture and the last question,
so that earlier turns, system prompts and padding cannot change a route. The pass stops at the highest router layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.hooks import captured, early_exit
from ldke_pl.data import EditRequest, Question
from ldke_pl.errors import ModelError

MAX_TOKENS = {"image_tokens": 16, "text_tokens": 24, "target_tokens": 8, "name_tokens": 8}
"""States kept per stream for token-by-token comparison; longer streams are averaged down to as many."""

Features = dict[str, Tensor]
"""What is read of a batch of queries, fp32:

``image``, ``text``, ``last``: pooled picture states, pooled question states and the last prompt token's state,
(queries, layers * width). ``seen``: (queries, 1), 1 with a picture and 0 without. ``image_tokens``, ``text_tokens``:
states of the highest layer read, token by token, (queries, tokens, width), zero where there is none. Edits have
``target``, ``target_tokens`` and ``name_tokens`` besides.
"""


@dataclass(frozen=True)
class Queries:
    """Canonical queries of a batch.

    Args:
        rows: batch row of each query, (queries,). A row with several pictures has a query for each.
        images: position of each query's picture among the batch's pictures, -1 for none, (queries,).
        inputs: the model's inputs, left-padded.
    """

    rows: Tensor
    images: Tensor
    inputs: dict[str, Tensor]


class FeatureReader:
    """Reads features off the unedited model.

    Args:
        layers: decoder layers whose outputs are read; None for the lowest quarter of them.
        naming: question by which the model is asked the name of what an edit's picture shows; None to ask nothing.
    """

    def __init__(self, backbone: Backbone, layers: Sequence[int] | None = None, naming: str | None = None) -> None:
        self.backbone, self.naming = backbone, naming
        count = len(backbone.layers)
        self.layers = sorted(layers if layers is not None else range(max(1, count // 4)))
        if self.layers[-1] >= count:
            raise ModelError(f"router.layers names layer {self.layers[-1]}, but the decoder has {count} layers.")
        opening = backbone.prompts.text(Question(None, "XQ1")).split("XQ1")[0]
        self._opening: list[int] = backbone.prompts.tokenizer(opening, add_special_tokens=False)["input_ids"]

    @property
    def width(self) -> int:
        """Numbers per stream."""
        return len(self.layers) * self.backbone.width

    def questions(self, questions: Sequence[Question]) -> Features:
        """Features of questions."""
        batch = self.backbone.prompts.encode(questions).to(self.backbone.device)
        return self.read(self.canonical(batch))

    def edits(self, requests: Sequence[EditRequest]) -> Features:
        """Features of edits: those of their own questions, and those of the target and of the name, each a text alone.

        The name is what the unedited model calls what it sees on an edit's picture: asked about without a picture, the
        same thing is known by that.
        """
        features = self.questions([Question(r.image, r.prompt) for r in requests])
        target = self.questions([Question(None, r.target) for r in requests])
        features |= {"target": target["text"], "target_tokens": _short(target["text_tokens"], "target_tokens")}
        states = torch.zeros_like(target["text_tokens"])
        names = self._names(requests)
        if names:
            states[list(names)] = self.questions([Question(None, name) for name in names.values()])["text_tokens"]
        return features | {"name_tokens": _short(states, "name_tokens")}

    def _names(self, requests: Sequence[EditRequest]) -> dict[int, str]:
        """Request -> what the model calls what its picture shows; without those that have no picture or no answer."""
        pictured = [i for i, r in enumerate(requests) if r.image is not None]
        if self.naming is None or not pictured:
            return {}
        asked = self.backbone.prompts.encode([Question(requests[i].image, self.naming) for i in pictured])
        answers = greedy_answers(self.backbone, asked.to(self.backbone.device))
        return {i: answer for i, answer in zip(pictured, answers, strict=True) if answer}

    def canonical(self, batch: Mapping[str, Any]) -> Queries:
        """Bring a batch of model inputs to canonical queries."""
        prompts = self.backbone.prompts
        ids, attention = batch["input_ids"], batch["attention_mask"]
        question = prompts.last_question(ids, attention)
        pictures = _picture_counts(ids, batch.get("pixel_values"), prompts.image_token_id)
        opening = torch.tensor(self._opening, device=ids.device)
        rows, images, sequences, seen = [], [], [], 0
        for row, counts in enumerate(pictures):
            text = ids[row][question[row]]
            for tokens in counts or [0]:
                picture = torch.full((tokens,), prompts.image_token_id, device=ids.device, dtype=ids.dtype)
                sequences.append(torch.cat([opening, picture, text]))
                rows.append(row)
                images.append(seen if tokens else -1)
                seen += bool(tokens)
        pad = prompts.tokenizer.pad_token_id
        padded = pad_sequence(sequences, batch_first=True, padding_value=pad, padding_side="left")
        lengths = torch.tensor([len(s) for s in sequences], device=ids.device)
        mask = torch.arange(padded.shape[1], device=ids.device) >= padded.shape[1] - lengths[:, None]
        inputs = {"input_ids": padded, "attention_mask": mask.long()}
        if seen:
            inputs["pixel_values"] = batch["pixel_values"]
        return Queries(torch.tensor(rows), torch.tensor(images), inputs)

    @torch.no_grad()
    def read(self, queries: Queries) -> Features:
        """One early-exit pass; states are averaged over the picture's and the question's tokens."""
        model, layers = self.backbone.model, self.backbone.layers
        modules = {str(i): layers[i] for i in self.layers}
        with captured(modules) as states, early_exit(layers[self.layers[-1]]):
            model(**queries.inputs, use_cache=False)
        hidden = torch.cat([states[str(i)] for i in self.layers], -1).float()
        ids, prompts = queries.inputs["input_ids"], self.backbone.prompts
        attention = queries.inputs["attention_mask"]
        image = (ids == prompts.image_token_id) & attention.bool()
        text = prompts.last_question(ids, attention)
        top = hidden[..., -self.backbone.width :]
        return {
            "image": _mean(hidden, image),
            "text": _mean(hidden, text),
            "last": hidden[:, -1],
            "seen": image.any(1, keepdim=True).float(),
            "image_tokens": _tokens(top, image, MAX_TOKENS["image_tokens"]),
            "text_tokens": _tokens(top, text, MAX_TOKENS["text_tokens"]),
        }


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weight = mask.float()
    return torch.einsum("bth,bt->bh", hidden, weight) / weight.sum(1, keepdim=True).clamp_min(1)


def _tokens(hidden: Tensor, mask: Tensor, most: int) -> Tensor:
    """The states under ``mask`` and then zeros, (batch, most, width); neighbours are averaged if there are more."""
    kept = hidden.new_zeros(len(hidden), most, hidden.shape[-1])
    for row, (states, chosen) in enumerate(zip(hidden, mask, strict=True)):
        tokens = states[chosen]
        if len(tokens) > most:
            tokens = nn.functional.adaptive_avg_pool1d(tokens.T, most).T
        kept[row, : len(tokens)] = tokens
    return kept


def _short(states: Tensor, name: str) -> Tensor:
    """States that end in zeros, brought to the length of ``name``."""
    return _tokens(states, states.abs().sum(-1) > 0, MAX_TOKENS[name])


def _picture_counts(ids: Tensor, pixels: Tensor | None, image_token_id: int) -> list[list[int]]:
    """Placeholder tokens of every picture of every row: runs of placeholders, or equal shares of adjoining ones."""
    if pixels is None:
        return [[] for _ in ids]
    totals = (ids == image_token_id).sum(1).tolist()
    share, rest = divmod(sum(totals), len(pixels))
    if rest or any(total % share for total in totals):
        raise ModelError(
            "Pictures of different token counts in one batch cannot be told apart.",
            "give such a model one picture size per batch",
        )
    return [[share] * (total // share) for total in totals]
