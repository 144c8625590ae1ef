"""From rows of ``results.csv`` to the figures of ``metrics.json`` (schema 1).

Rows of several seeds are pooled. Intervals are clustered by entity (by case where the data names no entity), over
seeds and groups alike. What does not apply is absent, never 0 or 1.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NotRequired, TypedDict

from ldke_pl.data.records import AVERAGED_KINDS, ProbeKind
from ldke_pl.metrics.grouping import ALL, AVERAGE, IntervalDict, Resampling, as_dict, by_group, clusters, split
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.routing import RouterFigures, has_edit, router_summary
from ldke_pl.metrics.statistics import average_bootstrap, cluster_bootstrap

PROTOCOLS = ("generate", "masked", "vlkeb")
"""Ways to score an answer, the headline first (DESIGN section 8)."""

MODES = ("single", "joint")
"""Each edit alone, and all of the contradiction-free set together."""

SEQUENCE = "sequence"
"""Edits made one after another; the mode after ten of them is named ``sequence_10``."""

INDEX = "index"
"""The joint set in a larger index; the mode in one of 1000 keys is named ``index_1000``."""

ByKind = dict[str, IntervalDict]
ByGroup = dict[str, ByKind]


class ModeSummary(TypedDict):
    """What ``metrics.json`` holds for one method and mode; a method's costs stand beside its modes."""

    protocol: dict[str, ByGroup]
    unrouted: ByGroup
    ceiling: ByGroup
    router: NotRequired[RouterFigures]


def ordered_modes(found: Iterable[str]) -> list[str]:
    """The modes among some names, in the order of tables: "single", "joint", then those with a size, rising."""

    def place(mode: str) -> tuple[int, int]:
        name, _, size = mode.partition("_")
        return (*MODES, SEQUENCE, INDEX).index(name), int(size or 0)

    known = [m for m in dict.fromkeys(found) if m.partition("_")[0] in (*MODES, SEQUENCE, INDEX)]
    return sorted(known, key=place)


def summarise(
    rows: Iterable[ProbeResult],
    *,
    index_sizes: Mapping[str, int],
    held_out_relations: Collection[str] = frozenset(),
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, ModeSummary]]:
    """Summarise rows of any number of methods, modes and protocols.

    Args:
        rows: in any order.
        index_sizes: mode to number of keys in the router's index.
        held_out_relations: as for :func:`~ldke_pl.metrics.routing.router_summary`.
        resamples: of every interval.
        seed: of every interval.

    Returns:
        Method to mode to figures. ``unrouted`` and ``ceiling`` are those of protocol ``generate``; ``router`` is that
        of ``generate`` too, or else of the first protocol there is, and absent where no edit exists to route to.

    Raises:
        ValueError: an unknown probe kind or protocol, or a score that is not a number.
        KeyError: a mode without index size.
    """
    options: Resampling = {"resamples": resamples, "seed": seed}
    methods: dict[str, dict[str, ModeSummary]] = {}
    for (method, mode), members in split(rows, lambda row: (row.method, row.mode)).items():
        figures = _summarise_mode(members, options)
        by_protocol = _by_protocol(members)
        # A query takes the same route under every protocol: counting it once per protocol would overstate n.
        routed = [row for row in next(iter(by_protocol.values())) if has_edit(row)]
        if routed:
            figures["router"] = router_summary(routed, held_out_relations, **options)
            figures["router"]["index_size"] = index_sizes[mode]
        methods.setdefault(method, {})[mode] = figures
    return methods


def flat_figures(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Headline figures under one name each, for loggers and sweeps: ``ldke/single/all/portability_1``.

    ``ldke/average`` is the mean of the method's ``average`` over its modes; ``ldke/joint/router/fpr`` is a router's,
    and ``mend/validation/loss`` what training ended with.

    Args:
        methods: as :func:`summarise` returns them, costs of the methods among them or not.
    """
    found: dict[str, float] = {}
    for method, modes in methods.items():
        averages = []
        for mode, figures in modes.items():
            if not isinstance(figures, Mapping):
                continue
            headline: Mapping[str, ByKind] = next(iter(figures.get("protocol", {}).values()), {})
            for group, kinds in headline.items():
                found |= {f"{method}/{mode}/{group}/{kind}": interval["value"] for kind, interval in kinds.items()}
            averages += [headline[ALL][AVERAGE]["value"]] if AVERAGE in headline.get(ALL, {}) else []
            found |= {f"{method}/{mode}/loss": figures["loss"]} if "loss" in figures else {}
            rates = figures.get("router", {})
            found |= {f"{method}/{mode}/router/{k}": rates[k] for k in ("tpr", "fpr", "misroute") if k in rates}
        if averages:
            found[f"{method}/average"] = sum(averages) / len(averages)
    return found


def _summarise_mode(rows: Sequence[ProbeResult], options: Resampling) -> ModeSummary:
    by_protocol = _by_protocol(rows)
    generated = by_protocol.get("generate", [])
    unrouted = [replace(row, score=row.score_unrouted) for row in generated]
    ceiling = [replace(row, score=row.ceiling) for row in generated if row.ceiling is not None]
    return {
        "protocol": {
            name: {group: _with_average(members, options) for group, members in by_group(scored).items()}
            for name, scored in by_protocol.items()
        },
        "unrouted": {group: _with_average(members, options) for group, members in by_group(unrouted).items()},
        "ceiling": {group: _by_kind(members, options) for group, members in by_group(ceiling).items()},
    }


def _by_protocol(rows: Sequence[ProbeResult]) -> dict[str, list[ProbeResult]]:
    """Rows by protocol, in the order of ``PROTOCOLS``."""
    found = split(rows, lambda row: row.protocol)
    unknown = sorted(found.keys() - set(PROTOCOLS))
    if unknown:
        raise ValueError(f"Expected argument `rows` to have protocols among {PROTOCOLS}, but got {unknown}.")
    return {name: found[name] for name in PROTOCOLS if name in found}


def _by_kind(rows: Sequence[ProbeResult], options: Resampling) -> ByKind:
    kinds = split(rows, lambda row: ProbeKind(row.kind))
    return {
        kind.value: as_dict(cluster_bootstrap(_scores(kinds[kind]), clusters(kinds[kind]), **options))
        for kind in ProbeKind
        if kind in kinds
    }


def _with_average(rows: Sequence[ProbeResult], options: Resampling) -> ByKind:
    figures = _by_kind(rows, options)
    averaged = [row for row in rows if ProbeKind(row.kind) in AVERAGED_KINDS]
    if averaged:
        names = [row.kind for row in averaged]
        figures[AVERAGE] = as_dict(average_bootstrap(_scores(averaged), names, clusters(averaged), **options))
    return figures


def _scores(rows: Sequence[ProbeResult]) -> list[float]:
    return [row.score for row in rows]
