"""Training pairs for a data set that says of each edit only how it may be asked again and what must not change. Ours.

To the probes of its rows are added what two parts of a row, or two rows, say together: the rephrased question about the
rephrased picture belongs to the edit; another row's question about this picture, and this question about another row's
picture, do not. Portability probes are left out: what spreads is for evaluation.

To a data set that names relations, Atlas, edits are added besides: of what its second hops ask.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, image_key

OTHERS = 2
"""Rows whose questions, and whose pictures, each edit is set against."""

AGAIN, TOLD = 3, 2
"""Other questions for what an added edit changes, and questions in words for something else, that it is given."""


def with_derived_pairs(cases: Sequence[EditCase], seed: int = 0) -> list[EditCase]:
    """The cases with the probes that a router is trained on.

    Args:
        cases: of a training split, cleaned of what evaluation holds too.
        seed: decides which other rows an edit is set against.
    """
    rng = random.Random(seed)
    return [replace(case, probes=(*_own(case), *_others(case, cases, rng))) for case in cases]


def _own(case: EditCase) -> Iterator[Probe]:
    """A case's probes without portability, those about its own thing marked so, and the product of its rephrasings."""
    ways: dict[ProbeKind, list[Probe]] = {ProbeKind.TEXT_GENERALITY: [], ProbeKind.IMAGE_GENERALITY: []}
    for probe in case.probes:
        if probe.kind.is_portability:
            continue
        about = probe.entity or ("" if probe.kind.is_locality else case.entity)
        yield replace(probe, entity=about)
        if probe.kind in ways:
            ways[probe.kind].append(probe)
    for text in ways[ProbeKind.TEXT_GENERALITY]:
        for image in ways[ProbeKind.IMAGE_GENERALITY]:
            yield replace(image, prompt=text.prompt, entity=image.entity or case.entity)


def _others(case: EditCase, cases: Sequence[EditCase], rng: random.Random) -> Iterator[Probe]:
    request = case.request
    if request.image is None:
        return
    asked = [c for c in cases if c.request.prompt != request.prompt]
    for other in rng.sample(asked, min(OTHERS, len(asked))):
        yield Probe(ProbeKind.FINEGRAINED_LOCALITY, request.image, other.request.prompt, entity=case.entity)
    shown = [c for c in cases if c.entity != case.entity and _shows_another(c, case)]
    for other in rng.sample(shown, min(OTHERS, len(shown))):
        yield Probe(ProbeKind.VISUAL_LOCALITY, other.request.image, request.prompt, entity=other.entity)


def _shows_another(other: EditCase, case: EditCase) -> bool:
    first, second = other.request.image, case.request.image
    return first is not None and second is not None and image_key(first) != image_key(second)


def with_second_hop_edits(cases: Sequence[EditCase], seed: int = 0) -> list[EditCase]:
    """The cases, and for each thing and each second hop that they ask of it an edit of the second hop's own relation.

    A router that meets edits of few relations learns which questions go to which of these, and sends a second hop to an
    edit of an unknown relation ("Where was the leader of this country born?" to its language). To an added edit (of the
    birthplace) no question belongs but its own: neither that for the first hop, nor another second hop. Nothing is
    asked that the cases do not ask already, so that a relation held out of them stays so. Ours.

    Args:
        cases: of a training split; an added edit's target is another answer that they give to its relation.
        seed: decides which pictures and questions an added edit is made of.
    """
    rng = random.Random(seed)
    about: dict[str, dict[object, Probe]] = defaultdict(dict)
    for probe in (p for c in cases for p in c.probes if p.entity):
        about[probe.entity].setdefault((image_key(probe.image), probe.prompt), probe)
    hops: dict[str, list[Probe]] = defaultdict(list)
    for probe in (p for asked in about.values() for p in asked.values()):
        if probe.kind is ProbeKind.PORTABILITY_2 and probe.relation and probe.image is not None:
            hops[probe.relation].append(probe)
    entities = [e for e in dict.fromkeys(c.entity for c in cases) if e in about]
    added = (_second_hop(e, r, list(about[e].values()), hops[r], rng) for e in entities for r in hops)
    return [*cases, *(case for case in added if case)]


def _second_hop(
    entity: str, relation: str, about: Sequence[Probe], hops: Sequence[Probe], rng: random.Random
) -> EditCase | None:
    own = _drawn([p for p in hops if p.entity == entity], 1 + AGAIN, rng)
    answers = sorted({p.expected for p in hops if p.expected} - {p.expected for p in own[:1]})
    if not own or not answers:
        return None
    other = [p for p in _drawn(about, len(about), rng) if p.relation != relation]
    shown = {p.relation: p for p in other if p.image is not None and p.relation}
    told = [p for p in other if p.image is None and p.kind is not ProbeKind.TEXT_LOCALITY]
    parts = (
        (ProbeKind.RELIABILITY, own[:1]),
        (ProbeKind.IMAGE_GENERALITY, own[1:]),
        (ProbeKind.FINEGRAINED_LOCALITY, list(shown.values())),
        (ProbeKind.ENTITY_LOCALITY, told[:TOLD]),
    )
    probes = tuple(replace(p, kind=kind) for kind, found in parts for p in found)
    request = EditRequest(own[0].image, own[0].prompt, rng.choice(answers))
    return EditCase(f"{entity}-{relation}", request, probes, "", entity, relation, joint=False)


def _drawn(probes: Sequence[Probe], most: int, rng: random.Random) -> list[Probe]:
    return rng.sample(probes, min(most, len(probes)))
