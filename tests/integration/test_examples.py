"""The examples in docstrings do what they say, and every public name has one."""

import doctest
import importlib
import inspect
import tempfile
from pathlib import Path

import pytest

import ldke_pl

ROOT = Path(ldke_pl.__file__).parents[1]
SOURCES = [p for p in sorted((ROOT / "ldke_pl").rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]


def name_of(source: Path) -> str:
    return ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_examples(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(name_of(source))
    known = {name: getattr(ldke_pl, name) for name in ldke_pl.__all__} | {"tempfile": tempfile}
    found = doctest.testmod(module, extraglobs=known)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", [name for name in ldke_pl.__all__ if not name.startswith("__")])
def test_every_public_name_is_in_an_example(name: str) -> None:
    value = getattr(ldke_pl, name)
    shown = "".join(example.source for example in doctest.DocTestParser().get_examples(inspect.getdoc(value) or ""))
    members = [member for member in vars(value) if not member.startswith("_")]
    assert name in shown
    assert [m for m in members if inspect.isroutine(inspect.getattr_static(value, m)) and f".{m}(" not in shown] == []
