"""Several run folders as one: whose figures count, and what does not belong together."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ldke_pl.errors import ConfigError
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import summarise
from ldke_pl.report.runs import FinishedRun, merged

Made = Callable[..., FinishedRun]


@pytest.fixture
def made(make_row: Callable[..., ProbeResult]) -> Made:
    """A run of some methods with one seed, in which each of four edits is right or wrong, and of the floor."""

    def make(seed: int, score: float, *names: str, **changes: Any) -> FinishedRun:
        rows = [
            make_row(method=name, seed=seed, case_id=f"c{i}", edit_relation="currency", score=score)
            for name in names
            for i in range(4)
        ]
        rows += [make_row(method="no_edit", seed=seed, case_id=f"c{i}", score=0.0, route="base") for i in range(4)]
        methods: dict[str, Any] = {**summarise(rows, index_sizes={"single": 1})}
        for number, name in enumerate(methods):
            methods[name] |= {"seconds_per_edit": seed + 1.0, "bytes_per_edit": 8.0 * (number + 1)}
        methods["no_edit"]["single"].pop("router", None)
        facts = {"schema": 1, "model": "m", "data": "atlas", "commit": f"v{seed}", "seeds": [seed], "n_edits": 4}
        return FinishedRun({**facts, "methods": methods, **changes}, rows, frozenset({"currency"}))

    return make


def value(run: FinishedRun, name: str) -> float:
    found: float = run.metrics["methods"][name]["single"]["protocol"]["generate"]["all"]["average"]["value"]
    return found


def test_methods_of_several_runs_stand_side_by_side(made: Made) -> None:
    run = merged([made(0, 1.0, "ldke"), made(0, 0.5, "mend")])
    assert [*run.metrics["methods"]] == ["ldke", "no_edit", "mend"]
    assert (value(run, "ldke"), value(run, "mend")) == (1.0, 0.5)
    assert len(run.rows) == 12, "the floor is in both and counts once"


def test_seeds_of_several_runs_are_pooled(made: Made) -> None:
    run = merged([made(0, 1.0, "ldke"), made(1, 0.0, "ldke"), made(2, 0.5, "mend")])
    assert run.metrics["seeds"] == [0, 1, 2] and run.metrics["commit"] == "v0, v1, v2"
    assert value(run, "ldke") == 0.5
    ldke = run.metrics["methods"]["ldke"]
    assert (ldke["seconds_per_edit"], ldke["bytes_per_edit"]) == (1.5, 8.0)
    assert ldke["single"]["router"]["index_size"] == 1
    assert ldke["single"]["router"]["held_out_relations"]["tpr"] == 1.0
    assert "router" not in run.metrics["methods"]["no_edit"]["single"]


def test_one_run_stays_as_it_is(made: Made) -> None:
    run = made(0, 1.0, "ldke")
    assert merged([run]) is run


def test_what_does_not_belong_together_is_refused(made: Made) -> None:
    with pytest.raises(ConfigError, match="ldke with the same seed"):
        merged([made(0, 1.0, "ldke"), made(0, 0.5, "ldke")])
    other = made(1, 1.0, "ldke")
    with pytest.raises(ConfigError, match="differ in n_edits"):
        merged([made(0, 1.0, "ldke"), replace(other, metrics={**other.metrics, "n_edits": 5})])


def showing(run: FinishedRun, *pictures: str) -> FinishedRun:
    return replace(run, rows=[replace(r, image=pictures[i % len(pictures)]) for i, r in enumerate(run.rows)])


@pytest.mark.parametrize(
    "places",
    [
        [("/here/x/a.png", "/here/y/a.png", ""), ("there/x/a.png", "there/y/a.png", "")],
        [("/here/a.png",), ("/there/a.png",)],
        [("", ""), ("", "")],
    ],
)
def test_pictures_are_paired_wherever_they_are_kept(made: Made, places: list[tuple[str, ...]]) -> None:
    runs = [showing(made(0, s, n), *p) for s, n, p in zip((1.0, 0.5), ("ldke", "mend"), places, strict=True)]
    rows = merged(runs).rows
    names = [[row.image for row in rows if row.method == method] for method in ("ldke", "mend")]
    assert names[0] == names[1] and "here" not in "".join(names[0])


def test_runs_on_other_pictures_are_refused(made: Made) -> None:
    runs = [showing(made(0, 1.0, "ldke"), "/a/1.png", "/b/1.png"), showing(made(0, 0.5, "mend"), "memory:1")]
    with pytest.raises(ConfigError, match="no picture in common"):
        merged(runs)
