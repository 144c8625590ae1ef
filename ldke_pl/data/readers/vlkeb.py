"""VLKEB: ``eval.json``, ``eval_edit_onehop.json``, ``eval_multihop.json``, ``train.json`` (arXiv 2403.07350)."""

from pathlib import Path, PurePosixPath

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import PUBLISHED_KEYS, parse_probes, parse_request
from ldke_pl.data.records import EditCase


def read_vlkeb(path: Path, root: Path | None) -> ParsedFile:
    """Read a VLKEB file; a case's entity is the Freebase id that names its image's folder ("m.010bnr")."""
    return parse_rows("vlkeb", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> EditCase:
    row.require(PUBLISHED_KEYS)
    request = parse_request(row)
    image = PurePosixPath(row.text("image"))
    return EditCase(
        case_id=case_id,
        request=request,
        probes=parse_probes(row, request),
        entity=image.parent.name or image.name,
        old_answer=row.text("pred", empty_ok=True).replace("_", " "),
    )
