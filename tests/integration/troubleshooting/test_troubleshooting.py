"""The troubleshooting page has an entry for every message, and every entry is produced here."""

from pathlib import Path

import app_cases
import data_cases
import edits_cases
import model_cases
import pytest
import run_cases
import settings_cases
import shards_cases
import table_cases
from page import Entry, entries
from producing import PRODUCED, Tools
from raised import Said, said

CASES = (app_cases, data_cases, edits_cases, model_cases, run_cases, settings_cases, shards_cases, table_cases)
"""Importing them fills ``PRODUCED``."""

ENTRIES, SAID = entries(), list(said())


@pytest.mark.parametrize("message", SAID, ids=lambda message: message.place)
def test_every_message_has_an_entry(message: Said) -> None:
    known = any(entry.comes_from(message.skeleton, whole=message.whole) for entry in ENTRIES)
    assert known, f"docs/troubleshooting.md has no entry for {message.skeleton!r} ({message.place})"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.text)
def test_every_entry_is_produced(
    entry: Entry, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any(entry.comes_from(s.skeleton, whole=s.whole) for s in SAID), "nothing in the code says this"
    (folder := tmp_path / "folder").mkdir()
    message = PRODUCED[entry.text](Tools(request, folder, monkeypatch))
    assert entry.matches(message), message


def test_the_page_is_whole() -> None:
    texts = [entry.text for entry in ENTRIES]
    assert len(texts) == len({*texts}) > 200
    assert {*PRODUCED} <= {*texts}, "what is produced has an entry"
    assert [entry.text for entry in ENTRIES if "**Do:**" not in entry.body] == []


def test_a_message_without_entry_would_be_found() -> None:
    assert not any(entry.comes_from("The … is on fire.", whole=True) for entry in ENTRIES)
    assert not Entry("The <thing> is late.", "").matches("The train is on fire.")
    assert len(SAID) > 200
