"""The benchmarks' frame: ratios, targets, lines of JSON, and the exit status."""

import json

import pytest
import torch

from ldke_pl.bench import __main__ as command
from ldke_pl.bench import large, timing
from ldke_pl.bench.subjects import editor_config
from ldke_pl.bench.timing import Result, side_by_side
from ldke_pl.errors import ConfigError


def test_the_ratio_is_the_median() -> None:
    assert Result("it", [3.0, 100.0, 2.0]).ratio == 3.0


@pytest.mark.parametrize(
    ("ratio", "target", "at_most", "passed"),
    [(4.0, 3.5, False, True), (3.0, 3.5, False, False), (1.05, 1.1, True, True), (1.2, 1.1, True, False)],
)
def test_a_target_is_a_bound_from_below_or_above(ratio: float, target: float, at_most: bool, passed: bool) -> None:
    assert Result("it", [ratio], target, at_most).passed is passed
    assert Result("it", [ratio]).passed is None


def test_two_things_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = {"one": 6.0, "other": 2.0, "now": 0.0}

    def call(name: str) -> None:
        calls.append(name)
        clock["now"] += clock[name]

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock["now"])
    assert side_by_side(lambda: call("one"), lambda: call("other"), 3) == [3.0] * 3
    assert calls == ["one", "other"] * 4


def test_each_line_is_json_and_a_missed_target_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [Result("good", [2.0, 3.0, 2.5], 2.0), Result("reported", [7.0])]
    monkeypatch.setitem(command.BENCHMARKS, "fake", lambda: iter(results))
    assert command.main(["fake", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {
        "name": "good",
        "ratio": 2.5,
        "target": 2.0,
        "at_most": False,
        "pass": True,
        "runs": [2.0, 3.0, 2.5],
    }
    assert lines[1] == {"name": "reported", "ratio": 7.0, "target": None, "at_most": False, "pass": None, "runs": [7.0]}
    results.append(Result("bad", [1.0], 2.0))
    assert command.main(["fake"]) == command.MISSED
    assert "bad: 1 (MISSED: at least 2)" in capsys.readouterr().out


def test_unknown_names_are_refused_and_help_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="routin"):
        command.main(["routin"])
    assert command.main([]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name}: " in told for name in command.BENCHMARKS)


def test_an_edit_of_a_large_model_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["storage", "--json"]) == 0
    whole, deltas = (json.loads(line)["ratio"] for line in capsys.readouterr().out.splitlines())
    assert 220_000 < deltas < 240_000
    assert deltas + 40_000 < whole < 300_000


def test_a_large_model_is_measured_as_a_small_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    monkeypatch.setattr(large, "TOWER", large.TOWER | small | {"image_size": 56})
    monkeypatch.setattr(large, "DECODER", large.DECODER | small | {"num_key_value_heads": 4, "vocab_size": 1200})
    for name, value in {"BATCH": 2, "PEERS": 1, "RUNS": 1}.items():
        monkeypatch.setattr(large, name, value)
    monkeypatch.setattr(large, "editor_config", lambda **settings: editor_config(**settings | {"steps": 2}))
    results = [*large.large("cpu"), *large.large_against_peers("cpu")]
    assert len(results) == 4 * 4 + 2 * 2
    assert {result.target for result in results} == {1.25, 2.0, 15.0, None}
    assert all(2 in r.runs for r in results if r.name.endswith("steps"))
    if not torch.cuda.is_available():
        assert [*large.large()] == [*large.large_against_peers()] == []
