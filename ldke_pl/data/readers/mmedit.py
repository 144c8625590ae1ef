"""MMEdit: E-VQA and E-IC (arXiv 2310.08475)."""

from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import PUBLISHED_KEYS, parse_probes, parse_request
from ldke_pl.data.records import EditCase


def read_mmedit(path: Path, root: Path | None) -> ParsedFile:
    """Read ``vqa_*.json`` or ``caption_*_edit.json``; a case's entity is its image, which many rows share."""
    return parse_rows("mmedit", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> EditCase:
    row.require(PUBLISHED_KEYS)
    request = parse_request(row)
    return EditCase(
        case_id=case_id,
        request=request,
        probes=parse_probes(row, request),
        entity=row.text("image"),
        old_answer=row.text("pred", empty_ok=True),
    )
