"""What of an evaluation set also occurs in the training set, and the sets without it. Ours.

Everything is compared as the annotation files have it: texts to the letter, pictures by their path. A *question* is a
picture (or none) and a prompt; a set asks those of its requests and of its probes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ldke_pl.data.records import EditCase, ImageSource, Probe, ProbeKind, Question

T = TypeVar("T")


@dataclass(frozen=True)
class Overlap:
    """How much of the evaluation set occurs in the training set.

    Args:
        shared: how many different items do.
        of: how many different items there are.
        cases: how many evaluation cases have one that does.
    """

    shared: int
    of: int
    cases: int


@dataclass(frozen=True)
class Leakage:
    """What occurs in both sets.

    Args:
        requests: same picture, prompt and target.
        images: pictures of requests that are pictures of training requests.
        answers: targets that are training targets.
        questions: by probe kind, those that the training set asks in any of its requests and probes.
        rephrase_is_prompt: evaluation cases with a rephrase that is their own request's question.
    """

    requests: Overlap
    images: Overlap
    answers: Overlap
    questions: dict[ProbeKind, Overlap]
    rephrase_is_prompt: int


def find_leakage(train: Sequence[EditCase], evaluation: Sequence[EditCase]) -> Leakage:
    """Compare two sets whose image paths are relative to the same root."""
    asked = questions(train)
    kinds = [kind for kind in ProbeKind if any(p.kind is kind for case in evaluation for p in case.probes)]
    return Leakage(
        requests=_overlap({_request(c) for c in train}, [[_request(c)] for c in evaluation]),
        images=_overlap(pictures(train), [sorted(pictures([c]), key=str) for c in evaluation]),
        answers=_overlap({c.request.target for c in train}, [[c.request.target] for c in evaluation]),
        questions={
            kind: _overlap(asked, [[_question(p) for p in c.probes if p.kind is kind] for c in evaluation])
            for kind in kinds
        },
        rephrase_is_prompt=sum(any(_repeats(p, c) for p in c.probes) for c in evaluation),
    )


def questions(cases: Iterable[EditCase]) -> set[Question]:
    """All that ``cases`` ask."""
    return {question for case in cases for question in (_asked(case), *map(_question, case.probes))}


def pictures(cases: Iterable[EditCase]) -> set[ImageSource]:
    """The pictures that ``cases`` edit."""
    return {case.request.image for case in cases if case.request.image is not None}


def clean_evaluation(cases: Sequence[EditCase], train: Sequence[EditCase]) -> list[EditCase]:
    """Evaluation cases without what occurs in ``train``.

    Cases that make a training request go; of the others, the probes that the training set asks too, and rephrases
    that are the request's own question. Reliability stays: it is the request itself.
    """
    requests, asked = {_request(case) for case in train}, questions(train)

    def clean(probe: Probe, case: EditCase) -> bool:
        own = probe.kind is ProbeKind.RELIABILITY
        return own or not (_question(probe) in asked or _repeats(probe, case))

    kept = [case for case in cases if _request(case) not in requests]
    return [replace(case, probes=tuple(p for p in case.probes if clean(p, case))) for case in kept]


def clean_training(cases: Sequence[EditCase], evaluation: Sequence[EditCase]) -> list[EditCase]:
    """Training cases without what occurs in ``evaluation``, which stays as it was published.

    Cases that edit a picture which ``evaluation`` edits go, and those whose request it asks; of the others, the
    probes that it asks too, or that show a picture which it edits. Equal answers stay: "yes" is no leak.
    """
    asked, edited = questions(evaluation), pictures(evaluation)
    kept = [case for case in cases if case.request.image not in edited and _asked(case) not in asked]
    return [
        replace(case, probes=tuple(p for p in case.probes if p.image not in edited and _question(p) not in asked))
        for case in kept
    ]


def _overlap(known: set[T], items: Sequence[Sequence[T]]) -> Overlap:
    """``items`` holds those of each evaluation case."""
    different = {item for some in items for item in some}
    return Overlap(len(different & known), len(different), sum(any(item in known for item in some) for some in items))


def _request(case: EditCase) -> tuple[ImageSource | None, str, str]:
    return case.request.image, case.request.prompt, case.request.target


def _asked(case: EditCase) -> Question:
    return Question(case.request.image, case.request.prompt)


def _question(probe: Probe) -> Question:
    return Question(probe.image, probe.prompt)


def _repeats(probe: Probe, case: EditCase) -> bool:
    return probe.kind is ProbeKind.TEXT_GENERALITY and _question(probe) == _asked(case)
