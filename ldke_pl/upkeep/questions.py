"""Questions that tell what an edit without its router costs. Ours.

An artefact keeps no pictures. They are found again in the data that the edits were made of: that of the run whose
folder the artefact lies in, or Atlas for edits of the Atlas model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldke_pl.config import CONF_DIR, DataConfig, EditConfig, load_config
from ldke_pl.data import EditCase, Question, image_key
from ldke_pl.edits import Edit, request_id
from ldke_pl.errors import ConfigError
from ldke_pl.runtime.data import load_cases
from ldke_pl.upkeep.look import pictured


@dataclass(frozen=True)
class Questions:
    """What is asked before and after an edit is folded.

    Args:
        own: the edit's own question; None where its picture cannot be found.
        requests: the questions of the artefact's other edits.
        probes: locality probes of the data.
        lost: how many other edits are about a picture that cannot be found.
    """

    own: Question | None
    requests: list[Question]
    probes: list[Question]
    lost: int

    @property
    def others(self) -> list[Question]:
        return [*self.requests, *self.probes]


def gather(edit: Edit, edits: Sequence[Edit], cases: Sequence[EditCase], most: int, picture: str | None) -> Questions:
    """The questions about ``edit`` and the others of its artefact.

    Args:
        cases: of the data, or none.
        most: locality probes taken, spread evenly over the cases of the edits, or over all where no edit has one.
        picture: file of the edit's own picture; None to look for it in ``cases``.
    """
    found = {e.edit_id: _case(e, cases) for e in edits}
    asked = {e.edit_id: _question(e, found[e.edit_id]) for e in edits}
    own = Question(Path(picture), edit.prompt) if picture else asked[edit.edit_id]
    known = {_same(own)} if own else set()
    requests = list(_new([q for name, q in asked.items() if q and name != edit.edit_id], known))
    made_of = [case for case in found.values() if case] or cases
    probes = [p for case in made_of for p in case.probes if p.kind.is_locality]
    spread = list(_new([Question(p.image, p.prompt) for p in probes], known))
    lost = sum(q is None for name, q in asked.items() if name != edit.edit_id)
    count = min(most, len(spread))
    return Questions(own, requests, [spread[i * len(spread) // count] for i in range(count)], lost)


def data_of(folder: Path, base: str) -> list[EditCase]:
    """The cases that the edits in ``folder`` may have been made of; none where that is not known.

    Args:
        base: name of the base model.

    Raises:
        DataError: the data of the run is damaged or is no longer there.
    """
    settings = folder.resolve().parent / "config.yaml"
    if settings.is_file():
        try:
            config: EditConfig = load_config(EditConfig, CONF_DIR / "edit.yaml", [f"config={settings}"])
        except ConfigError:
            return []  # it is another program's
        return load_cases(config.data)
    return load_cases(DataConfig()) if base == "atlas" else []


def _case(edit: Edit, cases: Sequence[EditCase]) -> EditCase | None:
    """The case whose request an edit was made of, told by its id, which is a hash of it."""
    alike = [c for c in cases if (c.request.prompt, c.request.target) == (edit.prompt, edit.target)]
    name = edit.edit_id.partition("-")[0]
    return next((c for c in alike if request_id(c.request, edit.seed or 0) == name), None)


def _question(edit: Edit, case: EditCase | None) -> Question | None:
    if case is not None:
        return Question(case.request.image, edit.prompt)
    return Question(None, edit.prompt) if pictured(edit.key) == "no" else None


def _new(questions: Sequence[Question], known: set[object]) -> Iterator[Question]:
    """Those not known yet, each once."""
    for question in questions:
        if _same(question) not in known:
            known.add(_same(question))
            yield question


def _same(question: Question) -> object:
    return image_key(question.image), question.prompt
