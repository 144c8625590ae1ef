"""Training pairs of the router, from any data set's cases: features, and which edit and query belong together. Ours.

A probe of a case is relevant to its edit unless it tests locality. A probe of another case is irrelevant, unless both
are about the same entity: then the data does not say, and the pair is not used. It does say where the one edit's
locality probes ask what the other edit is about: those two edits leave each other alone.
"""

import hashlib
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldke_pl.data import EditCase, ImageSource, Probe, Question, image_key, load_image
from ldke_pl.router import FeatureReader, Features
from ldke_pl.router.features import MAX_TOKENS


@dataclass(frozen=True)
class PairTable:
    """Edits, queries and how they belong together.

    Args:
        edits: features of the edits, one row per case.
        queries: features of the probes, one row per distinct question.
        places: row in ``queries`` per probe, (probes,).
        owner: case per probe, (probes,).
        relevant: whether a probe is relevant to its own case's edit, (probes,) bool.
        edit_entity, probe_entity: entity numbers; -1 where the data names none.
        kinds: probe kind per probe.
        apart: whether a case is known to leave alone what a probe's own edit is about, (probes, cases) bool.
    """

    edits: Features
    queries: Features
    places: Tensor
    owner: Tensor
    relevant: Tensor
    edit_entity: Tensor
    probe_entity: Tensor
    kinds: list[str]
    apart: Tensor

    def labels(self, cases: Tensor, probes: Tensor) -> Tensor:
        """1 relevant, 0 irrelevant, -1 unknown, (probes, cases)."""
        own = self.owner[probes][:, None] == cases[None]
        about, entity = self.probe_entity[probes][:, None], self.edit_entity[cases][None]
        unknown = (about == entity) & (about >= 0) & ~self.apart[probes][:, cases]
        labels = torch.where(unknown, -1, 0)
        return torch.where(own, self.relevant[probes][:, None].long(), labels)

    def things(self) -> Tensor:
        """The first case with a picture of each entity that has one, (entities,) long."""
        pictured = (self.edits["seen"][:, 0] > 0).nonzero().squeeze(1)
        first = np.unique(self.edit_entity[pictured].numpy(), return_index=True)[1]
        return pictured[torch.from_numpy(first)]


def without_relations(cases: Sequence[EditCase], relations: Collection[str]) -> list[EditCase]:
    """Cases and probes that do not touch ``relations``: what training may see."""
    kept = [c for c in cases if c.relation not in relations]
    return [replace(c, probes=tuple(p for p in c.probes if p.relation not in relations)) for c in kept]


def read_pairs(
    reader: FeatureReader, cases: Sequence[EditCase], cache: Path | None = None, batch_size: int = 128
) -> PairTable:
    """Read the features of all edits and probes of ``cases``.

    Args:
        cache: folder in which features are kept under a name made from all that they depend on: the base's weights,
            the layers, every prompt, target and picture.
    """
    probes = [p for c in cases for p in c.probes]
    asked = {_asked(p): Question(p.image, p.prompt) for p in probes}
    questions, place = list(asked.values()), {key: i for i, key in enumerate(asked)}
    edits, queries = _features(reader, cases, questions, cache, batch_size)
    names = {e: i for i, e in enumerate(dict.fromkeys(c.entity for c in cases))}
    return PairTable(
        edits,
        queries,
        places=torch.tensor([place[_asked(p)] for p in probes]),
        owner=torch.tensor([i for i, c in enumerate(cases) for _ in c.probes]),
        relevant=torch.tensor([not p.kind.is_locality for p in probes]),
        edit_entity=torch.tensor([names[c.entity] for c in cases]),
        probe_entity=torch.tensor([names.get(p.entity, -1) for p in probes]),
        kinds=[p.kind.value for p in probes],
        apart=_apart(cases),
    )


def _asked(probe: Probe) -> tuple[Hashable, str]:
    return image_key(probe.image), probe.prompt


def _apart(cases: Sequence[EditCase]) -> Tensor:
    """(probes, cases) bool: the case has a locality probe, in the probe's own modality, for what the probe is about.

    That is its edit's relation if the probe is relevant to its edit, and else the probe's own.
    """
    protected = [{(p.relation, p.image is None) for p in c.probes if p.kind.is_locality} for c in cases]
    about = [(p.relation if p.kind.is_locality else c.relation, p.image is None) for c in cases for p in c.probes]
    columns = {key: torch.tensor([bool(key[0]) and key in p for p in protected]) for key in set(about)}
    return torch.stack([columns[key] for key in about])


def _features(
    reader: FeatureReader, cases: Sequence[EditCase], questions: Sequence[Question], cache: Path | None, size: int
) -> tuple[Features, Features]:
    path = cache / f"features-{_content_key(reader, cases, questions)}.safetensors" if cache else None
    if path is not None and path.exists():
        stored = load_file(path)
    else:
        parts = [reader.edits([c.request for c in cases[i : i + size]]) for i in range(0, len(cases), size)]
        stored = {f"edit.{k}": torch.cat([p[k] for p in parts]).cpu() for k in parts[0]}
        found = [reader.questions(questions[i : i + size]) for i in range(0, len(questions), size)]
        stored |= {f"query.{k}": torch.cat([p[k] for p in found]).cpu() for k in found[0]}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            save_file(stored, partial)
            partial.rename(path)
    edits, queries = ({k.split(".")[1]: v for k, v in stored.items() if k.startswith(n)} for n in ("edit", "query"))
    return edits, queries


def _content_key(reader: FeatureReader, cases: Sequence[EditCase], questions: Sequence[Question]) -> str:
    base = reader.backbone.fingerprint(reader.layers[-1])
    digest = hashlib.sha256(f"{base}{reader.layers}{reader.naming}{MAX_TOKENS}".encode())
    pictures: dict[Hashable, str] = {None: ""}
    for image, text in _texts(cases, questions):
        key = image_key(image)
        if image is not None and key not in pictures:
            pictures[key] = hashlib.sha256(load_image(image).tobytes()).hexdigest()
        digest.update(f"|{pictures[key]}|{text}".encode())
    return digest.hexdigest()[:24]


def _texts(cases: Sequence[EditCase], questions: Sequence[Question]) -> Iterator[tuple[ImageSource | None, str]]:
    for case in cases:
        yield case.request.image, f"{case.request.prompt}|{case.request.target}"
    for question in questions:
        yield question.image, question.prompt
