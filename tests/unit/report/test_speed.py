"""Benchmarks as a table: what is met is told from what is not, and nothing else is taken for a result."""

import json
from pathlib import Path

import pytest

from ldke_pl.bench.timing import Result
from ldke_pl.errors import DataError
from ldke_pl.report import speed

RESULTS = [
    Result("slow / fast", [2.0, 4.0, 3.0], 2.5),
    Result("ours / base", [1.3], 1.1, at_most=True),
    Result("bytes", [7.0]),
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(result.line() + "\n" for result in RESULTS))
    return path


def test_table_and_drawing(written: Path, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- speed -->\n<!-- end -->\nafter\n")
    assert speed.main([str(written), str(page)]) == 0
    lines = page.read_text().splitlines()
    assert "| slow / fast | 3 | 2 to 4, 3 runs | at least 2.5 | yes |" in lines
    assert "| ours / base | 1.3 | one run | at most 1.1 | **no** |" in lines
    assert "| bytes | 7 | one run | reported |  |" in lines
    assert (lines[0], lines[-1]) == ("before", "after")
    assert (tmp_path / "results.png").stat().st_size > 1000


@pytest.mark.parametrize("text", ["{}", "[]", "no json", json.dumps({"name": "a", "ratio": 1})])
def test_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(text + "\n")
    with pytest.raises(DataError, match="cannot be read"):
        speed.main([str(tmp_path / "other.jsonl")])
