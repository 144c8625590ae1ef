"""Training pairs of the router, from any data set's cases: features, and which edit and query belong together. Ours.

A probe of a case is relevant to its edit unless it tests locality. A probe of another case is irrelevant, unless both
are about the same entity: then the data does not say, and the pair is not used. It does say where the one edit's
locality probes ask what the other edit is about: those two edits leave each other alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ldke_pl.data import EditCase, Probe, ProbeKind, Question
from ldke_pl.errors import ConfigError
from ldke_pl.modules.features import FeatureBank, question_key
from ldke_pl.router import Features


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
    """Cases and probes that do not touch ``relations``: what training may see.

    Raises:
        ConfigError: none has a probe left.
    """
    kept = [c for c in cases if c.relation not in relations]
    found = [replace(c, probes=tuple(p for p in c.probes if p.relation not in relations)) for c in kept]
    if not any(c.probes for c in found):
        raise ConfigError(
            f"router.held_out_relations leaves nothing to train on: {', '.join(sorted(relations))} are all there are.",
            "hold out fewer relations",
        )
    return found


def pair_table(cases: Sequence[EditCase], bank: FeatureBank) -> PairTable:
    """The table of ``cases``, whose edits and probes are in ``bank``."""
    probes = [p for c in cases for p in c.probes]
    asked = {question_key(q): q for q in (probe_question(p) for p in probes)}
    place = {key: i for i, key in enumerate(asked)}
    names = {e: i for i, e in enumerate(dict.fromkeys(c.entity for c in cases))}
    return PairTable(
        bank.of_edits([c.request for c in cases]),
        bank.of_questions(list(asked.values())),
        places=torch.tensor([place[question_key(probe_question(p))] for p in probes]),
        owner=torch.tensor([i for i, c in enumerate(cases) for _ in c.probes]),
        relevant=torch.tensor([not p.kind.is_locality for p in probes]),
        edit_entity=torch.tensor([names[c.entity] for c in cases]),
        probe_entity=torch.tensor([names.get(p.entity, -1) for p in probes]),
        kinds=[p.kind.value for p in probes],
        apart=_apart(cases),
    )


def probe_question(probe: Probe) -> Question:
    """What a probe asks."""
    return Question(probe.image, probe.prompt)


def _apart(cases: Sequence[EditCase]) -> Tensor:
    """(probes, cases) bool: the case has a locality probe, in the probe's own modality, for what the probe is about.

    That is its edit's relation if the probe is relevant to its edit, and else the probe's own. An edit of the very
    relation that a second hop asks for does not leave it alone, even if it does what the second hop starts from.
    """
    protected = [{(p.relation, p.image is None) for p in c.probes if p.kind.is_locality} for c in cases]
    hop = ProbeKind.PORTABILITY_2
    about = [
        (p.relation if p.kind.is_locality else c.relation, p.image is None, p.relation if p.kind is hop else "")
        for c in cases
        for p in c.probes
    ]
    each = list(zip(cases, protected, strict=True))
    columns = {
        key: torch.tensor([bool(key[0]) and key[:2] in kinds and c.relation != key[2] for c, kinds in each])
        for key in set(about)
    }
    return torch.stack([columns[key] for key in about])
