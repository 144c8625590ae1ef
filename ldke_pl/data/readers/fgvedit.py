"""FGVEdit (arXiv 2411.12790): questions about other things in the picture that an edit is about.

There is no official release: the keys are those of a public re-implementation's loader.
"""

from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import parse_probes, parse_request
from ldke_pl.data.records import EditCase, Probe, ProbeKind

_KEYS = (
    "src", "alt", "rephrase", "image", "fg_gen_q", "fg_gen_a", "loc", "loc_ans", "fg_loc_q", "fg_loc_a",
)  # fmt: skip
_FINE_GRAINED = {"fg_gen": ProbeKind.FINEGRAINED_GENERALITY, "fg_loc": ProbeKind.FINEGRAINED_LOCALITY}


def read_fgvedit(path: Path, root: Path | None) -> ParsedFile:
    """Read an FGVEdit file; both fine-grained questions show the edit's own picture, by which cases are grouped."""
    return parse_rows("fgvedit", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    row.require(_KEYS)
    request = parse_request(row)
    asked = [
        Probe(kind, request.image, row.text(f"{key}_q"), row.text(f"{key}_a"))
        for key, kind in _FINE_GRAINED.items()
        if row.filled(f"{key}_q") or row.filled(f"{key}_a")
    ]
    case = EditCase(
        case_id=case_id,
        request=request,
        probes=(*parse_probes(row, request), *asked),
        entity=row.text("image"),
        old_answer=row.optional_text("pred") or "",
    )
    return [case]
