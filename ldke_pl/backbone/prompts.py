"""How questions become model inputs, and where in those inputs the last question stands.

Prompts in data sets are plain questions; the processor's chat template is applied here and nowhere else. A processor
without a template gets the picture's placeholder and the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from ldke_pl.data import load_image
from ldke_pl.data.records import Question
from ldke_pl.errors import DataError

IGNORE = -100
"""Label of a position that is not learned and not scored."""


@dataclass
class Prompts:
    """Formats and tokenizes questions for one model.

    Args:
        processor: the model's own processor, with its tokenizer and chat template.
        image_token_id: id of the placeholder that stands for picture tokens in ``input_ids``.
        context: the longest sequence that the model can read, in tokens.
    """

    processor: ProcessorMixin
    image_token_id: int
    context: int
    user_header: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.tokenizer = self.processor.tokenizer
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.user_header = self._find_user_header()

    def text(self, question: Question) -> str:
        """The prompt as the model reads it, up to where its answer begins."""
        if not question.prompt.strip():
            raise DataError("A prompt is empty.", "give every edit and every probe a question")
        placeholder = self.tokenizer.decode([self.image_token_id])
        if placeholder in question.prompt:
            raise DataError(
                f"The prompt {question.prompt!r} contains {placeholder}, which stands for a picture in this model.",
                "leave it out: a picture is put in front of its question without it",
            )
        has_image = question.image is not None
        if self.processor.chat_template is None:
            return (placeholder if has_image else "") + question.prompt
        parts: list[dict[str, str]] = [{"type": "image"}] if has_image else []
        parts.append({"type": "text", "text": question.prompt})
        turn: list[dict[str, Any]] = [{"role": "user", "content": parts}]
        return str(self.processor.apply_chat_template(turn, add_generation_prompt=True))

    def encode(self, questions: Sequence[Question], *, padding_side: str = "left") -> BatchFeature:
        """One padded batch of questions: ``input_ids`` and ``attention_mask`` (batch, seq), pixels of all pictures.

        Raises:
            DataError: a prompt is empty, a picture cannot be read, or a question exceeds the model's context.
        """
        images = [load_image(q.image) for q in questions if q.image is not None]
        batch: BatchFeature = self.processor(
            text=[self.text(q) for q in questions],
            images=images or None,
            padding=True,
            padding_side=padding_side,
            return_tensors="pt",
        )
        longest = batch["input_ids"].shape[1]
        if longest > self.context:
            raise DataError(f"A question is {longest} tokens long, but the model reads {self.context}.", "shorten it")
        return batch

    def encode_answers(self, questions: Sequence[Question], answers: Sequence[str]) -> tuple[BatchFeature, Tensor]:
        """Questions with their answers, right-padded, and labels (batch, seq): ``IGNORE`` outside the answers.

        Right padding keeps the positions of a plain forward pass equal to those that ``generate`` uses.

        Raises:
            DataError: an answer is empty, or question and answer exceed the model's context.
        """
        batch = self.encode(questions, padding_side="right")
        lengths = batch["attention_mask"].sum(1).tolist()
        told = [self.answer_ids(answer) for answer in answers]
        total = max(n + len(ids) for n, ids in zip(lengths, told, strict=True))
        if total > self.context:
            raise DataError(
                f"A target is too long: with its question it takes {total} tokens, but the model reads {self.context}.",
                "shorten the target",
            )
        labels = torch.full((len(told), total), IGNORE)
        for row, (start, ids) in enumerate(zip(lengths, told, strict=True)):
            labels[row, start : start + len(ids)] = torch.tensor(ids)
        answered = labels != IGNORE
        extra = total - batch["input_ids"].shape[1]
        for name, value in list(batch.items()):
            if isinstance(value, Tensor) and value.shape == batch["attention_mask"].shape and name != "input_ids":
                batch[name] = torch.nn.functional.pad(value, (0, extra))
        padded = torch.nn.functional.pad(batch["input_ids"], (0, extra), value=self.tokenizer.pad_token_id)
        batch["attention_mask"] = batch["attention_mask"] | answered.long()
        batch["input_ids"] = torch.where(answered, labels, padded)
        return batch, labels

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer and its end mark.

        Raises:
            DataError: the answer is empty.
        """
        if not answer.strip():
            raise DataError("A target is empty.", "give every edit an answer to write")
        ids: list[int] = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]

    def decode(self, ids: Tensor) -> list[str]:
        """Answers as text, from generated ids (batch, new) without their prompts."""
        return [text.strip() for text in self.processor.batch_decode(ids, skip_special_tokens=True)]

    def last_question(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Which tokens belong to the last user turn, (batch, seq) bool: its text and what follows, no picture tokens.

        Earlier turns, system prompts and padding are left out, so that none of them can change a route.
        """
        keep = attention_mask.bool() & (input_ids != self.image_token_id)
        header = torch.tensor(self.user_header, device=input_ids.device)
        if not len(header):
            return keep
        windows = input_ids.unfold(1, len(header), 1).eq(header).all(-1)
        positions = torch.arange(windows.shape[1], device=input_ids.device)
        last = torch.where(windows, positions, -1).amax(1)
        start = torch.where(last >= 0, last + len(header), 0)
        return keep & (torch.arange(input_ids.shape[1], device=input_ids.device) >= start[:, None])

    def _find_user_header(self) -> list[int]:
        """The tokens that open every user turn: what stands before the first and the second turn's text alike."""
        if self.processor.chat_template is None:
            return []
        first, second, told = "XQ1", "XQ2", "XA1"
        turns = [("user", first), ("assistant", told), ("user", second)]
        chat: list[dict[str, Any]] = [
            {"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns
        ]
        text = str(self.processor.apply_chat_template(chat, add_generation_prompt=True))
        opening, between = text.split(first)[0], text.split(told)[1].split(second)[0]
        ids = [self._ids(opening), self._ids(between)]
        return _common_end(*ids)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _common_end(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return list(a[len(a) - n :])
