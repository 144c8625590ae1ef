"""Which cases name image files that are not there, and what to do about them."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ldke_pl.data.records import EditCase
from ldke_pl.errors import DataError

MISSING_IMAGES = ("error", "skip")
"""What to do about pictures that are not there: stop with a list, or leave their cases out."""

MAX_LISTED = 20
"""How many files or rows an error lists before it only counts."""

_HINT = "Check the image root, download the images (data/README.md), or drop these cases with data.missing_images=skip."

logger = logging.getLogger(__name__)


def case_images(case: EditCase) -> Iterator[Path]:
    """The paths of a case's pictures, in order, repeats included: its own, its probes', their ceilings'."""
    sources = [case.request.image]
    for probe in case.probes:
        sources += [probe.image, probe.ceiling.image if probe.ceiling else None]
    return (Path(source) for source in sources if isinstance(source, str | Path))


def check_root(root: Path) -> None:
    """Raise a DataError where the image root is no folder."""
    if not root.is_dir():
        raise DataError(f"Image root {root} is not a folder.", "Give the folder that the image paths are relative to.")


def apply_missing_images(cases: list[EditCase], root: Path, policy: str, limit: int | None = None) -> list[EditCase]:
    """The first ``limit`` cases whose pictures may be used.

    Args:
        cases: cases whose image paths are joined to ``root``.
        root: the image root.
        policy: one of ``MISSING_IMAGES``; "error" takes the first ``limit`` cases and insists on all of their
            pictures; "skip" leaves out cases that lack a picture, and logs how many.
        limit: how many cases to return at most; None for all.

    Raises:
        DataError: ``root`` is not a folder, pictures are missing under "error", or "skip" leaves no case.
    """
    check_root(root)
    known: dict[Path, bool] = {}
    if policy == "skip":
        return _skip(cases, root, limit, known)
    kept = cases[:limit]
    missing = {case.case_id: _missing(case, known) for case in kept}
    if any(missing.values()):
        raise DataError(_describe(missing, root), _HINT)
    return kept


def _skip(cases: list[EditCase], root: Path, limit: int | None, known: dict[Path, bool]) -> list[EditCase]:
    dropped = 0

    def complete() -> Iterator[EditCase]:
        nonlocal dropped
        for case in cases:
            if _missing(case, known):
                dropped += 1
            else:
                yield case

    kept = list(islice(complete(), limit))
    if not kept:
        raise DataError(f"Every one of the {len(cases)} cases lacks an image under {root}.", _HINT)
    if dropped:
        logger.warning("%d of %d cases dropped: they lack an image under %s", dropped, dropped + len(kept), root)
    return kept


def _missing(case: EditCase, known: dict[Path, bool]) -> list[Path]:
    """The distinct missing files of a case; ``known`` remembers what was looked up (locality images repeat)."""
    paths = dict.fromkeys(case_images(case))
    for path in paths:
        if path not in known:
            known[path] = not is_missing(path)
    return [path for path in paths if not known[path]]


def is_missing(path: Path) -> bool:
    """Whether there is no such file that could be opened."""
    try:
        return not path.is_file()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return True


def _describe(missing: dict[str, list[Path]], root: Path) -> str:
    users: dict[Path, list[str]] = {}
    for case_id, paths in missing.items():
        for path in paths:
            users.setdefault(path, []).append(case_id)
    n_cases = sum(bool(paths) for paths in missing.values())
    lines = [f"{len(users)} image files are missing under {root}, named by {n_cases} of {len(missing)} cases:"]
    for path, case_ids in islice(users.items(), MAX_LISTED):
        more = f" and {len(case_ids) - 1} more cases" if len(case_ids) > 1 else ""
        lines.append(f"  {path} (case {case_ids[0]}{more})")
    if len(users) > MAX_LISTED:
        lines.append(f"  ... and {len(users) - MAX_LISTED} more files.")
    return "\n".join(lines)
