"""The commands of ``python -m ldke_pl.data``: what an annotation file holds, what two share, shards of one.

A command takes its arguments and returns its exit status. It prints one JSON object, and nothing else, on standard
output; an error goes to standard error and ends with status 2.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ldke_pl.config import CONF_DIR, FileConfig, load_config
from ldke_pl.data.leakage import find_leakage
from ldke_pl.data.readers import (
    ParsedFile,
    case_images,
    check_root,
    find_annotations,
    is_missing,
    parse_cases,
    read_cases,
)
from ldke_pl.data.records import EditCase, ProbeKind
from ldke_pl.errors import ConfigError

PROBLEMS = 1
"""Exit status of a file that was read, but not all of its rows."""

Command = Callable[[Sequence[str]], int]


def inspect(argv: Sequence[str]) -> int:
    """Print how many cases, probes by kind, pictures and problems an annotation file has.

    data.format and data.path name the file (or data.root and data.split, for a file of the usual name), data.root
    the folder that its image paths are relative to. "images" counts different paths; "missing" those of them that
    are not there, or null where data.root is not given and nothing is looked up. "problems" lists every row that
    cannot be read, with its key. data.limit restricts the counts to the first cases; the other keys change nothing.

    Exit status: 0; 1 where there are problems; 2 for a bad argument or a file that cannot be read at all.
    """
    config = _settings("inspect", argv).data
    root = Path(config.root) if config.root else None
    if config.path is None and root is None:
        raise ConfigError("data.path is not given.", "Name the annotation file, as in data.path=eval.json.")
    if root is not None:
        check_root(root)
    path = Path(config.path) if config.path else find_annotations(root or Path(), config.split)
    parsed = parse_cases(config.format, path, root)
    print(json.dumps(describe(config.format, parsed, parsed.cases[: config.limit], look=root is not None), indent=2))
    return PROBLEMS if parsed.problems else 0


def describe(format: str, parsed: ParsedFile, cases: Sequence[EditCase], *, look: bool) -> dict[str, Any]:
    """What ``inspect`` prints of ``cases``, those of a parsed file or the first of them.

    Args:
        look: whether to look up pictures, whose paths are then joined to a root.
    """
    probes = Counter(probe.kind for case in cases for probe in case.probes)
    images = {path for case in cases for path in case_images(case)}
    return {
        "format": format,
        "cases": len(cases),
        "probes": {kind.value: probes[kind] for kind in ProbeKind if kind in probes},
        "images": {"referenced": len(images), "missing": sum(map(is_missing, images)) if look else None},
        "problems": [{**asdict(problem), "file": str(problem.file)} for problem in parsed.problems],
    }


def leakage(argv: Sequence[str]) -> int:
    """Print what of the evaluation file data.eval also occurs in the training file data.train, both of data.format.

    Counts are {"shared", "of", "cases"}: different items of the evaluation file that occur in the training file, all
    different items, and the evaluation cases concerned. "questions" are pictures and prompts, by probe kind.
    data.deleak=true leaves these out of a run of train.py (with data.eval) or edit.py (with data.train).

    Exit status: 0; 1 where rows of either file cannot be read and were left aside; 2 as for inspect.
    """
    config = _settings("leakage", argv).data
    if config.train is None or config.eval is None:
        raise ConfigError("data.train and data.eval must both be given.", "Name the two annotation files to compare.")
    root = Path(config.root) if config.root else None
    train, evaluation = (parse_cases(config.format, Path(name), root) for name in (config.train, config.eval))
    found = asdict(find_leakage(train.cases, evaluation.cases))
    problems = len(train.problems) + len(evaluation.problems)
    cases = {"train": len(train.cases), "eval": len(evaluation.cases)}
    report = {"format": config.format, "train": config.train, "eval": config.eval, "cases": cases, **found}
    print(json.dumps({**report, "problems": problems}, indent=2))
    return PROBLEMS if problems else 0


def shard(argv: Sequence[str]) -> int:
    """Write the cases of an annotation file and their pictures to shards.folder, as WebDataset tar files.

    data.format, data.path and data.root name the file, as for inspect; shards.cases is how many cases a shard holds.
    They are read with data.format=shards data.path=FOLDER. A command that was cut off goes on when run again.

    Exit status: 0; 2 for a bad argument, a row that cannot be read, or a missing picture.
    """
    from ldke_pl.data.shards.write import shard as write  # it brings torch, which the other commands do without

    settings = _settings("shard", argv)
    config, folder = settings.data, settings.shards.folder
    if config.path is None or folder is None:
        raise ConfigError("data.path and shards.folder must both be given.", "Name the annotation file and a folder.")
    root = Path(config.root) if config.root else Path(config.path).parent
    cases = read_cases(config.format, Path(config.path), root, limit=config.limit, missing_images=config.missing_images)
    print(json.dumps(write(cases, Path(folder), settings.shards.cases, config.format), indent=2))
    return 0


def _settings(command: str, argv: Sequence[str]) -> FileConfig:
    return load_config(FileConfig, CONF_DIR / "file.yaml", argv, f"-m ldke_pl.data {command}")
