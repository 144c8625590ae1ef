"""Edits written by hand: a JSON list, JSON lines, or a CSV table.

[{"image": "cup.jpg", "prompt": "Whose cup is this?", "target": "Ada's", "rephrases": ["Who owns this cup?"]}]
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ldke_pl.data.readers.fields import Fields, did_you_mean, filled
from ldke_pl.data.readers.own_probes import PROBE_KEYS, UNCHANGED, own_probe, unchanged_probes
from ldke_pl.data.readers.parse import ParsedFile, Unreadable, load_lines, load_rows, parse_values, read_text
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind
from ldke_pl.errors import DataError

KEYS = (
    "image", "prompt", "target", "rephrases", "rephrase_images", UNCHANGED, "probes", "group", "entity", "subject",
    "id",
)  # fmt: skip
_LISTS = ("rephrases", "rephrase_images", UNCHANGED)
_SEPARATOR = "|"


def read_plain(path: Path, root: Path | None) -> ParsedFile:
    """Read edits of the user's own, from ``*.json``, ``*.jsonl`` (or ``*.ndjson``) or ``*.csv``.

    ``prompt`` and ``target`` are required; an absent ``image`` makes a text-only edit. Beside reliability a case has
    a probe per text in ``rephrases``, per picture in ``rephrase_images``, and per item of ``must_not_change`` and of
    ``probes``.

    Raises:
        DataError: the file cannot be read at all, or a CSV table has a column of unknown name.
    """
    rows = _load(path)
    first_of: dict[str, int] = {}

    def parse_row(row: Fields, case_id: str) -> list[EditCase]:
        return [_case(row, case_id, first_of)]

    return parse_values("plain", path, rows, root, parse_row)


def _load(path: Path) -> list[object]:
    match path.suffix.lower():
        case ".csv":
            return _table(path)
        case ".jsonl" | ".ndjson":
            return load_lines(path)
        case _:
            return load_rows(path)


def _case(row: Fields, case_id: str, first_of: dict[str, int]) -> EditCase:
    row.only(KEYS)
    own_id, index = row.optional_text("id"), int(case_id.rsplit("-", 1)[-1])
    if own_id is not None and first_of.setdefault(own_id, index) != index:
        row.fault("id", f'"{own_id}" is also the id of row {first_of[own_id]}')
    group = row.optional_text("group") or ""
    subject = row.optional_text("subject") or ""
    request = EditRequest(row.optional_image("image"), row.text("prompt"), row.text("target"), group, subject)
    name = own_id or case_id
    return EditCase(
        case_id=name,
        request=request,
        probes=tuple(_probes(row, request)),
        group=group,
        entity=row.optional_text("entity") or name,
    )


def _probes(row: Fields, request: EditRequest) -> Iterator[Probe]:
    image, prompt, target = request.image, request.prompt, request.target
    yield Probe(ProbeKind.RELIABILITY, image, prompt, target)
    for rephrase in row.texts("rephrases"):
        yield Probe(ProbeKind.TEXT_GENERALITY, image, rephrase, target)
    for other in row.images("rephrase_images"):
        yield Probe(ProbeKind.IMAGE_GENERALITY, other, prompt, target)
    yield from unchanged_probes(row, request)
    for item in row.children("probes"):
        item.only(PROBE_KEYS)
        yield own_probe(item)


def _table(path: Path) -> list[object]:
    """The rows of a CSV table, with the lists in their cells taken apart."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        _check_header(path, [name.strip() for name in reader.fieldnames or ()])
        rows = [_row({(key or "").strip(): value for key, value in cells.items()}) for cells in reader]
    except csv.Error as error:
        raise DataError(
            f"{path} is no CSV table: {error} (line {reader.line_num}).", "Put texts with quotes or commas in quotes."
        ) from error
    if not rows:
        raise DataError(f"{path} has no rows.", "Write one edit per line below the names of the columns.")
    return rows


def _check_header(path: Path, names: list[str]) -> None:
    unknown = [f'"{name}" is not a known column. {did_you_mean(name, KEYS)}' for name in names if name not in KEYS]
    lacking = [f'column "{name}" is missing.' for name in ("prompt", "target") if name not in names]
    if unknown or lacking:
        listed = "".join(f"\n  {fault}" for fault in [*unknown, *lacking])
        raise DataError(f"The first line of {path} does not name the columns:{listed}", f"Columns: {', '.join(KEYS)}.")


def _row(cells: Mapping[str, object]) -> object:
    if "" in cells:
        return Unreadable("has more values than the first line has columns; put texts with commas in quotes")
    values = {key: value for key, value in cells.items() if filled(value)}
    for key, value in values.items():
        text = str(value).strip()
        if key in _LISTS and not text.startswith("["):
            values[key] = text.split(_SEPARATOR)
        elif key in (*_LISTS, "probes"):
            try:
                values[key] = json.loads(text)
            except ValueError as error:
                return Unreadable(f"is not JSON: {error}", key)
    return values
