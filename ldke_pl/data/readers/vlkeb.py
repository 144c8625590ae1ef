"""VLKEB: ``eval.json``, ``eval_edit_onehop.json``, ``eval_multihop.json``, ``train.json`` (arXiv 2403.07350)."""

from pathlib import Path, PurePosixPath

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import parse_probes, parse_request, require_published
from ldke_pl.data.records import EditCase


def read_vlkeb(path: Path, root: Path | None) -> ParsedFile:
    """Read a VLKEB file; a case's entity is the Freebase id that names its image's folder ("m.010bnr")."""
    return parse_rows("vlkeb", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    require_published(row)
    request = parse_request(row)
    case = EditCase(
        case_id=case_id,
        request=request,
        probes=parse_probes(row, request),
        entity=freebase_id(row),
        old_answer=(row.optional_text("pred") or "").replace("_", " "),
    )
    return [case]


def freebase_id(row: Fields) -> str:
    """What a row over VLKEB's images is about: the folder of ``image``, or the file where it is in none."""
    image = PurePosixPath(row.text("image"))
    return image.parent.name or image.name
