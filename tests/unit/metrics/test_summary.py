"""From result rows to the figures of ``metrics.json``."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.statistics import average_bootstrap, cluster_bootstrap
from ldke_pl.metrics.summary import ordered_modes, summarise

MakeRow = Callable[..., ProbeResult]

KINDS = ("reliability", "text_generality", "image_locality", "portability_1", "portability_2")


def sample(make_row: MakeRow, protocol: str = "generate", method: str = "ldke") -> list[ProbeResult]:
    """Rows of 12 cases in 2 groups over 6 entities and 2 seeds, with scores of both kinds."""
    rng = random.Random(7)
    rows = []
    for seed in range(2):
        for case in range(12):
            for kind in KINDS:
                portability = kind.startswith("portability")
                changes = {
                    "seed": seed, "case_id": f"c{case}", "entity": f"e{case // 2}", "kind": kind, "method": method,
                    "group": ("entity", "attribute")[case % 2], "score": float(rng.random() < 0.7),
                    "score_unrouted": float(rng.random() < 0.4), "ceiling": 0.9 if portability else None,
                    "relevant": "locality" not in kind, "route": rng.choice(["base", "e0", "e1"]), "protocol": protocol,
                }  # fmt: skip
                rows.append(make_row(**changes))
    return rows


def test_figures_are_those_of_the_rows(make_row: MakeRow) -> None:
    rows = sample(make_row)
    figures = summarise(rows, index_sizes={"single": 1}, resamples=100)["ldke"]["single"]
    assert list(figures["protocol"]["generate"]) == ["all", "attribute", "entity"]
    assert list(figures["protocol"]["generate"]["all"]) == [*KINDS, "average"]
    chosen = [row for row in rows if row.group == "entity" and row.kind == "image_locality"]
    for field, part in (("score", figures["protocol"]["generate"]), ("score_unrouted", figures["unrouted"])):
        values = [getattr(row, field) for row in chosen]
        interval = cluster_bootstrap(values, [row.entity for row in chosen], resamples=100)
        assert part["entity"]["image_locality"] == vars(interval)
        assert part["entity"]["image_locality"]["n"] == 12


def test_average_is_over_the_averaged_kinds_alone(make_row: MakeRow) -> None:
    rows = sample(make_row)
    kinds = summarise(rows, index_sizes={"single": 1}, resamples=100)["ldke"]["single"]["protocol"]["generate"]["all"]
    parts = [kinds[kind]["value"] for kind in KINDS if kind != "portability_2"]
    assert kinds["average"]["value"] == pytest.approx(sum(parts) / 4)
    kept = [row for row in rows if row.kind != "portability_2"]
    interval = average_bootstrap(
        [row.score for row in kept], [row.kind for row in kept], [row.entity for row in kept], resamples=100
    )
    assert kinds["average"] == vars(interval)


def test_ceiling_is_shown_where_there_is_one(make_row: MakeRow) -> None:
    ceiling = summarise(sample(make_row), index_sizes={"single": 1}, resamples=50)["ldke"]["single"]["ceiling"]
    assert list(ceiling["all"]) == ["portability_1", "portability_2"]
    assert ceiling["all"]["portability_1"]["value"] == pytest.approx(0.9)
    bare = [replace(row, ceiling=None) for row in sample(make_row)]
    assert summarise(bare, index_sizes={"single": 1}, resamples=50)["ldke"]["single"]["ceiling"] == {}


def test_methods_modes_and_protocols_are_kept_apart(make_row: MakeRow) -> None:
    rows = sample(make_row) + sample(make_row, "vlkeb") + sample(make_row, method="ft_l")
    rows += [replace(row, mode="joint", score=0.25) for row in sample(make_row)]
    methods = summarise(rows, index_sizes={"single": 1, "joint": 300}, resamples=20)
    assert {name: list(modes) for name, modes in methods.items()} == {"ldke": ["single", "joint"], "ft_l": ["single"]}
    assert list(methods["ldke"]["single"]["protocol"]) == ["generate", "vlkeb"]
    assert methods["ldke"]["joint"]["protocol"]["generate"]["all"]["average"]["value"] == 0.25
    assert methods["ldke"]["joint"]["router"]["index_size"] == 300
    assert methods["ldke"]["single"] | {"protocol": {}} == methods["ft_l"]["single"] | {"protocol": {}}


def test_queries_count_once_however_many_protocols_scored_them(make_row: MakeRow) -> None:
    rows = [*sample(make_row, "masked"), *sample(make_row, "vlkeb")]
    figures = summarise(rows, index_sizes={"single": 1}, resamples=20)["ldke"]["single"]
    assert figures["router"]["n_relevant"] + figures["router"]["n_irrelevant"] == len(rows) / 2
    assert figures["unrouted"] == {} == figures["ceiling"]


def test_no_edit_has_scores_but_no_router(make_row: MakeRow) -> None:
    rows = [replace(row, method="no_edit", edit_id="", route="base") for row in sample(make_row)]
    figures = summarise(rows, index_sizes={}, resamples=20)["no_edit"]["single"]
    assert "router" not in figures
    assert figures["protocol"]["generate"]["all"]["reliability"]["n"] == 24


def test_held_out_relations_reach_the_router_figures(make_row: MakeRow) -> None:
    rows = [replace(row, relation="river") for row in sample(make_row)]
    options = {"index_sizes": {"single": 1}, "resamples": 20}
    assert "held_out_relations" not in summarise(rows, **options)["ldke"]["single"]["router"]  # type: ignore[arg-type]
    router = summarise(rows, held_out_relations={"river"}, **options)["ldke"]["single"]["router"]  # type: ignore[arg-type]
    assert router["held_out_relations"]["n_relevant"] == router["n_relevant"]


def test_cases_are_the_clusters_where_no_entity_is_named(make_row: MakeRow) -> None:
    rows = [make_row(case_id=f"c{index // 20}", score=float(index < 20)) for index in range(40)]
    kinds = summarise(rows, index_sizes={"single": 1})["ldke"]["single"]["protocol"]["generate"]["all"]
    assert kinds["reliability"] == {"value": 0.5, "n": 40, "lo": 0.0, "hi": 1.0}


def test_order_of_rows_does_not_matter_and_json_holds_it_all(make_row: MakeRow) -> None:
    rows = sample(make_row)
    shuffled = random.Random(0).sample(rows, len(rows))
    one, two = (summarise(part, index_sizes={"single": 1}, resamples=50) for part in (rows, shuffled))
    assert one == two
    assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_a_named_group_cannot_displace_all_rows(make_row: MakeRow) -> None:
    rows = [make_row(group="all"), make_row(group="", score=0.0), make_row(group="b")]
    groups = summarise(rows, index_sizes={"single": 1}, resamples=20)["ldke"]["single"]["protocol"]["generate"]
    assert {name: kinds["reliability"]["n"] for name, kinds in groups.items()} == {"all": 3, "b": 1}


def test_unknown_names_are_refused(make_row: MakeRow) -> None:
    with pytest.raises(ValueError, match="telepathy"):
        summarise([make_row(kind="telepathy")], index_sizes={"single": 1})
    with pytest.raises(ValueError, match="guess"):
        summarise([make_row(protocol="guess")], index_sizes={"single": 1})
    with pytest.raises(ValueError, match="not finite"):
        summarise([make_row(score=float("nan"))], index_sizes={"single": 1})


def test_modes_come_in_the_order_of_tables() -> None:
    found = ["index_1000", "sequence_100", "seconds_per_edit", "joint", "sequence_9", "single", "joint"]
    assert ordered_modes(found) == ["single", "joint", "sequence_9", "sequence_100", "index_1000"]
