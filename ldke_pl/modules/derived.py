"""Training pairs for a data set that says of each edit only how it may be asked again and what must not change. Ours.

To the probes of its rows are added what two parts of a row, or two rows, say together: the rephrased question about the
rephrased picture belongs to the edit; another row's question about this picture, and this question about another row's
picture, do not. Portability probes are left out: what spreads is for evaluation.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ldke_pl.data import EditCase, Probe, ProbeKind, image_key

OTHERS = 2
"""Rows whose questions, and whose pictures, each edit is set against."""


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
