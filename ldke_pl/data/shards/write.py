"""Write any cases as shards: tar files in WebDataset's layout, the same bytes for the same cases.

A shard appears under its name when it is whole, and is in ``progress.json`` before it appears. A run that is cut off
therefore goes on after its last shard; a run over a finished folder checks it and writes what is damaged anew.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webdataset import TarWriter

from ldke_pl.data.records import EditCase
from ldke_pl.data.shards.index import (
    INDEX,
    PROGRESS,
    Place,
    Shard,
    ShardIndex,
    file_sha256,
    load_index,
    save_index,
    shard_fault,
)
from ldke_pl.data.shards.record import BLOCK, pack, safe_key
from ldke_pl.errors import ConfigError, DataError

CASES_PER_SHARD = 256


def shard(cases: Sequence[EditCase], folder: Path, cases_per_shard: int, format: str) -> dict[str, Any]:
    """What ``python -m ldke_pl.data shard`` does: write the shards, and say in plain values what is there.

    Raises:
        ConfigError, DataError: as :func:`write_shards` does.
    """
    index = write_shards(cases, folder, cases_per_shard=cases_per_shard, format=format)
    return {
        "index": str(folder / INDEX),
        "shards": len(index.shards),
        "cases": index.cases,
        "bytes": sum(one.bytes for one in index.shards),
    }


def write_shards(
    cases: Sequence[EditCase], folder: Path, *, cases_per_shard: int = CASES_PER_SHARD, format: str = ""
) -> ShardIndex:
    """Write cases and their pictures to ``folder``, or finish what an earlier run began there.

    Args:
        cases: at least one; no two with the same id.
        folder: where the tar files and ``index.json`` go; new, empty, or a folder of shards of these very cases.
        cases_per_shard: how many cases a shard holds, at least 1; about 100 MB a shard reads well.
        format: the format that the cases were read from, noted in the index.

    Raises:
        ConfigError: ``cases_per_shard`` is below 1.
        DataError: there are no cases, two have the same id, a picture cannot be read, the folder holds shards of other
            cases, or it cannot be written.
    """
    _check(cases, cases_per_shard)
    chunks = [cases[i : i + cases_per_shard] for i in range(0, len(cases), cases_per_shard)]
    plan = ShardIndex(format, len(cases), cases_per_shard, ())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = _known(folder, plan)
        done: list[Shard] = []
        for number, chunk in enumerate(chunks):
            path = folder / f"shard-{number:06d}.tar"
            if number < len(known) and _stands(path, known[number], chunk):
                done.append(known[number])
                continue
            partial = path.with_name(f"{path.name}.partial")
            done.append(_write(partial, path.name, chunk))
            save_index(ShardIndex(format, len(cases), cases_per_shard, (*done, *known[len(done) :])), folder / PROGRESS)
            partial.replace(path)
        index = ShardIndex(format, len(cases), cases_per_shard, tuple(done))
        save_index(index, folder / INDEX)
        (folder / PROGRESS).unlink(missing_ok=True)
    except OSError as error:
        hint = "Give a folder that you may write to, on a disk with room."
        raise DataError(f"Shards cannot be written to {folder}: {error.strerror}.", hint) from error
    return index


def _check(cases: Sequence[EditCase], cases_per_shard: int) -> None:
    if cases_per_shard < 1:
        raise ConfigError(f"cases_per_shard={cases_per_shard} leaves a shard empty.", "Give a number of at least 1.")
    if not cases:
        raise DataError("There is no case to write as shards.", "Give a data set with at least one case.")
    repeated = [key for key, count in Counter(safe_key(case.case_id) for case in cases).items() if count > 1]
    if repeated:
        hint = "Give every case an id of its own: a shard knows its cases by them."
        raise DataError(f"{len(repeated)} case ids occur more than once, {repeated[0]} among them.", hint)


def _known(folder: Path, plan: ShardIndex) -> tuple[Shard, ...]:
    """The shards that an earlier run wrote by the same plan."""
    found: ShardIndex | None = None
    for name in (INDEX, PROGRESS):
        if found is None and (folder / name).exists():
            found = load_index(folder / name)
    known = found.shards if found else ()
    if found and (found.format, found.cases, found.cases_per_shard) != (plan.format, plan.cases, plan.cases_per_shard):
        raise _others(
            folder,
            f"{found.cases} cases of format {found.format!r} by {found.cases_per_shard}, "
            f"not {plan.cases} of {plan.format!r} by {plan.cases_per_shard}",
        )
    strange = {path.name for path in folder.glob("*.tar")} - {one.file for one in known}
    if strange:
        raise _others(folder, f"{min(strange)}, which is in no index")
    return known


def _stands(path: Path, known: Shard, cases: Sequence[EditCase]) -> bool:
    """Whether a shard is whole. It must be a shard of ``cases``, to the last byte of their pictures."""
    if len(known.records) != len(cases):
        raise _others(path.parent, f"{len(known.records)} cases in {path.name}, not {len(cases)}")
    for case, place in zip(cases, known.records, strict=True):
        if pack(case).sha256 != place.sha256:
            raise _others(path.parent, f"another case in {path.name} in the place of {case.case_id}")
    return not shard_fault(path, known, verify=True)


def _others(folder: Path, what: str) -> DataError:
    return DataError(
        f"Folder {folder} already holds shards of other cases: {what}.",
        "Write to another folder, or delete this one first.",
    )


def _write(path: Path, name: str, cases: Sequence[EditCase]) -> Shard:
    """Write one tar file. Nothing in it tells when, where or by whom it was written."""
    records = []
    with path.open("wb") as file, TarWriter(file, "ldke", "ldke", compress=False, encoder=False, mtime=0) as tar:
        for case in cases:
            sample = pack(case)
            records.append(Place(tar.tarstream.offset + BLOCK, len(sample.record), sample.sha256))
            # The writer sorts by name, and so the record comes first and its pictures follow by number.
            tar.write({"__key__": sample.key, "json": sample.record, **sample.pictures})
    return Shard(name, len(records), path.stat().st_size, file_sha256(path), tuple(records))
