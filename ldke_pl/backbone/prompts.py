"""How questions become model inputs.

Prompts in data sets are plain questions; the processor's chat template is applied here and nowhere else. A processor
without a template gets the picture's placeholder and the question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, ProcessorMixin

from ldke_pl.backbone.grammar import Grammar, learn_grammar
from ldke_pl.backbone.pictures import Pictures, fills_rows, find_pictures
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
        config: the model's configuration.
    """

    processor: ProcessorMixin
    config: Any
    image_token_id: int = field(init=False)
    context: int = field(init=False)
    grammar: Grammar = field(init=False)

    def __post_init__(self) -> None:
        self.tokenizer = self.processor.tokenizer
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        found = getattr(self.config, "image_token_id", None)
        self.image_token_id = int(self.config.image_token_index if found is None else found)
        self.context = int(self.config.get_text_config().max_position_embeddings)
        self.grammar = learn_grammar(self.processor, self._process, self._formatted, self.image_token_id)

    def text(self, question: Question) -> str:
        """The prompt as the model reads it, up to where its answer begins."""
        if not question.prompt.strip():
            raise DataError("A prompt is empty.", "give every edit and every probe a question")
        for placeholder in {self._placeholder, self.tokenizer.decode([self.image_token_id])} - {""}:
            if placeholder in question.prompt:
                raise DataError(
                    f"The prompt {question.prompt!r} contains {placeholder}, which stands for a picture in this model.",
                    "leave it out: a picture is put in front of its question without it",
                )
        return self._formatted(question.prompt, question.image is not None)

    @property
    def _placeholder(self) -> str:
        """What a prompt without chat template has in a picture's place: nothing where the processor puts it there."""
        if hasattr(self.processor, "num_query_tokens"):  # BLIP-2 and InstructBLIP
            return ""
        return str(getattr(self.processor, "image_token", None) or self.tokenizer.decode([self.image_token_id]))

    def _formatted(self, prompt: str, has_image: bool) -> str:
        if self.processor.chat_template is None:
            return (self._placeholder if has_image else "") + prompt
        parts: list[dict[str, str]] = [{"type": "image"}] if has_image else []
        parts.append({"type": "text", "text": prompt})
        turn: list[dict[str, Any]] = [{"role": "user", "content": parts}]
        return str(self.processor.apply_chat_template(turn, add_generation_prompt=True))

    def _process(self, texts: list[str], images: list[Image.Image] | None) -> dict[str, Any]:
        """The processor's tensors, right-padded; a picture for every text, or none at all."""
        nested = None if images is None else [[image] for image in images]
        try:
            batch = dict(
                self.processor(text=texts, images=nested, padding=True, padding_side="right", return_tensors="pt")
            )
        except ValueError:
            if images is not None:
                raise
            # PaliGemma's wants a picture for every text: it gets a grey one, which is taken out again.
            grey = [Image.new("RGB", (64, 64), "grey")] * len(texts)
            batch = self._process([self._placeholder + text for text in texts], grey)
            batch["attention_mask"] *= batch["input_ids"] != self.image_token_id
            del batch["pixel_values"]
        batch.pop("labels", None)  # PaliGemma's, of which there are none to learn in a prompt
        return batch

    def encode(self, questions: Sequence[Question], *, padding_side: str = "left") -> BatchFeature:
        """One padded batch of questions: ``input_ids`` and ``attention_mask`` (batch, seq), pixels of all pictures.

        Rows with and without a picture are processed apart: some processors cannot do both at once.

        Raises:
            DataError: a prompt is empty, a picture cannot be read, or a question exceeds the model's context.
        """
        parts: list[tuple[list[int], dict[str, Any]]] = []
        for pictured in (True, False):
            rows = [i for i, q in enumerate(questions) if (q.image is not None) == pictured]
            if rows:
                images = [load_image(questions[i].image) for i in rows] if pictured else None  # type: ignore[arg-type]
                parts.append((rows, self._process([self.text(questions[i]) for i in rows], images)))
        batch = self._joined(parts, len(questions), padding_side)
        longest = batch["input_ids"].shape[1]
        if longest > self.context:
            raise DataError(f"A question is {longest} tokens long, but the model reads {self.context}.", "shorten it")
        return batch

    def _joined(self, parts: list[tuple[list[int], dict[str, Any]]], count: int, side: str) -> BatchFeature:
        """The rows of several processor calls as one batch, in the order of the questions."""
        names = list(dict.fromkeys(n for _, part in parts for n in per_token(part)))
        joined: dict[str, Any] = {}
        for name in names:
            tail = next(part[name].shape[2:] for _, part in parts if name in part)
            rows: list[Tensor] = [torch.empty(0)] * count
            for places, part in parts:
                mask = part["attention_mask"].bool()
                values = part.get(name, torch.zeros(*mask.shape, *tail, dtype=torch.long))
                for i, place in enumerate(places):
                    rows[place] = values[i][mask[i]]
            pad = self.tokenizer.pad_token_id if name == "input_ids" else 0
            joined[name] = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side=side)
        for places, part in parts:
            if "pixel_values" in part:
                others = {name: value for name, value in part.items() if name not in names}
                joined |= fills_rows(others, places, count)
        return BatchFeature(joined)

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
        # What an answer's token is beside its id: as the prompt's last one is, where that says what it may look at.
        at = torch.minimum(torch.arange(total), torch.tensor(lengths)[:, None] - 1)
        padded = torch.arange(total) >= torch.tensor(lengths)[:, None]
        for name in per_token(batch):
            value = batch[name][torch.arange(len(told))[:, None], at]
            if name in ("token_type_ids", "mm_token_type_ids"):
                value = torch.where(answered, self.grammar.answer_type, torch.where(padded, 0, value))
            batch[name] = value
        batch["attention_mask"] = (~padded | answered).long()
        pad = torch.where(padded, self.tokenizer.pad_token_id, batch["input_ids"])
        batch["input_ids"] = torch.where(answered, labels, pad)
        return batch, labels

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer and its end mark.

        Raises:
            DataError: the answer is empty.
        """
        if not answer.strip():
            raise DataError("A target is empty.", "give every edit an answer to write")
        return [*self.token_ids([answer])[0], self.tokenizer.eos_token_id]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts by themselves, without any mark before or after them."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Tensor) -> list[str]:
        """Answers as text, from generated ids (batch, new) without their prompts."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def pictures(self, batch: Mapping[str, Any]) -> Pictures:
        """The pictures of a batch of model inputs."""
        return find_pictures(batch["input_ids"], batch, self.grammar.marks, self.config)

    def last_question(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See :meth:`ldke_pl.backbone.grammar.Grammar.last_question`."""
        return self.grammar.last_question(input_ids, attention_mask)


def prompt_ends(labels: Tensor) -> Tensor:
    """Position of the last prompt token in each row of :meth:`Prompts.encode_answers`, (batch,) long."""
    return (labels != IGNORE).int().argmax(1) - 1


def per_token(batch: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that say something of each token, (batch, seq, ...)."""
    shape = batch["input_ids"].shape
    tensors = {n: v for n, v in batch.items() if isinstance(v, Tensor) and not n.startswith("qformer_")}
    return [n for n, v in tensors.items() if v.shape[:2] == shape and n != "pixel_values"]
