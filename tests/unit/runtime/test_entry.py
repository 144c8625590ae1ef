"""From a command line to an exit status: one message for what the user can put right, and nothing hidden otherwise."""

import sys

import pytest

from ldke_pl.cli import FAULT
from ldke_pl.config import EditConfig
from ldke_pl.errors import DataError
from ldke_pl.runtime.entry import main


def call(monkeypatch: pytest.MonkeyPatch, run: object, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edit.py", *arguments])
    return main(EditConfig, "edit.yaml", run)  # type: ignore[arg-type]


def test_configuration_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[EditConfig] = []
    assert call(monkeypatch, seen.append, "run.seeds=[3]") == 0
    assert seen[0].run.seeds == [3]


def test_fault_is_one_message_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: EditConfig) -> None:
        raise DataError("The file [x] is 'bad'.", "bring another")

    assert call(monkeypatch, run) == FAULT == 2
    printed = capsys.readouterr()
    assert printed.err == "error: The file [x] is 'bad'.\n  hint: bring another\n"
    assert printed.out == ""


def test_long_message_is_not_wrapped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: EditConfig) -> None:
        raise DataError("x" * 500)

    monkeypatch.setenv("COLUMNS", "40")
    assert call(monkeypatch, run) == FAULT
    assert capsys.readouterr().err == f"error: {'x' * 500}\n"


def test_bad_configuration_never_reaches_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: EditConfig) -> None:
        raise AssertionError

    assert call(monkeypatch, run, "localizer.tua=1") == FAULT
    assert "localizer.tua: no such key; did you mean localizer.tau?" in capsys.readouterr().err


def test_our_own_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: EditConfig) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(monkeypatch, run)


def test_help_ends_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, print, "--help")
    assert end.value.code == 0
    assert "localizer.tau: float" in capsys.readouterr().out
