"""How rows of results are grouped, clustered and turned into intervals; shared by everything computed from them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict, TypeVar

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.statistics import Interval

ALL = "all"
"""The group of all rows."""

AVERAGE = "average"
"""Key, beside the probe kinds, of the unweighted average over :data:`~ldke_pl.data.records.AVERAGED_KINDS`."""

Item = TypeVar("Item")
Key = TypeVar("Key")


class Resampling(TypedDict):
    """Options of every bootstrap: number of resamples and seed."""

    resamples: int
    seed: int


class IntervalDict(TypedDict):
    """An :class:`~ldke_pl.metrics.statistics.Interval` as JSON."""

    value: float
    n: int
    lo: float
    hi: float


def as_dict(interval: Interval) -> IntervalDict:
    """Turn an interval into what ``metrics.json`` holds."""
    return {"value": interval.value, "n": interval.n, "lo": interval.lo, "hi": interval.hi}


def split(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Group items by key, keys and items in order of appearance."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_group(rows: Sequence[ProbeResult]) -> dict[str, Sequence[ProbeResult]]:
    """Return "all" rows first, then those of every nonempty group, in alphabetical order; nothing for no rows."""
    if not rows:
        return {}
    named = split(rows, lambda row: row.group)
    return {ALL: rows, **{name: named[name] for name in sorted(named) if name not in ("", ALL)}}


def clusters(rows: Iterable[ProbeResult]) -> list[str]:
    """Return the cluster of each row: its entity, or its case where the data names none."""
    return [row.entity or row.case_id for row in rows]


def require_one_run(rows: Sequence[ProbeResult], name: str) -> None:
    """Refuse rows that must not be pooled.

    Raises:
        ValueError: no rows, or rows of several methods, modes or protocols; ``name`` is the argument at fault.
    """
    runs = sorted({(row.method, row.mode, row.protocol) for row in rows})
    if len(runs) != 1:
        raise ValueError(
            f"Expected argument `{name}` to hold usable rows of one method, mode and protocol, but got {runs}."
        )
