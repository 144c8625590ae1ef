"""What a model's inputs are made of, learned by encoding a few example questions: no list of families. Ours.

Encoding one question with and without a picture shows what the processor writes for a picture; encoding different
questions shows what opens a user's turn.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin

from ldke_pl.backbone.pictures import Marks
from ldke_pl.errors import ModelError

Encode = Callable[[list[str], list[Image.Image] | None], dict[str, Any]]
"""Texts, and a picture for each or None, to the processor's tensors, right-padded."""

SHAPES = ((64, 64), (192, 64), (64, 192), (192, 192))
"""Example pictures: tiling processors write other marks for other shapes."""

FILLERS = ("What is it", "Name this")
"""Two questions that share no token at their beginning or end."""


@dataclass(frozen=True)
class Grammar:
    """The parts of one model's inputs.

    Args:
        marks: what the processor writes for a picture.
        opening: tokens before the first question of a conversation; none without a chat template.
        header: tokens that open every user turn; none without a chat template.
        closing: tokens after a question, up to where its answer begins.
        answer_type: ``token_type_ids`` of an answer: 1 where they tell the prompt from what follows (PaliGemma).
    """

    marks: Marks
    opening: list[int]
    header: list[int]
    closing: list[int]
    answer_type: int = 0

    def last_question(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Which tokens belong to the last user turn, (batch, seq) bool: its text and what follows, no picture's span.

        Earlier turns, system prompts and padding are left out, so that none of them can change a route.
        """
        keep = attention_mask.bool().clone()
        for row, tokens in enumerate(input_ids.tolist()):
            for start, end in self.marks.spans(tokens):
                keep[row, start:end] = False
        header = torch.tensor(self.header, device=input_ids.device)
        if not len(header):
            return keep
        windows = input_ids.unfold(1, len(header), 1).eq(header).all(-1)
        positions = torch.arange(windows.shape[1], device=input_ids.device)
        last = torch.where(windows, positions, -1).amax(1)
        start_of = torch.where(last >= 0, last + len(header), 0)
        return keep & (torch.arange(input_ids.shape[1], device=input_ids.device) >= start_of[:, None])


def learn_grammar(processor: ProcessorMixin, encode: Encode, text: Callable[[str, bool], str], image: int) -> Grammar:
    """The grammar of the model that ``processor`` belongs to.

    Args:
        encode: runs the processor.
        text: makes the prompt of a question, with a picture or without.
        image: id of the placeholder.

    Raises:
        ModelError: the processor writes no placeholder for a picture.
    """
    examples = [(text(f, True), Image.new("RGB", shape, "grey")) for f in FILLERS for shape in SHAPES]
    shown = [encode([asked], [picture]) for asked, picture in examples]
    plain = _rows(encode([text(filler, False) for filler in FILLERS], None))
    marks = _marks(processor, [_rows(inputs)[0] for inputs in shown], plain[0], image)
    typed = "token_type_ids" in shown[0] and not shown[0]["token_type_ids"][shown[0]["input_ids"] == image].any()
    closing = _common_end(*plain)
    if processor.chat_template is None:
        return Grammar(marks, [], [], closing, int(typed))
    # A token that a picture's marks melt into ("\n" into "\n\n") is no part of what opens every turn.
    before = _shared_start(*plain)
    opening = _shared_start(before, _rows(shown[0])[0])
    later = _shared_start(*_rows(encode([_second_turn(processor, filler) for filler in FILLERS], None)))
    header = _common_end(opening, later[: len(later) - (len(before) - len(opening))])
    return Grammar(marks, opening, header, closing, int(typed))


def _marks(processor: ProcessorMixin, shown: list[list[int]], plain: list[int], image: int) -> Marks:
    """From the tokens of several questions and shapes of picture, and those of a question without a picture."""
    spans = [_inserted(ids, plain) for ids in shown]
    if not all(image in span for span in spans):
        raise ModelError(
            f"{type(processor).__name__} writes no placeholder (token {image}) for a picture.",
            "use the processor that belongs to the model",
        )
    firsts = [span.index(image) for span in spans]
    ends = [len(span) - span[::-1].index(image) for span in spans]
    lead = reduce(_common_end, [span[:first] for span, first in zip(spans, firsts, strict=True)])
    trail = reduce(_shared_start, [span[end:] for span, end in zip(spans, ends, strict=True)])
    within = {t for span, first, end in zip(spans, firsts, ends, strict=True) for t in span[first:end]} - {image}
    last = _last_tile(processor)
    if last is not None:  # tiles begin and end with the same mark, and their names depend on how many there are
        names = processor.tokenizer.get_added_vocab()
        within |= {*trail, *(i for name, i in names.items() if re.fullmatch(r"<row_\d+_col_\d+>", name))}
        lead = trail = []
    return Marks(image, tuple(lead), frozenset(within), tuple(trail), last)


def _last_tile(processor: ProcessorMixin) -> int | None:
    name = getattr(processor, "global_image_token", None) or getattr(processor, "global_image_tag", None)
    return None if name is None else int(processor.tokenizer.convert_tokens_to_ids(str(name)))


def _second_turn(processor: ProcessorMixin, question: str) -> str:
    turns = [("user", "XQ1"), ("assistant", "XA1"), ("user", question)]
    chat: list[dict[str, Any]] = [{"role": r, "content": [{"type": "text", "text": text}]} for r, text in turns]
    return str(processor.apply_chat_template(chat, add_generation_prompt=True))


def _rows(inputs: dict[str, Any]) -> list[list[int]]:
    pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def _inserted(longer: list[int], shorter: list[int]) -> list[int]:
    """What stands in ``longer`` between the beginning and the end that it shares with ``shorter``."""
    start = len(_shared_start(longer, shorter))
    end = len(_common_end(longer[start:], shorter[start:]))
    return longer[start : len(longer) - end]


def _shared_start(a: list[int], b: list[int]) -> list[int]:
    return _common_end(a[::-1], b[::-1])[::-1]


def _common_end(a: list[int], b: list[int]) -> list[int]:
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return a[len(a) - n :]
