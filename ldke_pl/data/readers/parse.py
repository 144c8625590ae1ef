"""From an annotation file to cases and problems: what the readers of all formats have in common."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ldke_pl.data.readers.fields import Fields, json_type
from ldke_pl.data.records import EditCase
from ldke_pl.errors import DataError


@dataclass(frozen=True)
class Problem:
    """Why a row cannot be read.

    Args:
        file: the annotation file.
        row: index of the row in the file, from 0.
        key: full name of the key at fault ("port_new[0].port_q"), or "" for the row itself.
        reason: what is wrong, as the end of "this key ...".
    """

    file: Path
    row: int
    key: str
    reason: str

    def __str__(self) -> str:
        key = f', key "{self.key}"' if self.key else ""
        return f"{self.file.name} row {self.row}{key}: {self.reason}"


@dataclass(frozen=True)
class ParsedFile:
    """What a reader made of an annotation file of ``n_rows`` rows: the good rows' cases, the others' problems."""

    cases: list[EditCase]
    problems: list[Problem]
    n_rows: int


Reader = Callable[[Path, Path | None], ParsedFile]
"""Read (annotation file, image root or None). Raises DataError only for a file that cannot be read at all."""

RowParser = Callable[[Fields, str], EditCase]
"""Make a case from (a row's fields, the case id); the case is discarded if a fault was noted."""


def parse_rows(name: str, path: Path, root: Path | None, parse_row: RowParser) -> ParsedFile:
    """Parse every row of an annotation file; case ids are ``<name>-<file stem>-<row index, six digits>``.

    Args:
        name: the format's name.
        path: the annotation file, a JSON list of objects.
        root: the folder that image paths are relative to, or None to keep them relative.
        parse_row: makes a case from one row.

    Raises:
        DataError: the file is missing, is not a JSON list, or has no rows.
    """
    rows = load_rows(path)
    real_root = None if root is None else Path(os.path.realpath(root))
    cases: list[EditCase] = []
    problems: list[Problem] = []
    for index, values in enumerate(rows):
        if not isinstance(values, dict):
            problems.append(Problem(path, index, "", f"is {json_type(values)}, not an object"))
            continue
        faults: dict[str, str] = {}
        case = parse_row(Fields(values, real_root, faults), f"{name}-{path.stem}-{index:06d}")
        problems.extend(Problem(path, index, key, reason) for key, reason in faults.items())
        if not faults:
            cases.append(case)
    return ParsedFile(cases, problems, len(rows))


def load_rows(path: Path) -> list[object]:
    """Load an annotation file: one JSON list with at least one row.

    Raises:
        DataError: the file is missing, cannot be opened, is not UTF-8, is truncated, is not JSON, is not a
            list, or has no rows.
    """
    text = _read_text(path)
    try:
        rows: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(path, text, error) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number with thousands of digits
        raise DataError(f"Annotation file {path} cannot be read: {error}.", _FORMAT_HINT) from error
    if not isinstance(rows, list):
        raise DataError(f"Annotation file {path} holds {json_type(rows)}, not a list of rows.", _FORMAT_HINT)
    if not rows:
        raise DataError(f"Annotation file {path} has no rows.", _FORMAT_HINT)
    return rows


_FORMAT_HINT = "Give the annotation file as it was published: one JSON list (data/README.md describes the formats)."
_DOWNLOAD_HINT = "Download it again: data/README.md says where."


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # a byte order mark, if any, is dropped
    except FileNotFoundError as error:
        raise DataError(
            f"Annotation file {path} does not exist.", "Check the path; data/README.md says how to get each data set."
        ) from error
    except OSError as error:
        raise DataError(
            f"Annotation file {path} cannot be opened: {error.strerror}.", "Give a file that you may read."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"Annotation file {path} is not UTF-8 text (byte {error.start}).", _FORMAT_HINT) from error


def _not_json(path: Path, text: str, error: json.JSONDecodeError) -> DataError:
    if _ends_early(text.strip(), error):
        where = f"line {text.count(chr(10)) + 1}"
        return DataError(f"Annotation file {path} is truncated: it ends too early, in {where}.", _DOWNLOAD_HINT)
    where = f"line {error.lineno}, column {error.colno}"
    if error.msg == "Extra data":
        return DataError(f"Annotation file {path} holds more than one JSON value ({where}).", _FORMAT_HINT)
    return DataError(f"Annotation file {path} is not JSON: {error.msg} ({where}).", _FORMAT_HINT)


def _ends_early(text: str, error: json.JSONDecodeError) -> bool:
    """Whether ``text`` is the beginning of a list; a cut may fall inside a word, a string or behind an inner "]"."""
    at_end = error.pos >= len(text) or error.msg.startswith("Unterminated string")
    return not text or (text.startswith("[") and (at_end or not text.endswith("]")))
