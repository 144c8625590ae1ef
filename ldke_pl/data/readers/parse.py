"""From an annotation file to cases and problems: what the readers of all formats have in common."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Unreadable:
    """In place of a row of which nothing can be read: the ``reason`` why, and the ``key`` or column, "" for none."""

    reason: str
    key: str = ""


RowParser = Callable[[Fields, str], Sequence[EditCase]]
"""Make cases, of most formats one, from (a row's fields, the case id); they are discarded if a fault was noted."""


def parse_rows(name: str, path: Path, root: Path | None, parse_row: RowParser) -> ParsedFile:
    """Parse every row of an annotation file that is one JSON list of objects; see :func:`parse_values`.

    Raises:
        DataError: the file is missing, is not a JSON list, or has no rows.
    """
    return parse_values(name, path, load_rows(path), root, parse_row)


def parse_values(name: str, path: Path, rows: Sequence[object], root: Path | None, parse_row: RowParser) -> ParsedFile:
    """Parse rows; case ids are ``<name>-<file stem>-<row index, six digits>``.

    Args:
        name: the format's name.
        path: the file that the rows are from, which problems name.
        rows: a JSON object each; anything else is a problem.
        root: the folder that image paths are relative to, or None to keep them relative.
        parse_row: makes the cases of one row.
    """
    real_root = None if root is None else Path(os.path.realpath(root))
    cases: list[EditCase] = []
    problems: list[Problem] = []
    for index, values in enumerate(rows):
        if isinstance(values, Unreadable):
            problems.append(Problem(path, index, values.key, values.reason))
            continue
        if not isinstance(values, dict):
            problems.append(Problem(path, index, "", f"is {json_type(values)}, not an object"))
            continue
        faults: dict[str, str] = {}
        made = parse_row(Fields(values, real_root, faults), f"{name}-{path.stem}-{index:06d}")
        problems.extend(Problem(path, index, key, reason) for key, reason in faults.items())
        if not faults:
            cases.extend(made)
    return ParsedFile(cases, problems, len(rows))


def without_contradictions(cases: Sequence[EditCase]) -> list[EditCase]:
    """The cases, of which none is in the joint set that gives a request of an earlier one another target."""
    targets: dict[tuple[object, str], str] = {}
    marked = []
    for case in cases:
        request = case.request
        joint = case.joint and targets.get((request.image, request.prompt), request.target) == request.target
        if joint:
            targets[request.image, request.prompt] = request.target
        marked.append(case if joint == case.joint else replace(case, joint=joint))
    return marked


def load_rows(path: Path) -> list[object]:
    """Load an annotation file: one JSON list with at least one row.

    Raises:
        DataError: as :func:`load_json`; or the file is not a list, or has no rows.
    """
    rows = load_json(path)
    if not isinstance(rows, list):
        raise DataError(f"Annotation file {path} holds {json_type(rows)}, not a list of rows.", _FORMAT_HINT)
    if not rows:
        raise DataError(f"Annotation file {path} has no rows.", _FORMAT_HINT)
    return rows


def load_json(path: Path) -> object:
    """Load a file that holds one JSON value.

    Raises:
        DataError: the file is missing, cannot be opened, is not UTF-8, is truncated, or is not JSON.
    """
    text = read_text(path)
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(path, text, error) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number with thousands of digits
        raise DataError(f"Annotation file {path} cannot be read: {error}.", _FORMAT_HINT) from error
    return value


def load_lines(path: Path) -> list[object]:
    """Load an annotation file of one JSON value per line; blank lines are no rows, and a bad line is Unreadable.

    Raises:
        DataError: the file is missing, cannot be opened, is not UTF-8, or has no rows.
    """
    rows = [_line(line) for line in read_text(path).split("\n") if line.strip()]
    if not rows:
        raise DataError(f"Annotation file {path} has no rows.", _FORMAT_HINT)
    return rows


def _line(line: str) -> object:
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError as error:
        return Unreadable(f"is not JSON: {error.msg} (column {error.colno})")
    except (RecursionError, ValueError) as error:
        return Unreadable(f"cannot be read: {error}")
    return value


_FORMAT_HINT = "Give the annotation file as it was published; data/README.md describes the formats."
_DOWNLOAD_HINT = "Download it again: data/README.md says where."


def read_text(path: Path) -> str:
    """The text of an annotation file.

    Raises:
        DataError: the file is missing, cannot be opened, or is not UTF-8.
    """
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
    """Whether ``text`` begins a list or an object; a cut may fall inside a word, a string or behind an inner "]"."""
    close = {"[": "]", "{": "}"}.get(text[:1])
    at_end = error.pos >= len(text) or error.msg.startswith("Unterminated string")
    return not text or (close is not None and (at_end or not text.endswith(close)))
