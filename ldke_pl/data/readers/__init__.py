"""Readers of annotation files: one file per published format, one dict of them.

``read_cases("vlkeb", Path("eval.json"), Path("VLKEB_images"))`` gives typed cases or one error that names every
row at fault; :func:`parse_cases` gives the good cases and the problems side by side.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from ldke_pl.config import named
from ldke_pl.data.readers.atlas import read_atlas
from ldke_pl.data.readers.cckeb import read_cckeb
from ldke_pl.data.readers.comprehendedit import read_comprehendedit
from ldke_pl.data.readers.fgvedit import read_fgvedit
from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.data.readers.mcmke import read_mcmke
from ldke_pl.data.readers.missing import (
    MAX_LISTED,
    MISSING_IMAGES,
    apply_missing_images,
    case_images,
    check_root,
    is_missing,
)
from ldke_pl.data.readers.mmedit import read_mmedit
from ldke_pl.data.readers.mmke import read_mmke
from ldke_pl.data.readers.okedit import read_okedit
from ldke_pl.data.readers.parse import ParsedFile, Problem, Reader, without_contradictions
from ldke_pl.data.readers.plain import read_plain
from ldke_pl.data.readers.shards import read_shards
from ldke_pl.data.readers.vlkeb import read_vlkeb
from ldke_pl.data.records import EditCase
from ldke_pl.errors import ConfigError, DataError

READERS: dict[str, Reader] = {
    "mmedit": read_mmedit,
    "vlkeb": read_vlkeb,
    "mmke": read_mmke,
    "fgvedit": read_fgvedit,
    "comprehendedit": read_comprehendedit,
    "mcmke": read_mcmke,
    "okedit": read_okedit,
    "cckeb": read_cckeb,
    "plain": read_plain,
    "atlas": read_atlas,
    "shards": read_shards,
}

_SUFFIXES = (".json", ".jsonl", ".csv", "")

__all__ = [
    "MISSING_IMAGES",
    "READERS",
    "ParsedFile",
    "Problem",
    "Reader",
    "case_images",
    "check_root",
    "find_annotations",
    "is_missing",
    "parse_cases",
    "read_cases",
]


def find_annotations(root: Path, split: str) -> Path:
    """The annotation file of a split under the image root, or the folder of them: ``<split>.json`` where none is."""
    places = [root / f"{split}{suffix}" for suffix in _SUFFIXES]
    return next((place for place in places if place.exists()), places[0])


def parse_cases(format: str, path: Path, root: Path | None = None) -> ParsedFile:
    """Parse an annotation file without judging it: cases of the good rows, problems of the others.

    A case that gives the request of an earlier one another target is kept out of the joint set.

    Args:
        format: a key of ``READERS``, or the dotted path of a reader of one's own.
        path: the annotation file; for "shards" the folder.
        root: the folder that image paths are relative to; None keeps them relative. Files are not looked up.

    Raises:
        ConfigError: unknown format, or no such reader.
        DataError: the file cannot be read as a list of rows at all.
    """
    parsed = _reader(format)(path, root)
    return replace(parsed, cases=without_contradictions(parsed.cases))


def _reader(format: str) -> Reader:
    if format in READERS:
        return READERS[format]
    if "." not in format:
        raise ConfigError(f'Unknown data format "{format}".', did_you_mean(format, READERS))
    try:
        found: Reader = named(format)
    except (ImportError, AttributeError, ValueError) as fault:
        hint = "Give the dotted path of a function, or the name of a format."
        raise ConfigError(f'There is no reader "{format}" ({fault}).', hint) from fault
    return found


def read_cases(
    format: str,
    path: Path,
    root: Path | None,
    *,
    limit: int | None = None,
    missing_images: str = "error",
) -> list[EditCase]:
    """Read an annotation file into cases, in the order of its rows.

    Args:
        format: a key of ``READERS``.
        path: the annotation file.
        root: the folder that image paths are relative to; paths cannot leave it. None keeps the paths relative
            and looks up no file.
        limit: how many cases to return at most, at least 1; None for all. All rows are checked either way.
        missing_images: with a root, "error" insists on every image of the returned cases; "skip" leaves out
            cases that lack one, and logs how many.

    Raises:
        ConfigError: unknown format or ``missing_images``, or ``limit`` below 1.
        DataError: the file, any row, or (with "error") any image cannot be read; all rows at fault together.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit} leaves no case.", "Give a number of at least 1, or none for all cases.")
    if missing_images not in MISSING_IMAGES:
        hint = did_you_mean(missing_images, MISSING_IMAGES)
        raise ConfigError(f'missing_images="{missing_images}" is not a choice.', hint)
    parsed = parse_cases(format, path, root)
    if parsed.problems:
        raise _bad_rows(path, parsed)
    if root is None:
        return parsed.cases[:limit]
    return apply_missing_images(parsed.cases, root, missing_images, limit)


def _bad_rows(path: Path, parsed: ParsedFile) -> DataError:
    problems = parsed.problems
    n_rows = len({(problem.file, problem.row) for problem in problems})
    lines = [f"{n_rows} of {parsed.n_rows} rows of {path} cannot be read ({len(problems)} problems):"]
    lines += [f"  {problem}" for problem in islice(problems, MAX_LISTED)]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more problems.")
    return DataError("\n".join(lines), "Correct or remove these rows; data/README.md describes the format.")
