"""The table of methods: who is in it, in what order, and what stands in a page around it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldke_pl.errors import ConfigError
from ldke_pl.metrics.results import ProbeResult, write_results
from ldke_pl.report.methods import main, methods_page
from ldke_pl.runtime.folder import write_metrics


@pytest.fixture
def several(metrics: dict[str, Any]) -> dict[str, Any]:
    """The run of the other tests, with costs for all, and a sequence."""
    for figures in metrics["methods"].values():
        figures |= {"seconds_per_edit": 0.5, "bytes_per_edit": 10.0, "sequence_10": figures["single"]}
    return metrics


def leave_run(folder: Path, metrics: dict[str, Any], rows: list[ProbeResult]) -> Path:
    """What a finished run leaves in its folder, as far as tables need it."""
    folder.mkdir(exist_ok=True)
    write_metrics(folder, metrics)
    write_results(folder / "results.csv", rows)
    (folder / "config.yaml").write_text("router: {held_out_relations: [currency]}\n", encoding="utf-8")
    return folder


def test_the_best_average_comes_first(several: dict[str, Any]) -> None:
    lines = methods_page(several, []).splitlines()
    table = [line for line in lines if line.startswith("| `")]
    assert [line.split("`")[1] for line in table[:2]] == ["ldke", "no_edit"]
    assert table[0].startswith("| `ldke` | 99.1 (98 to 100) | 98.2 (98 to 99) |")
    assert table[0].endswith("| 0.5 | 10 |")


def test_a_sequence_shows_average_and_what_was_kept(several: dict[str, Any]) -> None:
    assert "| `ldke` | 99.1, 98.2 |" in methods_page(several, [])


def test_a_larger_index_stands_behind_the_sequence(several: dict[str, Any]) -> None:
    several["methods"]["ldke"]["index_1000"] = several["methods"]["ldke"]["single"]
    text = methods_page(several, [])
    assert "| method | after 10 | joint set, 1000 keys |" in text
    assert "| `no_edit` | 35.0, 0.0 |  |" in text


def test_ours_is_set_against_each_method_by_the_same_probes(
    several: dict[str, Any], make_row: Callable[..., ProbeResult]
) -> None:
    ours = [make_row(case_id=f"c{i}", entity=f"x{i}") for i in range(8)]
    theirs = [replace(row, method="no_edit", score=0.0) for row in ours]
    assert "| `no_edit` | +100.0 (+100.0 to +100.0) |  |" in methods_page(several, ours + theirs)
    assert "minus others" not in methods_page(several, ours)


def test_seeds_are_named_where_methods_differ_in_them(
    several: dict[str, Any], make_row: Callable[..., ProbeResult]
) -> None:
    rows = [make_row(seed=seed) for seed in (0, 1)] + [make_row(method=name) for name in ("mend", "no_edit")]
    assert "Seeds 0, 1: `ldke`; seed 0: `mend`, `no_edit`." in methods_page(several, rows)


def test_protocols_are_set_against_generation(several: dict[str, Any]) -> None:
    masked = {"all": {kind: {"value": 0.95, "n": 1, "lo": 0.9, "hi": 1.0} for kind in ("average", "reliability")}}
    for figures in several["methods"].values():
        figures["single"]["protocol"]["masked"] = masked
    text = methods_page(several, [])
    assert "| `ldke` | 99.1 | 95.0 (-4.1) |" in text
    assert "| `no_edit` | 35.0 | 95.0 (+60.0) |" in text
    assert "by probe kind: `masked` minus `generate`\n\n| method | reliability |\n" in text
    assert "| `ldke` | -3.2 |\n| `no_edit` | +95.0 |" in text


def test_tables_are_put_between_the_marks_of_a_page(several: dict[str, Any], tmp_path: Path) -> None:
    leave_run(tmp_path, several, [])
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- methods -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        assert main([str(tmp_path), str(page)]) == 0
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
        assert text.count("| `no_edit` |") == 2  # alone, and in sequence


def test_a_page_without_marks_is_left_as_it_is(several: dict[str, Any], tmp_path: Path) -> None:
    leave_run(tmp_path, several, [])
    page = tmp_path / "page.md"
    page.write_text("before\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no place"):
        main([str(tmp_path), str(page)])
    assert page.read_text(encoding="utf-8") == "before\n"
    with pytest.raises(ConfigError, match="no finished run"):
        main([str(tmp_path / "nowhere")])
