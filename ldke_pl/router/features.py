"""What the router reads: pooled states of the unedited model at a few layers, picture and question kept apart. Ours.

Every query is first brought to its canonical form (:mod:`ldke_pl.router.queries`). The pass stops at the highest router
layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.hooks import captured, early_exit
from ldke_pl.backbone.sites import cross_attention_layers
from ldke_pl.data import EditRequest, Question
from ldke_pl.errors import ModelError
from ldke_pl.router.queries import Queries, canonical
from ldke_pl.router.subject import subject_of

MAX_TOKENS = {
    "image_tokens": 16,
    "text_tokens": 24,
    "word_tokens": 24,
    "target_tokens": 8,
    "name_tokens": 8,
    "spelling_tokens": 8,
    "named_tokens": 24,
}
"""States kept per stream for token-by-token comparison; longer streams are averaged down to as many."""

LEAD = "is"
"""A word that a name is spelled behind: most tokenizers begin a text with other tokens than a word within one."""

Features = dict[str, Tensor]
"""What is read of a batch of queries, fp32:

``image``, ``text``, ``last``: pooled picture states, pooled question states and the last prompt token's state,
(queries, layers * width). ``seen``: (queries, 1), 1 with a picture and 0 without. ``image_tokens``, ``text_tokens``:
states of the highest layer read, token by token, (queries, tokens, width), zero where there is none. ``word_tokens``:
the same tokens before any layer, as the model's input embeddings; questions alone have them. Edits have ``target``,
``target_tokens``, ``name_tokens``, ``spelling_tokens`` and ``named_tokens`` instead.
"""


class FeatureReader:
    """Reads features off the unedited model.

    Args:
        layers: decoder layers whose outputs are read; None for the lowest quarter of them.
        naming: question by which the model is asked the name of what an edit's picture shows; None to ask nothing.
        common: words that are no names (:func:`ldke_pl.router.subject.common_words`).
    """

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[int] | None = None,
        naming: str | None = None,
        common: Sequence[str] = (),
    ) -> None:
        self.backbone, self.naming, self.common = backbone, naming, list(common)
        count = len(backbone.layers)
        self.layers = sorted(layers if layers is not None else range(_lowest(backbone)))
        if self.layers[-1] >= count:
            raise ModelError(f"router.layers names layer {self.layers[-1]}, but the decoder has {count} layers.")

    @property
    def width(self) -> int:
        """Numbers per stream."""
        return len(self.layers) * self.backbone.width

    def questions(self, questions: Sequence[Question]) -> Features:
        """Features of questions."""
        batch = self.backbone.prompts.encode(questions).to(self.backbone.device)
        return self.read(canonical(self.backbone, batch))

    def edits(self, requests: Sequence[EditRequest]) -> Features:
        """Features of edits: those of their own questions, and of target, name and named question, each a text alone.

        The name is what the unedited model calls what it sees on an edit's picture: asked about without a picture, the
        same thing is known by that. Without a picture it is what the edit's question names. What a chat template puts
        after a text is no part of a name, and would be one of few states to compare. A name's spelling are the
        embeddings of its tokens: its states depend on what stands before it, these do not. The named question is the
        edit's own, asked in words ("<name>. <question>").
        """
        features = self.questions([Question(r.image, r.prompt) for r in requests])
        del features["word_tokens"]
        target = self.questions([Question(None, r.target) for r in requests])
        features |= {"target": target["text"], "target_tokens": _short(target["text_tokens"], "target_tokens")}
        names = self._names(requests)
        told = {"name_tokens": names, "named_tokens": {i: f"{n}. {requests[i].prompt}" for i, n in names.items()}}
        for stream, texts in told.items():
            states = torch.zeros_like(target["text_tokens"])
            if texts:
                states[list(texts)] = self.questions([Question(None, t) for t in texts.values()])["text_tokens"]
            if stream == "name_tokens":
                states = _without_last(states, len(self.backbone.prompts.grammar.closing))
            features[stream] = _short(states, stream)
        return features | {"spelling_tokens": self._spellings(names, len(requests))}

    def _names(self, requests: Sequence[EditRequest]) -> dict[int, str]:
        """Request -> what its thing is called; without those whose picture the model has no answer about."""
        if self.naming is None:
            return {}
        pictured = [i for i, r in enumerate(requests) if r.image is not None]
        names = {i: r.subject or subject_of(r.prompt, self.common) for i, r in enumerate(requests) if r.image is None}
        if pictured:
            asked = self.backbone.prompts.encode([Question(requests[i].image, self.naming) for i in pictured])
            answers = greedy_answers(self.backbone, asked.to(self.backbone.device))
            names |= {i: answer for i, answer in zip(pictured, answers, strict=True) if answer}
        return names

    @torch.no_grad()
    def _spellings(self, names: dict[int, str], count: int) -> Tensor:
        """Embeddings of the tokens of some of ``count`` edits' names, as they are within a text, and then zeros."""
        embed, device = self.backbone.model.get_input_embeddings(), self.backbone.device
        lead, *spelled = self.backbone.prompts.token_ids([LEAD, *(f"{LEAD} {name}" for name in names.values())])
        most = MAX_TOKENS["spelling_tokens"]
        found = torch.zeros(count, most, self.backbone.width, device=device)
        for row, ids in zip(names, spelled, strict=True):
            own = embed(torch.tensor(ids[len(lead) :], device=device)).float()
            found[row] = _tokens(own[None], torch.ones(1, len(own), dtype=torch.bool), most)[0]
        return found

    @torch.no_grad()
    def read(self, queries: Queries) -> Features:
        """One early-exit pass; states are averaged over the picture's and the question's tokens."""
        layers, reached = self.backbone.layers, self._reached("pixel_values" in queries.inputs)
        with captured({str(i): layers[i] for i in reached}) as states, early_exit(layers[reached[-1]]):
            self.backbone(**queries.inputs, use_cache=False)
        hidden = torch.cat([states[str(i)] for i in reached], -1).float()
        ids, prompts = queries.inputs["input_ids"], self.backbone.prompts
        attention = queries.inputs["attention_mask"]
        image = (ids == prompts.image_token_id) & attention.bool()
        text = prompts.last_question(ids, attention)
        top = hidden[..., -self.backbone.width :]
        words = self.backbone.model.get_input_embeddings()(ids).float()
        return {
            "image": _mean(hidden, image),
            "text": _mean(hidden, text),
            "last": hidden[:, -1],
            "seen": image.any(1, keepdim=True).float(),
            "image_tokens": _tokens(top, image, MAX_TOKENS["image_tokens"]),
            "text_tokens": _tokens(top, text, MAX_TOKENS["text_tokens"]),
            "word_tokens": _tokens(words, text, MAX_TOKENS["word_tokens"]),
        }

    def _reached(self, pictured: bool) -> list[int]:
        """The layers whose outputs are those of the layers read: without pictures, layers of cross-attention are passed
        over, and what comes out of one is what came in.
        """
        crossing = () if pictured else cross_attention_layers(self.backbone.model)
        return [max(j for j in range(i + 1) if j not in crossing) for i in self.layers]


def _lowest(backbone: Backbone) -> int:
    """How many layers are read by default: a quarter, or up to the first that looks at pictures by cross-attention."""
    crossing = cross_attention_layers(backbone.model)
    return max(1, len(backbone.layers) // 4, *(number + 1 for number in crossing[:1]))


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


def _without_last(states: Tensor, count: int) -> Tensor:
    """States that end in zeros, without the last ``count`` of them."""
    there = states.abs().sum(-1) > 0
    kept = torch.arange(states.shape[1], device=states.device) < (there.sum(1) - count)[:, None]
    return states * kept[..., None]


def _short(states: Tensor, name: str) -> Tensor:
    """States that end in zeros, brought to the length of ``name``."""
    return _tokens(states, states.abs().sum(-1) > 0, MAX_TOKENS[name])
