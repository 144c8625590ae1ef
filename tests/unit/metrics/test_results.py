"""Result rows survive their CSV file."""

from collections.abc import Callable
from pathlib import Path

from ldke_pl.metrics.results import ProbeResult, read_results, write_results


def test_rows_survive_the_file(tmp_path: Path, make_row: Callable[..., ProbeResult]) -> None:
    rows = [
        make_row(score=1 / 3, ceiling=0.1 + 0.2, seed=5, relevant=False, route="base"),
        make_row(prompt='say "a, b"\nor c', expected="Zürich", after="", ceiling=0.0),
        make_row(ceiling=None, image="a b.png", sites="connector+decoder.0", relevance=0.1 + 0.2, threshold=0.85),
    ]
    path = tmp_path / "results.csv"
    write_results(path, iter(rows))
    assert list(read_results(path)) == rows
    write_results(path, rows[:1])
    assert list(read_results(path)) == rows[:1]


def test_rows_of_before_have_no_relevance(tmp_path: Path, make_row: Callable[..., ProbeResult]) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [make_row()])
    lines = [line.removesuffix(",,") for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines).replace(",relevance,threshold", ""))
    assert list(read_results(path)) == [make_row()]


def test_routed_here_is_about_this_edit(make_row: Callable[..., ProbeResult]) -> None:
    assert make_row(route="e0", edit_id="e0").routed_here
    assert not make_row(route="e1", edit_id="e0").routed_here
    assert not make_row(route="base", edit_id="e0").routed_here
