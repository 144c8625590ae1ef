"""The typed record that every reader produces and everything else consumes.

An :class:`EditCase` is one benchmark row: an :class:`EditRequest` (the fact to write) and its probes (the
questions asked after the edit). Prompts are the plain question; chat templates are applied by the collator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from PIL import Image

from ldke_pl.data.stored import StoredImage

ImageSource = str | Path | StoredImage | Image.Image
"""A path to an image file, an image file in a shard, or an image already in memory."""


class ProbeKind(StrEnum):
    """What a probe tests. The value is the name used in tables and in ``metrics.json``."""

    RELIABILITY = "reliability"
    TEXT_GENERALITY = "text_generality"
    IMAGE_GENERALITY = "image_generality"
    FINEGRAINED_GENERALITY = "finegrained_generality"
    TEXT_LOCALITY = "text_locality"
    IMAGE_LOCALITY = "image_locality"
    FINEGRAINED_LOCALITY = "finegrained_locality"
    VISUAL_LOCALITY = "visual_locality"
    ENTITY_LOCALITY = "entity_locality"
    PORTABILITY_1 = "portability_1"
    PORTABILITY_2 = "portability_2"
    PORTABILITY_3 = "portability_3"
    PORTABILITY_4 = "portability_4"

    @property
    def is_locality(self) -> bool:
        """Whether the answer must stay what the unedited model says."""
        return self.value.endswith("_locality")

    @property
    def is_portability(self) -> bool:
        return self.value.startswith("portability_")


AVERAGED_KINDS = tuple(k for k in ProbeKind if not k.is_portability or k is ProbeKind.PORTABILITY_1)
"""The kinds that enter ``average``: reliability, generality, locality kinds and portability_1 (DESIGN section 7)."""


@dataclass(frozen=True)
class EditRequest:
    """The fact to write.

    >>> EditRequest("cup.jpg", "Whose cup is this?", "Ada's").target
    "Ada's"

    Args:
        image: the picture the fact is about, or None for a text-only edit.
        prompt: the question, without chat template; not empty.
        target: the answer the edited model must give; not empty.
        group: kind of edit, where the data says so. The localizer
            ``best_fixed_per_kind`` and the editors' propagation read it.
        subject: what the question is about, as it is called there; "" where that is not known. The router reads it of
            a text-only edit, and looks for it in the question otherwise.
    """

    image: ImageSource | None
    prompt: str
    target: str
    group: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Probe:
    """One question asked after the edit.

    Args:
        kind: what the probe tests.
        image: the picture shown, or None for a text-only question.
        prompt: the question, without chat template.
        expected: the right answer after the edit; for a locality probe the data set's own answer where it gives
            one. Locality is scored against the unedited model's answer, never against this.
        entity: what the question is about, where the data says so: two cases about the same entity are no
            ready-made negatives for each other, and a joint set drops probes that another of its edits answers.
        relation: what is asked ("capital", "name", ...), where the data says so; used to report apart the
            relations that the router never trained on.
        ceiling: a question with the same answer that the unedited model should already answer (Y's own picture
            for an entity edit), or None where there is none.
    """

    kind: ProbeKind
    image: ImageSource | None
    prompt: str
    expected: str | None = None
    entity: str = ""
    relation: str = ""
    ceiling: "Question | None" = None


@dataclass(frozen=True)
class Question:
    """A prompt with or without a picture.

    >>> Question(None, "What is the capital of Badadi?").prompt
    'What is the capital of Badadi?'
    """

    image: ImageSource | None
    prompt: str


@dataclass(frozen=True)
class EditCase:
    """One benchmark row.

    Args:
        case_id: unique within its data set, stable over runs.
        request: the fact to write.
        probes: the questions asked after the edit, ``reliability`` among them.
        group: the value by which results are also reported apart (Atlas: "entity" or "attribute"); "" for none.
        entity: what the fact is about; intervals are clustered by it. Defaults to the case itself.
        relation: what the edit changes, where the data says so.
        old_answer: the data set's note of the answer before the edit, or "".
        joint: whether the case belongs to the set that can be applied together without contradiction.
    """

    case_id: str
    request: EditRequest
    probes: tuple[Probe, ...]
    group: str = ""
    entity: str = ""
    relation: str = ""
    old_answer: str = ""
    joint: bool = True


def scored_together(cases: Sequence[EditCase]) -> list[list[bool]]:
    """Whether each probe of each case can be scored when all of ``cases`` are applied together.

    A locality probe that another of the edits answers cannot: there is nothing that it should be equal to.
    """
    edited = {(c.entity, c.relation) for c in cases if c.relation}
    return [[not (p.kind.is_locality and (p.entity, p.relation) in edited) for p in c.probes] for c in cases]
