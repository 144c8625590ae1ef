"""Cases of a configuration: an annotation file, or Atlas, which is written on first use."""

import logging
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from ldke_pl.atlas.cases import build
from ldke_pl.atlas.world import SPLITS
from ldke_pl.backbone.load import ATLAS_FOLDER
from ldke_pl.config import DataConfig
from ldke_pl.data import (
    EditCase,
    clean_evaluation,
    clean_training,
    find_annotations,
    image_key,
    load_image,
    parse_cases,
    read_cases,
)
from ldke_pl.errors import ConfigError, DataError

log = logging.getLogger(__name__)

ATLAS_WORLD = ATLAS_FOLDER / "world"
"""Where Atlas' annotation files and pictures are written."""

VALIDATION = "router-val"
"""The split that what was trained is validated on."""


def load_cases(config: DataConfig, split: str | None = None) -> list[EditCase]:
    """The cases that ``config`` names, with ``config.deleak`` without what occurs in the other file that it names.

    Args:
        split: another split than ``config.split``.

    Raises:
        ConfigError: there is no such split, or no path is given.
        DataError: the file or a row of it cannot be read, or a picture is missing.
    """
    split = split or config.split
    if config.format == "atlas" and config.path is None:
        if split not in SPLITS:
            raise ConfigError(f"Atlas has no split {split!r}.", f"choose one of {', '.join(SPLITS)}")
        root: Path | None = Path(config.root or ATLAS_WORLD)
        path = _built(Path(config.root or ATLAS_WORLD), split)
    else:
        root = Path(config.root) if config.root else None
        path = Path(config.path) if config.path else find_annotations(root or Path(), split)
        if config.format == "plain" and root is None:
            root = path.absolute().parent
    cases = read_cases(config.format, path, root, limit=config.limit, missing_images=config.missing_images)
    if not cases:
        raise DataError(f"{path} holds no case to edit.", "choose another file or a larger data.limit")
    return _deleaked(cases, config, root) if config.deleak else cases


def load_distractors(config: DataConfig) -> list[EditCase]:
    """Cases of the splits or files that ``config.distractors`` names, for their edits alone.

    Raises:
        ConfigError: Atlas has no such split.
        DataError: a file or a row of it cannot be read, or a picture is missing.
    """
    whole = replace(config, deleak=False, limit=None)
    atlas = config.format == "atlas" and config.path is None
    found: list[EditCase] = []
    for name in config.distractors:
        found += load_cases(whole, name) if atlas else load_cases(replace(whole, path=name))
    return found


def _deleaked(cases: list[EditCase], config: DataConfig, root: Path | None) -> list[EditCase]:
    """Evaluation cases without what ``config.train`` holds, or training cases without what ``config.eval`` holds."""
    clean, name = (clean_training, config.eval) if config.train is None else (clean_evaluation, config.train)
    other = parse_cases(config.format, Path(name or ""), root)
    if other.problems:
        log.warning("%d problems in %s: rows that cannot be read are not compared", len(other.problems), name)
    kept = clean(cases, other.cases)
    probes = sum(len(case.probes) for case in kept)
    before = sum(len(case.probes) for case in cases)
    log.warning(
        "data.deleak: %d of %d cases and %d of %d probes left out, which %s holds too",
        len(cases) - len(kept), len(cases), before - probes, before, name,
    )  # fmt: skip
    if not kept:
        raise DataError(f"Every case also occurs in {name}.", "set data.deleak=false, or compare with another file")
    return kept


def _built(root: Path, split: str) -> Path:
    try:
        return build(root, split)
    except OSError as fault:
        raise DataError(f"Atlas cannot be written to {root}: {fault}", "set data.root to a folder") from fault


def sampled(cases: Sequence[EditCase], per_group: int | None) -> list[EditCase]:
    """The first ``per_group`` cases of every group, in order; all for None."""
    seen: Counter[str] = Counter()
    kept = []
    for case in cases:
        seen[case.group] += 1
        if per_group is None or seen[case.group] <= per_group:
            kept.append(case)
    return kept


def training_and_validation(config: DataConfig, seed: int) -> tuple[list[EditCase], list[EditCase]]:
    """Cases to train on and cases to validate on, about different things.

    Atlas, and sets with a file for it, have a split of their own for the latter; from one annotation file, every fifth
    entity is held out.
    """
    if config.path is None:
        return load_cases(config), load_cases(config, VALIDATION)
    return held_out_entities(load_cases(config), seed)


def held_out_entities(
    cases: Sequence[EditCase], seed: int, share: float = 0.2
) -> tuple[list[EditCase], list[EditCase]]:
    """The cases about most entities, and those about the others: a ``share`` of the entities, at least one.

    Raises:
        DataError: all cases are about one entity.
    """
    entities = sorted({case.entity for case in cases})
    if len(entities) < 2:
        raise DataError("All training cases are about one entity.", "give a file about more, to calibrate on some")
    chosen = {*random.Random(seed).sample(entities, max(1, round(share * len(entities))))}
    return [c for c in cases if c.entity not in chosen], [c for c in cases if c.entity in chosen]


def check_images(cases: Sequence[EditCase]) -> None:
    """Read every picture of edits and probes before the first edit is made, so that a bad one costs nothing.

    Raises:
        DataError: a picture is missing, truncated or no image; names case and path.
    """
    read: set[Hashable] = set()
    for case in cases:
        images = [case.request.image, *(p.image for p in case.probes)]
        images += [p.ceiling.image for p in case.probes if p.ceiling is not None]
        for image in images:
            if image is not None and image_key(image) not in read:
                load_image(image, case_id=case.case_id)
                read.add(image_key(image))
