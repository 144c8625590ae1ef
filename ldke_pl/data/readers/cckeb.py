"""CCKEB (MemEIC, arXiv 2510.25798): an edit of what a VLKEB picture shows, paired with a textual edit about it."""

from collections.abc import Iterator
from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import (
    edit_probes,
    locality_probes,
    parse_request,
    portability_probe,
    require_published,
)
from ldke_pl.data.readers.vlkeb import freebase_id
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind

_COMPOSITION = "comp"
"""The ``port_type`` of a question that takes both edits of a row to answer."""


def read_cckeb(path: Path, root: Path | None) -> ParsedFile:
    """Read a CCKEB file: two cases per row, of groups "visual" and "textual", about one Freebase id.

    The textual edit's case id ends in "-textual". A question of ``port_type`` "comp" is the visual edit's, and must
    get the textual edit's answer: it can only be answered where both edits are in force.
    """
    return parse_rows("cckeb", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    require_published(row)
    request, entity, textual = parse_request(row), freebase_id(row), row.child("textual_edit")
    told = _joined(textual, "alt") if textual else ""
    visual = EditCase(
        case_id=case_id,
        request=request,
        probes=(*edit_probes(row, request), *locality_probes(row), *_portability(row, request, told)),
        group="visual",
        entity=entity,
        old_answer=(row.optional_text("pred") or "").replace("_", " "),
    )
    return [visual, _textual(textual, f"{case_id}-textual", entity, told)] if textual else [visual]


def _textual(row: Fields, case_id: str, entity: str, target: str) -> EditCase:
    row.require(("src", "alt"))
    request = EditRequest(None, row.text("src"), target)
    return EditCase(
        case_id=case_id,
        request=request,
        probes=(*edit_probes(row, request), *locality_probes(row)),
        group="textual",
        entity=entity,
        old_answer=_joined(row, "pred"),
    )


def _joined(row: Fields, key: str) -> str:
    """A textual edit's answer, which is a list of the texts that make it up."""
    text = " ".join(row.texts(key))
    if not text and key == "alt" and row.has(key):
        row.fault(key, "is empty")
    return text


def _portability(row: Fields, request: EditRequest, told: str) -> Iterator[Probe]:
    for item in row.children("port_new"):
        if item.optional_text("port_type") != _COMPOSITION:
            yield portability_probe(item, request.image)
            continue
        item.require(("Q&A",))
        pair = item.child("Q&A")
        if pair is not None:
            answer = told or pair.text("Answer")
            yield Probe(ProbeKind.PORTABILITY_1, request.image, pair.text("Question"), answer, relation=_COMPOSITION)
