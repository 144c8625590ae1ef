"""MMKE-Bench (arXiv 2502.19870): ``{entity,visual,user}_{train,eval}.json``."""

import re
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
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind

_ONE_HOP_IMAGE = ("visual_knowledge", "user_specific")
"""The knowledge types whose portability question shows ``one_hop_img``."""

_NUMBERED = re.compile(r"(m_)?rel_\d+")
_COPY = re.compile(r"(\+\d+)?(\.\w+)?$")


def read_mmke(path: Path, root: Path | None) -> ParsedFile:
    """Read an MMKE-Bench file; a case's group is its ``knowledge_type``.

    The target is a description; ``rel`` (text only) and ``m_rel`` (picture shown, then the rephrase picture) ask
    what follows from it, and so does ``port_new``: all are portability of one hop, told apart by their relation.
    A case's entity is the name of its picture, of which there are several ("Spider-Man+2.jpg").
    """
    return parse_rows("mmke", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    require_published(row)
    request, group = parse_request(row), row.text("knowledge_type")
    case = EditCase(
        case_id=case_id,
        request=request,
        probes=(
            *edit_probes(row, request),
            *locality_probes(row),
            *_related(row, request),
            *_portability(row, request, group),
        ),
        group=group,
        entity=_COPY.sub("", row.text("image"), count=1),
        old_answer=row.optional_text("pred") or "",
    )
    return [case]


def _related(row: Fields, request: EditRequest) -> Iterator[Probe]:
    """The probes of ``rel``, ``m_rel``, ``rel_1``, ...: text only, the edit's picture, the rephrase picture."""
    kind = ProbeKind.PORTABILITY_1
    for key in ("rel", "m_rel", *sorted(key for key in row.keys if _NUMBERED.fullmatch(key))):
        if not row.filled(key):
            continue
        prompt, answer = row.text(key), row.text(_answer_key(row, key))
        if not key.startswith("m_"):
            yield Probe(kind, None, prompt, answer, relation="rel")
            continue
        yield Probe(kind, request.image, prompt, answer, relation="m_rel")
        if key == "m_rel":
            prompt = row.optional_text("image_rephrase_question") or prompt
        for other in row.images("image_rephrase"):
            yield Probe(kind, other, prompt, answer, relation="m_rel_rephrase")


def _answer_key(row: Fields, key: str) -> str:
    """Where the answer to ``rel_1`` is: both ``rel_ans_1`` and ``rel_1_ans`` occur."""
    spelled = key.replace("rel", "rel_ans")
    return f"{key}_ans" if row.has(f"{key}_ans") and not row.has(spelled) else spelled


def _portability(row: Fields, request: EditRequest, group: str) -> Iterator[Probe]:
    for item in row.children("port_new"):
        # Another picture of the same thing; asking about the edit's own would be another test.
        image = row.image("one_hop_img") if group in _ONE_HOP_IMAGE else request.image
        probe = portability_probe(item, image)
        yield Probe(probe.kind, probe.image, probe.prompt, probe.expected, relation="port_new")
