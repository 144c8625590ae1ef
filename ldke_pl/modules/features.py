"""Features of edits and questions, read by all ranks of a trainer, each its share, and kept on disk. Ours.

Reading is the slow part of training a router: every picture goes through the vision encoder. ``predict_step`` does it,
because a trainer shares what it predicts over ranks without repeating any of it.
"""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from ldke_pl.data import EditRequest, ImageSource, Question, content_digest, image_key
from ldke_pl.errors import ConfigError
from ldke_pl.router import FeatureReader, Features
from ldke_pl.router.features import MAX_TOKENS

READING = 3
"""Raised whenever the same model and texts come to be read in another way."""

NAMES = ("edit", "query")
"""What the module's loaders bring, in their order."""

Key = tuple[Hashable, str]
Batch = list[tuple[int, Any]]


@dataclass(frozen=True)
class FeatureBank:
    """Features of some edits and questions.

    Args:
        edits: features of the edits, one row each.
        edit_rows: picture, prompt and target of an edit -> its row.
        queries: features of the questions, one row each.
        query_rows: picture and text of a question -> its row.
    """

    edits: Features
    edit_rows: dict[Key, int]
    queries: Features
    query_rows: dict[Key, int]

    def of_edits(self, requests: Sequence[EditRequest]) -> Features:
        """The features of some of the edits, in order."""
        rows = torch.tensor([self.edit_rows[edit_key(r)] for r in requests])
        return {name: value[rows] for name, value in self.edits.items()}

    def of_questions(self, questions: Sequence[Question]) -> Features:
        """The features of some of the questions, in order."""
        rows = torch.tensor([self.query_rows[question_key(q)] for q in questions])
        return {name: value[rows] for name, value in self.queries.items()}


def edit_key(request: EditRequest) -> Key:
    """What an edit's features depend on."""
    return image_key(request.image), f"{request.prompt}|{request.target}"


def question_key(question: Question) -> Key:
    """What a question's features depend on."""
    return image_key(question.image), question.prompt


def read_features(
    trainer: L.Trainer,
    reader: FeatureReader,
    requests: Sequence[EditRequest],
    questions: Sequence[Question],
    cache: Path,
    batch_size: int = 128,
) -> FeatureBank:
    """Read each distinct edit and question once, or find what an earlier run has read.

    Args:
        trainer: its ranks share the work; they must see one ``cache``.
        cache: folder in which features are kept under a name made from all that they depend on: the base's weights,
            the layers, every prompt, target and picture.
        batch_size: edits or questions in one pass.

    Raises:
        ConfigError: there are more ranks than edits or questions, so that one would have nothing to do.
    """
    edits = list({edit_key(r): r for r in requests}.values())
    asked = list({question_key(q): q for q in questions}.values())
    if trainer.world_size > min(len(edits), len(asked)):
        raise ConfigError(
            f"{len(edits)} edits and {len(asked)} questions cannot be shared by {trainer.world_size} processes.",
            "set trainer.devices and trainer.num_nodes to fewer",
        )
    path = cache / f"features-{_content_key(reader, edits, asked)}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        module = FeatureModule(reader, path)
        trainer.predict(module, [_loader(edits, batch_size), _loader(asked, batch_size)], return_predictions=False)
    stored = load_file(path)
    found = {n: {k.removeprefix(f"{n}."): v for k, v in stored.items() if k.startswith(f"{n}.")} for n in NAMES}
    rows = ({edit_key(r): i for i, r in enumerate(edits)}, {question_key(q): i for i, q in enumerate(asked)})
    return FeatureBank(found["edit"], rows[0], found["query"], rows[1])


class FeatureModule(L.LightningModule):
    """Reads features batch by batch; when all ranks are done, ``path`` holds every row in order.

    Args:
        reader: reads the features.
        path: the file to write; ranks leave theirs beside it until the first of them has joined them.
    """

    def __init__(self, reader: FeatureReader, path: Path) -> None:
        super().__init__()
        self.reader, self.path = reader, path
        self.found: dict[str, list[Features]] = {name: [] for name in NAMES}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Edits and questions are no tensors; the reader moves what it makes of them."""
        return batch

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Read one batch of (row, edit) or (row, question)."""
        rows, items = [row for row, _ in batch], [item for _, item in batch]
        name = NAMES[dataloader_idx]
        # Edits are routed by features of the base's own precision, whatever the trainer's.
        with torch.autocast(self.reader.backbone.device.type, enabled=False):
            read = self.reader.edits(items) if name == "edit" else self.reader.questions(items)
        self.found[name].append({"row": torch.tensor(rows)} | {k: v.cpu() for k, v in read.items()})

    def on_predict_end(self) -> None:
        """Write this rank's rows; the first rank then joins those of all."""
        ranks, strategy = self.trainer.world_size, self.trainer.strategy
        parts = [self.path.with_suffix(f".part{rank}") for rank in range(ranks)]
        kept = [(n, found) for n, found in self.found.items() if found]
        own = {f"{n}.{k}": torch.cat([f[k] for f in found]) for n, found in kept for k in found[0]}
        save_file(own, parts[self.trainer.global_rank])
        strategy.barrier("features written")
        if self.trainer.is_global_zero:
            save_file(_joined([load_file(part) for part in parts]), partial := self.path.with_suffix(".partial"))
            partial.rename(self.path)
            for part in parts:
                part.unlink()
        strategy.barrier("features joined")


def _joined(parts: Sequence[Features]) -> Features:
    """The rows of all ranks in their order; a rank without any has no tensors."""
    joined: Features = {}
    for name in NAMES:
        shares = [part for part in parts if f"{name}.row" in part]
        if shares:
            order = torch.cat([share[f"{name}.row"] for share in shares]).argsort()
            names = [k for k in shares[0] if k.startswith(f"{name}.") and k != f"{name}.row"]
            joined |= {k: torch.cat([share[k] for share in shares])[order] for k in names}
    return joined


def _loader(items: Sequence[Any], batch_size: int) -> DataLoader[Any]:
    return DataLoader(list(enumerate(items)), batch_size=batch_size, collate_fn=list)  # type: ignore[arg-type]


def _content_key(reader: FeatureReader, requests: Sequence[EditRequest], questions: Sequence[Question]) -> str:
    base = reader.backbone.fingerprint(reader.layers[-1])
    common = reader.common if any(r.image is None for r in requests) else ""  # others' names are not looked for
    how = f"{READING}{base}{reader.layers}{reader.naming}{MAX_TOKENS}{common}"
    return hashlib.sha256(f"{how}{content_digest(_texts(requests, questions))}".encode()).hexdigest()[:24]


def _texts(requests: Sequence[EditRequest], questions: Sequence[Question]) -> Iterator[tuple[ImageSource | None, str]]:
    for request in requests:
        yield request.image, f"{request.prompt}|{request.target}"
    for question in questions:
        yield question.image, question.prompt
