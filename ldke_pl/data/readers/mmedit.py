"""MMEdit: E-VQA and E-IC (arXiv 2310.08475)."""

from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import parse_probes, parse_request, require_published
from ldke_pl.data.records import EditCase


def read_mmedit(path: Path, root: Path | None) -> ParsedFile:
    """Read ``vqa_*.json`` or ``caption_*_edit.json``; a case's entity is its image, which many rows share."""
    return parse_rows("mmedit", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    require_published(row)
    request = parse_request(row)
    case = EditCase(
        case_id=case_id,
        request=request,
        probes=parse_probes(row, request),
        entity=row.text("image"),
        old_answer=row.optional_text("pred") or "",
    )
    return [case]
