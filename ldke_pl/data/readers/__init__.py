"""Readers of annotation files: one file per published format, one dict of them.

``read_cases("vlkeb", Path("eval.json"), Path("VLKEB_images"))`` gives typed cases or one error that names every
row at fault; :func:`parse_cases` gives the good cases and the problems side by side.
"""

from itertools import islice
from pathlib import Path

from ldke_pl.data.readers.atlas import read_atlas
from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.data.readers.missing import MAX_LISTED, MISSING_IMAGES, apply_missing_images, case_images
from ldke_pl.data.readers.mmedit import read_mmedit
from ldke_pl.data.readers.parse import ParsedFile, Problem, Reader
from ldke_pl.data.readers.shards import read_shards
from ldke_pl.data.readers.vlkeb import read_vlkeb
from ldke_pl.data.records import EditCase
from ldke_pl.errors import ConfigError, DataError

READERS: dict[str, Reader] = {"mmedit": read_mmedit, "vlkeb": read_vlkeb, "atlas": read_atlas, "shards": read_shards}

__all__ = ["MISSING_IMAGES", "READERS", "ParsedFile", "Problem", "Reader", "case_images", "parse_cases", "read_cases"]


def parse_cases(format: str, path: Path, root: Path | None = None) -> ParsedFile:
    """Parse an annotation file without judging it: cases of the good rows, problems of the others.

    Args:
        format: a key of ``READERS``.
        path: the annotation file; for "shards" the folder.
        root: the folder that image paths are relative to; None keeps them relative. Files are not looked up.

    Raises:
        ConfigError: unknown format.
        DataError: the file cannot be read as a list of rows at all.
    """
    if format not in READERS:
        raise ConfigError(f'Unknown data format "{format}".', did_you_mean(format, READERS))
    return READERS[format](path, root)


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
    n_rows = len({problem.row for problem in problems})
    lines = [f"{n_rows} of {parsed.n_rows} rows of {path} cannot be read ({len(problems)} problems):"]
    lines += [f"  {problem}" for problem in islice(problems, MAX_LISTED)]
    if len(problems) > MAX_LISTED:
        lines.append(f"  ... and {len(problems) - MAX_LISTED} more problems.")
    return DataError("\n".join(lines), "Correct or remove these rows; data/README.md describes the format.")
