"""How well localizers choose sites, against the quality of every edit at every site: regret, hits, differences. Ours.

The truth is an array (edits, sites) of routed qualities in [0, 1], NaN where an edit cannot be made at a site. The best
of an edit is its largest quality; regret is the best less the quality of what was chosen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ldke_pl.metrics.grouping import ALL, Resampling
from ldke_pl.metrics.statistics import Floats, cluster_bootstrap, paired_difference

HIT = 0.005
"""A choice within this of the best is a hit: many sites tie, and this is less than one probe of most kinds."""

TOP = 3


@dataclass(frozen=True)
class Choice:
    """What a localizer's choices are worth, edit by edit; NaN where an edit cannot be made where it points.

    Args:
        quality: of the edit at the site that it ranks first, (edits,).
        hit: 1 where that is within ``HIT`` of the best, else 0, (edits,); a probability for a random choice.
        best_of_top: best quality among the ``TOP`` sites that it ranks first, (edits,); None if it names one site.
    """

    quality: Floats
    hit: Floats
    best_of_top: Floats | None = None


def best(truth: npt.ArrayLike) -> Floats:
    """Quality at each edit's best site, (edits,)."""
    return np.array([max(_made(row)) for row in np.asarray(truth, dtype=np.float64)])


def of_quality(truth: npt.ArrayLike, quality: npt.ArrayLike) -> Choice:
    """The choice that gives each edit this ``quality``, (edits,), as edits at several sites at once do."""
    found = np.asarray(quality, dtype=np.float64)
    return Choice(found, np.where(np.isfinite(found), _hits(found, best(truth)), np.nan))


def of_ranking(truth: npt.ArrayLike, ranking: Sequence[Sequence[int]]) -> Choice:
    """The choice of a localizer that ranks sites.

    Args:
        truth: (edits, sites).
        ranking: columns of ``truth`` per edit, best first; single ones for a localizer that names one site.
    """
    array = np.asarray(truth, dtype=np.float64)
    first = of_quality(array, [row[order[0]] for row, order in zip(array, ranking, strict=True)])
    if max(map(len, ranking)) == 1:
        return first
    tops = [_made(row[list(order[:TOP])]) for row, order in zip(array, ranking, strict=True)]
    return Choice(first.quality, first.hit, np.array([max(top, default=math.nan) for top in tops]))


def of_chance(truth: npt.ArrayLike) -> Choice:
    """What to expect of sites ranked at random, among those where the edit can be made."""
    rows = [_made(row) for row in np.asarray(truth, dtype=np.float64)]
    hits = [_hits(np.array(row), np.array(max(row))).mean() for row in rows]
    return Choice(np.array([np.mean(row) for row in rows]), np.array(hits), np.array([_expected_top(r) for r in rows]))


def figures(
    choices: Mapping[str, Choice],
    truth: npt.ArrayLike,
    groups: Sequence[str],
    clusters: Sequence[str],
    references: Sequence[str],
    resampling: Resampling,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Group -> localizer -> means and paired differences, with intervals; "all" is the group of all edits.

    Args:
        choices: localizer -> its choices.
        groups: kind of each edit, (edits,).
        clusters: what each edit is about, (edits,); edits about one thing are resampled together.
        references: the localizers that all others are tested against.

    Returns:
        Of each localizer ``quality``, ``regret_1``, ``hit_rate``, ``regret_3`` if it ranks sites, and ``minus``:
        reference -> the paired test of their qualities. An edit that cannot be made where a localizer points is left
        out of its figures, and ``n`` says so.
    """
    top, names = best(truth), np.asarray(groups)
    found = {}
    for group in (ALL, *sorted({*groups} - {"", ALL})):
        inside = (names == group) | (group == ALL)
        found[group] = {
            name: _figures(choice, {r: choices[r] for r in references if r != name}, top, inside, clusters, resampling)
            for name, choice in choices.items()
        }
    return found


def _figures(
    choice: Choice,
    references: Mapping[str, Choice],
    top: Floats,
    inside: npt.NDArray[np.bool_],
    clusters: Sequence[str],
    resampling: Resampling,
) -> dict[str, Any]:
    values = {"quality": choice.quality, "regret_1": top - choice.quality, "hit_rate": choice.hit}
    if choice.best_of_top is not None:
        values["regret_3"] = top - choice.best_of_top
    found: dict[str, Any] = {}
    for name, value in values.items():
        kept = inside & np.isfinite(value)
        if kept.any():
            found[name] = asdict(cluster_bootstrap(value[kept], _at(clusters, kept), **resampling))
    found["minus"] = {}
    for name, other in references.items():
        kept = inside & np.isfinite(choice.quality) & np.isfinite(other.quality)
        if kept.any():
            test = paired_difference(choice.quality[kept], other.quality[kept], _at(clusters, kept), **resampling)
            found["minus"][name] = asdict(test)
    return found


def _made(row: Floats) -> list[float]:
    return [float(value) for value in row if np.isfinite(value)]


def _hits(quality: Floats, top: Floats) -> Floats:
    # Means of the same scores in another order differ in the last bits.
    return (quality >= top - HIT - 1e-9).astype(np.float64)


def _expected_top(values: Sequence[float]) -> float:
    """Expected largest of ``TOP`` values drawn without replacement; of all, where there are fewer."""
    drawn = min(TOP, len(values))
    ways = [math.comb(below, drawn - 1) for below in range(len(values))]
    return sum(w * v for w, v in zip(ways, sorted(values), strict=True)) / math.comb(len(values), drawn)


def _at(names: Sequence[str], kept: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, inside in zip(names, kept, strict=True) if inside]
