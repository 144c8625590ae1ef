"""Router figures from rows of results: where each query was sent, and where it should have gone."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NotRequired, TypedDict

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.grouping import ALL, IntervalDict, Resampling, as_dict, by_group, clusters, require_one_run, split
from ldke_pl.metrics.results import BASE, ProbeResult
from ldke_pl.metrics.statistics import cluster_bootstrap


class RouterFigures(TypedDict):
    """Rates over some queries, defined in :func:`router_summary`; a rate without queries is absent.

    ``intervals`` holds the same rates with their bootstrap intervals. The whole has ``by_group`` and ``by_kind``, the
    parts by relation ``by_kind``, and ``index_size`` is set by who knows the index.
    """

    n_relevant: int
    n_irrelevant: int
    tpr: NotRequired[float]
    fpr: NotRequired[float]
    misroute: NotRequired[float]
    misroute_all: NotRequired[float]
    intervals: dict[str, IntervalDict]
    by_kind: NotRequired[dict[str, "RouterFigures"]]
    by_group: NotRequired[dict[str, "RouterFigures"]]
    held_out_relations: NotRequired["RouterFigures"]
    trained_relations: NotRequired["RouterFigures"]
    index_size: NotRequired[int]


def router_summary(
    rows: Iterable[ProbeResult],
    held_out_relations: Collection[str] = frozenset(),
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> RouterFigures:
    """Say where the router sent the queries of one method, mode and protocol.

    A query is relevant to the edit under test or not; it was routed to that edit, to another one, or to the base.

    - ``tpr``: relevant queries routed to their own edit / relevant queries.
    - ``fpr``: irrelevant queries routed to any edit / irrelevant queries.
    - ``misroute``: relevant queries routed to another edit / relevant queries.
    - ``misroute_all``: relevant queries routed to another edit plus irrelevant ones routed to any / all queries.

    Args:
        rows: rows without an edit (see :func:`has_edit`) are passed over.
        held_out_relations: where given, rows whose edit or probe is of one of these relations are also reported
            apart, as ``held_out_relations``, and the others as ``trained_relations``; both with ``by_kind``.
        resamples: of every interval.
        seed: of every interval.

    Returns:
        Rates as numbers, each also under ``intervals`` with its clustered bootstrap interval. Source: ours.

    Raises:
        ValueError: no row has an edit, or rows of several methods, modes or protocols.
    """
    kept = [row for row in rows if has_edit(row)]
    require_one_run(kept, "rows")
    options: Resampling = {"resamples": resamples, "seed": seed}
    summary = _rates_with_kinds(kept, options)
    summary["by_group"] = {name: _rates(members, options) for name, members in by_group(kept).items() if name != ALL}
    if held_out_relations:
        parts = split(kept, lambda row: row.relation in held_out_relations or row.edit_relation in held_out_relations)
        summary["held_out_relations"] = _rates_with_kinds(parts.get(True, []), options)
        summary["trained_relations"] = _rates_with_kinds(parts.get(False, []), options)
    return summary


def has_edit(row: ProbeResult) -> bool:
    """Whether there was an edit to route to: ``edit_id`` is neither empty nor "base", as it is for ``no_edit``."""
    return row.edit_id not in ("", BASE)


def _elsewhere(row: ProbeResult) -> bool:
    return row.route not in (BASE, row.edit_id)


def _astray(row: ProbeResult) -> bool:
    """Whether the query was answered by an edit that is not its own."""
    return _elsewhere(row) if row.relevant else row.route != BASE


def _rates_with_kinds(rows: Sequence[ProbeResult], options: Resampling) -> RouterFigures:
    kinds = split(rows, lambda row: ProbeKind(row.kind))
    rates = _rates(rows, options)
    rates["by_kind"] = {kind.value: _rates(kinds[kind], options) for kind in ProbeKind if kind in kinds}
    return rates


def _rates(rows: Sequence[ProbeResult], options: Resampling) -> RouterFigures:
    relevant = [row for row in rows if row.relevant]
    irrelevant = [row for row in rows if not row.relevant]
    rates: RouterFigures = {"n_relevant": len(relevant), "n_irrelevant": len(irrelevant), "intervals": {}}
    intervals = rates["intervals"]
    if relevant:
        intervals["tpr"] = _share(relevant, lambda row: row.routed_here, options)
        intervals["misroute"] = _share(relevant, _elsewhere, options)
        rates["tpr"], rates["misroute"] = intervals["tpr"]["value"], intervals["misroute"]["value"]
    if irrelevant:
        intervals["fpr"] = _share(irrelevant, _astray, options)
        rates["fpr"] = intervals["fpr"]["value"]
    if rows:
        intervals["misroute_all"] = _share(rows, _astray, options)
        rates["misroute_all"] = intervals["misroute_all"]["value"]
    return rates


def _share(rows: Sequence[ProbeResult], test: Callable[[ProbeResult], bool], options: Resampling) -> IntervalDict:
    return as_dict(cluster_bootstrap([float(test(row)) for row in rows], clusters(rows), **options))
