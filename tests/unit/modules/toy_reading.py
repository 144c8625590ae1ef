"""A few cases, and their features."""

from pathlib import Path

import lightning as L
import numpy as np
from PIL import Image

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind
from ldke_pl.modules.features import FeatureBank, read_features
from ldke_pl.modules.pairs import probe_question
from ldke_pl.router import FeatureReader

RELEVANT, OTHER, TOLD = ProbeKind.RELIABILITY, ProbeKind.IMAGE_LOCALITY, ProbeKind.TEXT_LOCALITY


def three_cases(folder: Path) -> list[EditCase]:
    """Two edits of A, of which the second's locality probe asks for the leader in words, and one of B."""
    paths = [folder / f"picture-{i}.png" for i in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)).save(path)

    def case(number: int, entity: str, relation: str, *others: Probe) -> EditCase:
        request = EditRequest(paths[number], f"What is its {relation}?", f"new {relation}")
        own = [Probe(RELEVANT, i, request.prompt, None, entity, relation) for i in (request.image, None)]
        return EditCase(f"case-{number}", request, (*own, *others), "", entity, relation)

    return [
        case(0, "A", "leader", Probe(OTHER, paths[3], "What is this?", None, "", "name")),
        case(1, "A", "capital", Probe(TOLD, None, "Who leads A?", None, "A", "leader")),
        case(2, "B", "leader", Probe(TOLD, None, "What is the capital of A?", None, "A", "capital")),
    ]


def bank_of(
    reader: FeatureReader,
    cases: list[EditCase],
    cache: Path,
    batch_size: int = 128,
    devices: int = 1,
    precision: str = "32-true",
) -> FeatureBank:
    """The features of all edits and probes of ``cases``."""
    trainer = L.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp_fork" if devices > 1 else "auto", precision=precision,  # type: ignore[arg-type]
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    questions = [probe_question(p) for c in cases for p in c.probes]
    return read_features(trainer, reader, [c.request for c in cases], questions, cache, batch_size)
