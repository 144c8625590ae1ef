"""Probes for edits that came with none: changed pictures, changed wordings, and what must stay as it is. Ours.

Everything is made by fixed rules: plain operations on the edit's picture, templates around its prompt, and questions
that hardly any edit is about. Nobody says what is right for a question that must stay: it is compared with what the
unedited model says.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldke_pl.data.images import image_key, load_image
from ldke_pl.data.made_pictures import write_neutral, write_varied
from ldke_pl.data.records import EditCase, ImageSource, Probe, ProbeKind

MADE = "made: "
"""How the relation of a made probe begins; what follows says how it was made."""

FROM_OTHER = f"{MADE}other edit's question"
"""The relation of another edit's prompt, asked about this edit's picture."""

OTHERS = 5
"""Most prompts of other edits that are asked about one picture."""

WORDINGS: Mapping[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "no mark": lambda prompt: prompt.rstrip(" ?!.:"),
    "please": lambda prompt: f"Please answer: {prompt}",
    "question": lambda prompt: f"Question: {prompt}",
    "brief": lambda prompt: f"{prompt} Answer briefly.",
}
"""Changes of a prompt after which it asks the same."""

ABOUT_PICTURE: Mapping[str, frozenset[str]] = {
    "What colour is the background?": frozenset({"background", "behind"}),
    "How many people are in the picture?": frozenset({"many", "people", "person", "who"}),
    "Is it day or night?": frozenset({"day", "night", "time"}),
}
"""What any picture can be asked, with the words by which another question may be the same one."""

GENERAL: Mapping[str, frozenset[str]] = {
    "How many days are there in a week?": frozenset({"day", "days", "week"}),
    "What is two plus three?": frozenset({"plus", "sum"}),
    "Which planet is nearest to the sun?": frozenset({"planet", "sun"}),
    "Who wrote Romeo and Juliet?": frozenset({"wrote", "romeo", "juliet", "shakespeare"}),
    "What is water made of?": frozenset({"water"}),
}
"""Questions of general knowledge, with the same."""


def with_made_probes(cases: Sequence[EditCase], folder: Path) -> list[EditCase]:
    """The cases, each with made probes of the kinds that it has none of.

    A changed picture (``image_generality``) and a changed prompt (``text_generality``) must give the target. General
    knowledge (``text_locality``), the prompt beside pictures of nothing (``image_locality``), and other questions about
    the picture (``finegrained_locality``) must stay. What another of the cases edits is not among these.

    Args:
        folder: where the pictures are written.

    Raises:
        DataError: an edit's picture cannot be read.
        OSError: the folder cannot be written.
    """
    neutral = write_neutral(folder)
    varied: dict[Hashable, dict[str, Path]] = {image_key(None): {}}
    filled = []
    for case in cases:
        image = case.request.image
        if image is not None and image_key(image) not in varied:
            varied[image_key(image)] = write_varied(load_image(image, case_id=case.case_id), folder, len(varied))
        made = _Maker(case, cases).probes(varied[image_key(image)], neutral)
        given = {probe.kind for probe in case.probes}
        filled.append(replace(case, probes=(*case.probes, *(p for p in made if p.kind not in given))))
    return filled


@dataclass(frozen=True)
class _Maker:
    """Makes the probes of one case, which is among ``cases``."""

    case: EditCase
    cases: Sequence[EditCase]

    def probes(self, varied: Mapping[str, Path], neutral: Mapping[str, Path]) -> Iterator[Probe]:
        """All that can be made.

        Args:
            varied: pictures that show the same as the case's own, none where it has none.
            neutral: pictures of nothing.
        """
        image, prompt = self.case.request.image, self.case.request.prompt
        for name, picture in varied.items():
            yield self._same(ProbeKind.IMAGE_GENERALITY, name, picture, prompt)
        for name, change in WORDINGS.items():
            if change(prompt) not in ("", prompt):
                yield self._same(ProbeKind.TEXT_GENERALITY, name, image, change(prompt))
        for question in _unlike((c.request.prompt for c in self.cases), GENERAL):
            yield Probe(ProbeKind.TEXT_LOCALITY, None, question, relation=f"{MADE}general knowledge")
        if image is None:
            return
        for name, picture in neutral.items():
            yield Probe(ProbeKind.IMAGE_LOCALITY, picture, prompt, relation=f"{MADE}{name}")
        for relation, question in self._other_questions():
            yield Probe(ProbeKind.FINEGRAINED_LOCALITY, image, question, relation=relation)

    def _same(self, kind: ProbeKind, name: str, image: ImageSource | None, prompt: str) -> Probe:
        return Probe(kind, image, prompt, self.case.request.target, relation=f"{MADE}{name}")

    def _other_questions(self) -> Iterator[tuple[str, str]]:
        """Relations and prompts of questions about the case's picture that no edit of it answers."""
        image = self.case.request.image
        here = [case for case in self.cases if case.request.image == image]
        known = [p.prompt for case in here for p in case.probes if not p.kind.is_locality]
        # What follows from what a picture shows changes with it, and other edits may ask just that.
        if not any(case.group == "entity" for case in here):
            others = {_bare(c.request.prompt): c.request.prompt for c in self.cases if c.request.image is not None}
            fresh = [prompt for bare, prompt in others.items() if bare not in map(_bare, known)]
            yield from ((FROM_OTHER, prompt) for prompt in fresh[:OTHERS])
        yield from ((f"{MADE}question of any picture", prompt) for prompt in _unlike(known, ABOUT_PICTURE))


def _unlike(prompts: Iterable[str], questions: Mapping[str, frozenset[str]]) -> list[str]:
    """The questions that none of ``prompts`` may be another wording of."""
    said = {word for prompt in prompts for word in _bare(prompt).split()}
    return [question for question, words in questions.items() if not said & words]


def _bare(prompt: str) -> str:
    """A prompt without case and the mark at its end."""
    return prompt.casefold().rstrip(" ?!.:")
