"""What IKE shows before a fact: other facts, each with a question and its answer (Zheng et al., 2023).

Of the three kinds that IKE has, as EasyEdit makes them for pictures: the fact's own question, the same reworded, and a
question that the fact does not touch. All are texts; pictures are not shown.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ldke_pl.data import EditCase, EditRequest, ProbeKind
from ldke_pl.errors import ArtefactError

FILE = "demonstrations.jsonl"
SHOWN = (ProbeKind.RELIABILITY, ProbeKind.TEXT_GENERALITY, ProbeKind.TEXT_LOCALITY)


@dataclass(frozen=True)
class Demonstration:
    """A fact as it is told, and what is answered after it."""

    fact: str
    prompt: str
    answer: str

    def __str__(self) -> str:
        return f"{self.fact} {self.prompt} {self.answer}."


def made_of(cases: Sequence[EditCase], told: Callable[[EditRequest], str]) -> list[Demonstration]:
    """A demonstration of each kind from every case, as far as it has such a question with an answer."""
    found = []
    for case in cases:
        for kind in SHOWN:
            for probe in [p for p in case.probes if p.kind is kind and p.expected][:1]:
                found.append(Demonstration(told(case.request), probe.prompt, str(probe.expected)))
    return list(dict.fromkeys(found))


def save(demonstrations: Sequence[Demonstration], folder: Path) -> None:
    """Write them to a folder, one JSON object a line."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(d), ensure_ascii=False) + "\n" for d in demonstrations]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def load(folder: Path | None) -> list[Demonstration]:
    """Read what :func:`save` wrote; one may write such a file by hand.

    Raises:
        ArtefactError: there is none, or it cannot be read.
    """
    hint = "write one with `python train.py editor=ike` and name its folder in editor.NAME.weights"
    if folder is None:
        raise ArtefactError("IKE has no demonstrations to show.", hint)
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
        found = [Demonstration(**json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError) as fault:
        raise ArtefactError(f"{folder / FILE} cannot be read: {str(fault).splitlines()[0]}", hint) from fault
    if not found or any(not isinstance(text, str) for d in found for text in asdict(d).values()):
        raise ArtefactError(f"{folder / FILE} has no demonstrations, or one that is not three texts.", hint)
    return found
