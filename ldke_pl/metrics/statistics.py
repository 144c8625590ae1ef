"""Clustered bootstrap intervals and paired tests (numpy only).

Probes of one entity are not independent, so whole clusters are drawn: a resample takes as many clusters as there
are, with replacement, and every row of a drawn cluster counts as often as its cluster was drawn. Results do not
depend on the order of the rows. Source of the scheme: Field and Welsh (2007), "Bootstrapping clustered data".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 21
"""Numbers drawn at a time, so that memory stays near 50 MB whatever the number of clusters."""


@dataclass(frozen=True)
class Interval:
    """A value over ``n`` rows with its bootstrap interval; ``lo <= value <= hi``."""

    value: float
    n: int
    lo: float
    hi: float


@dataclass(frozen=True)
class PairedTest:
    """Mean difference over ``n`` pairs, its bootstrap interval and its two-sided p-value."""

    difference: float
    lo: float
    hi: float
    p_value: float
    n: int


def cluster_bootstrap(
    values: npt.ArrayLike, clusters: Sequence[str], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of ``values`` with a percentile interval from resampled clusters.

    Args:
        values: ``(n,)``, finite.
        clusters: ``(n,)`` names; rows of one name are drawn together.
        resamples: number of resamples.
        seed: of the resampling.
        level: coverage, in (0, 1).

    Returns:
        The mean over rows. Where the percentile interval would miss the mean it is widened to touch it.

    Raises:
        ValueError: no values, values that are not finite, lengths that differ, ``resamples`` or ``level`` out of range.
    """
    return average_bootstrap(values, [""] * len(clusters), clusters, resamples=resamples, seed=seed, level=level)


def average_bootstrap(
    values: npt.ArrayLike,
    kinds: Sequence[str],
    clusters: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Unweighted average over kinds of the mean of each kind, with a percentile interval.

    All kinds share the same resampled clusters, so their dependence is kept. A kind none of whose clusters was
    drawn is left out of that resample's average; a resample always holds at least one kind.

    Args:
        values: ``(n,)``, finite.
        kinds: ``(n,)`` names.
        clusters: ``(n,)`` names.
        resamples: as in :func:`cluster_bootstrap`; likewise ``seed`` and ``level``.
        seed: of the resampling.
        level: coverage, in (0, 1).

    Returns:
        The average; its ``n`` counts rows of all kinds.

    Raises:
        ValueError: as :func:`cluster_bootstrap`.
    """
    array = _checked(values, "values", len(clusters), resamples, level)
    cells = _cells(kinds, clusters)
    sums, counts = cells.total(array), cells.total(np.ones_like(array))
    means = np.concatenate(
        [_ratios(w @ sums.T, w @ counts.T) for w in _draws(counts.shape[1], resamples, np.random.default_rng(seed))]
    )
    value = float((sums.sum(axis=1) / counts.sum(axis=1)).mean())
    return _interval(value, len(array), np.nanmean(means, axis=1), level)


def ratio_bootstrap(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    clusters: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Ratio of two means over the same rows, with a percentile interval.

    Args:
        numerators: ``(n,)``, finite.
        denominators: ``(n,)``, finite and not negative; their mean must be positive.
        clusters: ``(n,)`` names.
        resamples: as in :func:`cluster_bootstrap`; likewise ``seed`` and ``level``.
        seed: of the resampling.
        level: coverage, in (0, 1).

    Returns:
        The ratio. Resamples whose denominators are all zero have none and are left out.

    Raises:
        ValueError: as :func:`cluster_bootstrap`, or denominators that are negative or all zero.
    """
    top = _checked(numerators, "numerators", len(clusters), resamples, level)
    bottom = _checked(denominators, "denominators", len(clusters), resamples, level)
    if bottom.min() < 0 or bottom.max() == 0:
        raise ValueError("Expected argument `denominators` to be at least 0 and positive somewhere, but got otherwise.")
    cells = _cells([""] * len(clusters), clusters)
    tops, bottoms = cells.total(top), cells.total(bottom)
    ratios = np.concatenate(
        [_ratios(w @ tops.T, w @ bottoms.T) for w in _draws(tops.shape[1], resamples, np.random.default_rng(seed))]
    )
    return _interval(float(top.sum() / bottom.sum()), len(top), ratios[:, 0], level)


def paired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: Sequence[str],
    *,
    kinds: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedTest:
    """Test whether paired scores differ in the mean.

    The p-value is two-sided, from flipping the sign of all differences of a cluster together; it counts the observed
    arrangement as one of the permutations, so it is at least ``1 / (resamples + 1)``.

    Args:
        a: ``(n,)``, finite.
        b: ``(n,)``, finite, row by row the partners of ``a``.
        clusters: ``(n,)`` names.
        kinds: ``(n,)`` names to average over as :func:`average_bootstrap` does, or None for the mean over rows.
        resamples: number of resamples, and of sign flips.
        seed: of both.
        level: coverage of the interval, in (0, 1).

    Returns:
        ``mean(a - b)``, or its average over kinds, with interval and p-value.

    Raises:
        ValueError: as :func:`cluster_bootstrap`.
    """
    first = _checked(a, "a", len(clusters), resamples, level)
    delta = first - _checked(b, "b", len(clusters), resamples, level)
    names = [""] * len(clusters) if kinds is None else kinds
    interval = average_bootstrap(delta, names, clusters, resamples=resamples, seed=seed, level=level)
    cells = _cells(names, clusters)
    per_kind = cells.total(np.ones_like(delta)).sum(axis=1, keepdims=True)
    shares = (cells.total(delta) / per_kind).mean(axis=0)
    p_value = _sign_flip(shares, resamples, np.random.default_rng(seed))
    return PairedTest(interval.value, interval.lo, interval.hi, p_value, interval.n)


@dataclass(frozen=True)
class _Cells:
    """The (kind, cluster) cell of every row, so that totals per cell are one ``bincount``."""

    index: npt.NDArray[np.int64]
    shape: tuple[int, int]

    def total(self, values: Floats) -> Floats:
        """Sum of ``values`` ``(n,)`` in each cell, ``(kinds, clusters)``."""
        flat = np.bincount(self.index, weights=values, minlength=self.shape[0] * self.shape[1])
        return flat.astype(np.float64).reshape(self.shape)


def _cells(kinds: Sequence[str], clusters: Sequence[str]) -> _Cells:
    if len(kinds) != len(clusters):
        raise ValueError(f"Expected argument `kinds` to have {len(clusters)} names, but got {len(kinds)}.")
    kind_names, kind_codes = np.unique(np.asarray(kinds, dtype=np.str_), return_inverse=True)
    cluster_names, cluster_codes = np.unique(np.asarray(clusters, dtype=np.str_), return_inverse=True)
    return _Cells(kind_codes * len(cluster_names) + cluster_codes, (len(kind_names), len(cluster_names)))


def _draws(clusters: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield how often each cluster is drawn, ``(block, clusters)``, ``resamples`` rows in all."""
    block = max(1, _BLOCK // clusters)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _sign_flip(shares: Floats, resamples: int, rng: np.random.Generator) -> float:
    """Two-sided p-value of ``shares.sum()`` under independent signs of the ``(clusters,)`` shares."""
    # Sums of the same numbers in another order differ in the last bits; those are ties, not smaller values.
    observed = abs(float(shares.sum())) - 1e-9 * float(np.abs(shares).sum())
    block, extreme = max(1, _BLOCK // len(shares)), 0
    for start in range(0, resamples, block):
        flips = rng.integers(2, size=(min(block, resamples - start), len(shares)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(flips @ shares) >= observed).sum())
    return (extreme + 1) / (resamples + 1)


def _ratios(tops: Floats, bottoms: Floats) -> Floats:
    """Divide element by element; NaN where the denominator is zero."""
    out = np.full_like(tops, np.nan)
    return np.divide(tops, bottoms, out=out, where=bottoms > 0)


def _interval(value: float, n: int, resampled: Floats, level: float) -> Interval:
    tail = (1 - level) / 2
    defined = resampled[~np.isnan(resampled)]
    lo, hi = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (value, value)
    return Interval(value, n, min(float(lo), value), max(float(hi), value))


def _checked(values: npt.ArrayLike, name: str, n: int, resamples: int, level: float) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) != n or n == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"Expected argument `{name}` to be 1 or more finite numbers, as many as clusters ({n}), "
            f"but got shape {array.shape} with {int((~np.isfinite(array)).sum())} not finite."
        )
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"Expected argument `resamples` to be at least 1 and `level` in (0, 1), but got {resamples} and {level}."
        )
    return array
