"""OKEDIT (BalancEdit, arXiv 2505.01343): OK-VQA's two files, with counterfactual answers and rephrased questions."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, load_json, parse_values
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind
from ldke_pl.errors import DataError

ANNOTATIONS = "mscoco_val2014_annotations.json"
QUESTIONS = "OpenEnded_mscoco_val2014_questions.json"
"""The second file, beside the annotations."""

REPHRASED, LOCALITY = "rephrased_images", "locality_images"
"""Folders under the image root. Each has a folder per question id: of pictures in the first, of 0.png in the second.
The authors' loader takes both as arguments; that they lie here is ours."""

_TEXT_LOCALITY = (
    "what purpose did seasonal monsoon winds have on trade",
    "enabled European empire expansion into the Americas and trade routes to become established across the Atlantic "
    "and Pacific oceans",
)
"""The one question, and its answer, that the authors' loader asks after every edit."""

_ASKED_KEYS = ("question", "rephrased_questions")
_DRAWN = {"rephrase": ProbeKind.IMAGE_GENERALITY, "locality": ProbeKind.IMAGE_LOCALITY}

logger = logging.getLogger(__name__)


def read_okedit(path: Path, root: Path | None) -> ParsedFile:
    """Read OKEDIT; a case's group is its ``counterfact_type``, its entity the COCO image.

    Args:
        path: the annotation file, with the file of questions beside it, or the folder of both.
        root: the folder that holds ``val2014/``, ``rephrased_images/`` and ``locality_images/``. A case has those
            rephrase and locality pictures that are there; without a root it has no rephrase picture, as the number
            of them is known from their folder only.

    Raises:
        DataError: one of the two files is missing, is not JSON, or has no rows.
    """
    file = path / ANNOTATIONS if path.is_dir() else path
    asked = file.parent / QUESTIONS
    questions = {str(row.get("question_id")): row for row in _table(asked, "questions") if isinstance(row, dict)}
    rows = [_with_question(row, questions) for row in _table(file, "annotations")]

    def parse_row(row: Fields, case_id: str) -> list[EditCase]:
        return [_case(row, case_id, look=root is not None)]

    parsed = parse_values("okedit", file, rows, root, parse_row)
    if root is not None:
        _warn_of_lacking(parsed.cases, root)
    problems = [replace(p, file=asked) if p.key.startswith(_ASKED_KEYS[1]) else p for p in parsed.problems]
    return ParsedFile(parsed.cases, problems, parsed.n_rows)


def _table(path: Path, key: str) -> list[Any]:
    """The list of rows under ``key`` of an OK-VQA file."""
    table = load_json(path)
    rows = table.get(key) if isinstance(table, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{path} holds no list of "{key}".', "Give OKEDIT's file as it was published (data/README.md).")
    return rows


def _with_question(row: object, questions: dict[str, dict[str, Any]]) -> object:
    if not isinstance(row, dict):
        return row
    asked = questions.get(str(row.get("question_id")), {})
    return {**row, **{key: asked[key] for key in _ASKED_KEYS if key in asked}}


def _case(row: Fields, case_id: str, *, look: bool) -> EditCase:
    if not row.has("question"):
        row.fault("question_id", f"has no question in {QUESTIONS}")
    picture = f"val2014/COCO_val2014_{row.text('image_id').zfill(12)}.jpg"
    image = row.join("image_id", picture)
    prompt = row.text("question") if row.has("question") else ""
    request = EditRequest(image, prompt, row.text("counterfact_answer"))
    answers = row.children("answers")
    return EditCase(
        case_id=case_id,
        request=request,
        probes=tuple(_probes(row, request, look=look)),
        group=row.optional_text("counterfact_type") or "",
        entity=picture,
        old_answer=(answers[0].optional_text("answer") or "") if answers else "",
    )


def _probes(row: Fields, request: EditRequest, *, look: bool) -> Iterator[Probe]:
    image, prompt, target = request.image, request.prompt, request.target
    yield Probe(ProbeKind.RELIABILITY, image, prompt, target)
    for rephrase in row.texts("rephrased_questions"):
        yield Probe(ProbeKind.TEXT_GENERALITY, image, rephrase, target)
    number = row.text("question_id")
    for other in _pictures(row, f"{REPHRASED}/{number}") if look else ():
        yield Probe(ProbeKind.IMAGE_GENERALITY, other, prompt, target)
    yield Probe(ProbeKind.TEXT_LOCALITY, None, *_TEXT_LOCALITY)
    unlike = row.join("question_id", f"{LOCALITY}/{number}/0.png")
    if unlike.is_file() or not look:
        yield Probe(ProbeKind.IMAGE_LOCALITY, unlike, prompt, row.optional_text("locality_answer"))


def _pictures(row: Fields, folder: str) -> list[Path]:
    """The files of a folder under the image root, sorted by name; none where there is no such folder."""
    place = row.join("question_id", folder)
    if place == Path() or not place.is_dir():  # a bad id would list the working folder
        return []
    names = sorted(file.name for file in place.iterdir() if file.is_file() and not file.name.startswith("."))
    return [row.join("question_id", f"{folder}/{name}") for name in names]


def _warn_of_lacking(cases: Sequence[EditCase], root: Path) -> None:
    for name, kind in _DRAWN.items():
        lacking = sum(not any(probe.kind is kind for probe in case.probes) for case in cases)
        if lacking:
            logger.warning("%d of %d cases have no %s picture under %s", lacking, len(cases), name, root)
