"""Figures that set rows of results against each other: paired tests, and portability relative to its ceiling."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ldke_pl.data.records import AVERAGED_KINDS, ProbeKind
from ldke_pl.metrics.grouping import AVERAGE, Resampling, clusters, require_one_run, split
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.statistics import Interval, PairedTest, paired_difference, ratio_bootstrap


def share_of_ceiling(rows: Iterable[ProbeResult], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Portability relative to what the unedited model reaches where it already knows.

    Args:
        rows: of one method, mode and protocol; only portability rows that have a ceiling are used. Filter by kind
            or group first for a ratio of their own.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        ``mean(score) / mean(ceiling)`` over these rows; above 1 where the edit does better than the ceiling. Ours.

    Raises:
        ValueError: no such row, a ceiling of zero throughout, or rows of several methods, modes or protocols.
    """
    pairs = [(row, row.ceiling) for row in rows if row.ceiling is not None and ProbeKind(row.kind).is_portability]
    kept = [row for row, _ in pairs]
    require_one_run(kept, "rows")
    scores, ceilings = [row.score for row in kept], [ceiling for _, ceiling in pairs]
    return ratio_bootstrap(scores, ceilings, clusters(kept), resamples=resamples, seed=seed)


def compare(
    rows_a: Iterable[ProbeResult], rows_b: Iterable[ProbeResult], *, resamples: int = 1000, seed: int = 0
) -> dict[str, PairedTest]:
    """Test score differences ``a - b`` over the probes that both sides answered.

    Args:
        rows_a: of one method, mode and protocol.
        rows_b: likewise; the protocol must be the same. Probes are matched on (seed, case, kind, image, prompt); a
            probe asked several times in one case counts once, with its mean score. Unmatched probes are left out.
        resamples: of the intervals and of the permutation tests.
        seed: of both.

    Returns:
        Kind to test, in the order of :class:`~ldke_pl.data.records.ProbeKind`, then "average" over the averaged
        kinds present. For "joint is within 0.03 of single", ask for ``lo >= -0.03``. Source: ours.

    Raises:
        ValueError: nothing matches, different protocols, or a side mixes methods, modes or protocols.
    """
    first, second = list(rows_a), list(rows_b)
    require_one_run(first, "rows_a")
    require_one_run(second, "rows_b")
    pairs = _pairs(first, second)
    if first[0].protocol != second[0].protocol or not pairs:
        raise ValueError(
            f"Expected argument `rows_b` to share probes and the protocol {first[0].protocol!r} with `rows_a`, "
            f"but got {len(pairs)} shared probes and the protocol {second[0].protocol!r}."
        )
    by_kind = split(pairs, lambda pair: pair.kind)
    chosen = {kind.value: by_kind[kind] for kind in ProbeKind if kind in by_kind}
    averaged = [pair for kind in AVERAGED_KINDS for pair in by_kind.get(kind, [])]
    if averaged:
        chosen[AVERAGE] = averaged
    options: Resampling = {"resamples": resamples, "seed": seed}
    return {name: _test(members, options) for name, members in chosen.items()}


class _Pair(NamedTuple):
    kind: ProbeKind
    cluster: str
    a: float
    b: float


def _pairs(first: Sequence[ProbeResult], second: Sequence[ProbeResult]) -> list[_Pair]:
    left, right = split(first, _probe), split(second, _probe)
    return [
        _Pair(ProbeKind(rows[0].kind), clusters(rows)[0], _mean_score(rows), _mean_score(right[probe]))
        for probe, rows in left.items()
        if probe in right
    ]


def _probe(row: ProbeResult) -> tuple[int, str, str, str, str]:
    return row.seed, row.case_id, row.kind, row.image, row.prompt


def _mean_score(rows: Sequence[ProbeResult]) -> float:
    return sum(row.score for row in rows) / len(rows)


def _test(pairs: Sequence[_Pair], options: Resampling) -> PairedTest:
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    return paired_difference(a, b, [pair.cluster for pair in pairs], kinds=[pair.kind for pair in pairs], **options)
