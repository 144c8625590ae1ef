"""ComprehendEdit (arXiv 2412.12821): ``ComprehendEdit_{train,test,ori_right}.json``."""

from collections.abc import Iterator
from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import plain_question
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind

_STATEMENTS = "vsr"
_ASK_STATEMENT = "Is this description true or false? Description: {}"
"""Rows from VSR hold a statement; its authors' loader asks about it in these words."""


def read_comprehendedit(path: Path, root: Path | None) -> ParsedFile:
    """Read a ComprehendEdit file; a case's group is its ``Category``, its entity the image.

    The neighbour lists of the KGI and KPI metrics are not read (data/README.md says why).
    """
    return parse_rows("comprehendedit", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    row.require(("image", "question", "answer"))
    statement = (row.optional_text("source") or "").lower() == _STATEMENTS
    template = _ASK_STATEMENT if statement else "{}"
    request = EditRequest(row.image("image"), template.format(row.text("question")), row.text("answer"))
    case = EditCase(
        case_id=case_id,
        request=request,
        probes=(*_edit_probes(row, request, template), *_locality_probes(row)),
        group=row.optional_text("Category") or "",
        entity=row.text("image"),
    )
    return [case]


def _edit_probes(row: Fields, request: EditRequest, template: str) -> Iterator[Probe]:
    yield Probe(ProbeKind.RELIABILITY, request.image, request.prompt, request.target)
    for rephrase in row.texts("rephrase"):
        yield Probe(ProbeKind.TEXT_GENERALITY, request.image, template.format(rephrase), request.target)


def _locality_probes(row: Fields) -> Iterator[Probe]:
    if row.filled("locality_prompt"):
        prompt, answer = plain_question(row, "locality_prompt"), row.optional_text("locality_ground_truth")
        yield Probe(ProbeKind.TEXT_LOCALITY, None, prompt, answer)
    if row.filled("multimodal_locality_image") or row.filled("multimodal_locality_prompt"):
        image, prompt = row.image("multimodal_locality_image"), row.text("multimodal_locality_prompt")
        answer = row.optional_text("multimodal_locality_ground_truth")
        yield Probe(ProbeKind.IMAGE_LOCALITY, image, prompt, answer)
