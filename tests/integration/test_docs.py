"""The documentation says what is so: its examples run, answers are the model's, figures are the experiments'."""

import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import families.models
import pytest
import torch
from commands import ROOT
from families.fit import fit
from PIL import Image

from ldke_pl import EditedModel, EditRequest
from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.config import CONF_DIR, EditConfig, load_config
from ldke_pl.conformance import CHECKS, Subject
from ldke_pl.conformance.subject import SETTINGS
from ldke_pl.data import Question
from ldke_pl.data.__main__ import main as data_command
from ldke_pl.runtime import run_edit

DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
FAMILY = "tests/families/models.py"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file that it is, and its text."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    found = FENCE.finditer((DOCS / page).read_text(encoding="utf-8"))
    return [Block(match["language"], match["title"] or "", match["text"]) for match in found]


EXAMPLES = blocks("extend.md")
COMMANDS = [line for block in EXAMPLES if not block.language for line in block.text.splitlines()]
EDITS = [line.split()[2:] for line in COMMANDS if line.startswith("python edit.py")]
INSPECTIONS = [line.split()[3:] for line in COMMANDS if line.startswith("python -m ldke_pl.data ")]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, as in a checkout of one's own."""
    shutil.copytree(CONF_DIR, tmp_path / "conf")
    for block in EXAMPLES:
        if block.title and block.title != FAMILY:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "pictures" / "tower.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in {block.title.removesuffix(".py") for block in EXAMPLES} & {*sys.modules}:
        del sys.modules[name]


@pytest.mark.parametrize("arguments", EDITS, ids=lambda arguments: arguments[0])
def test_commands_of_the_examples_run(
    checkout: Path, model_folder: Path, data_root: Path, arguments: list[str]
) -> None:
    small = [f"model.name={model_folder}", "router=radius", "run.resamples=20", "logger=none", "run.dir=run"]
    place = [] if any(a.startswith("data.root=") for a in arguments) else [f"data.root={data_root}"]
    (named,) = [argument for argument in arguments if argument.startswith("editor=")]
    methods = named.removeprefix("editor=").strip("[]").split(",")
    brief = ["data.limit=1", *(f"editor.{name}.steps=2" for name in methods)]
    given = [*arguments, *small, *place, *brief]
    with contextlib.redirect_stdout(io.StringIO()):
        run_edit(load_config(EditConfig, checkout / "conf" / "edit.yaml", given))
    assert [*json.loads((checkout / "run" / "metrics.json").read_text())["methods"]] == methods


@pytest.mark.parametrize("arguments", INSPECTIONS, ids=lambda arguments: arguments[0])
def test_the_reader_is_inspected(checkout: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert data_command(arguments) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2


def test_the_python_of_the_page_runs(checkout: Path) -> None:
    plain = [block.text for block in EXAMPLES if block.language == "python" and not block.title]
    assert len(plain) == 1
    scope: dict[str, Any] = {}
    exec(compile(plain[0], "extend.md", "exec"), scope)
    (edit_id,) = scope["edited"].edits
    assert scope["edited"].edits[edit_id].deltas


def test_the_new_family_passes_every_check() -> None:
    (block,) = [block for block in EXAMPLES if block.title == FAMILY]
    scope = dict(vars(families.models))
    exec(compile(block.text, "extend.md", "exec"), scope)
    assert "vip_llava" not in families.models.FAMILIES
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subject = Subject(fit(Backbone(*scope["vip_llava"](), "vip_llava")), replace(SETTINGS, lr=1e-1, steps=120))
    assert len(CHECKS) == 15
    for check in CHECKS.values():
        check(subject)


CELL = r"\|\s*([^|]*?)\s*"
ROW = re.compile(rf"^{CELL * 5}\|$", re.MULTILINE)
THE_EDIT = re.compile(r"^The edit: \*(?P<prompt>.+)\* → \*\*(?P<target>.+)\*\*", re.MULTILINE)


def test_answers_of_the_first_page_are_the_models() -> None:
    edited = EditedModel.from_pretrained("atlas")
    sections = (DOCS / "index.md").read_text(encoding="utf-8").split("\n## ")
    tables = [section for section in sections if THE_EDIT.search(section)]
    assert len(tables) == 2
    for section, group in zip(tables, ("entity", "attribute"), strict=True):
        told, rows = THE_EDIT.search(section), ROW.findall(section)[2:]
        assert told is not None and len(rows) >= 6
        (edit_id,) = edited.edit([EditRequest(shown(rows[0][0]), told["prompt"], told["target"], group)])
        for picture, question, before, after, _ in rows:
            batch = edited.backbone.prompts.encode([Question(shown(picture), question)])
            assert greedy_answers(edited.backbone, batch) == [before.strip("*")]
            with edited.under(edited.route(dict(batch))):
                assert greedy_answers(edited.backbone, batch) == [after.strip("*")]
        edited.rollback(edit_id)


def shown(cell: str) -> Path | None:
    """The picture in a cell of a table."""
    found = re.search(r"\(([^)]+)\)", cell)
    return DOCS / found[1] if found else None


FIGURE = re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])")
SOURCE = re.compile(r"\]\((\.\./experiments/[^)#]+)\)")


@pytest.mark.parametrize("page", ["method.md", "protocols.md"])
def test_figures_stand_in_the_experiment_that_is_linked(page: str) -> None:
    """A section's figures are looked for in the experiments that the section links to."""
    sections = (DOCS / page).read_text(encoding="utf-8").split("\n## ")
    checked = 0
    for section in sections:
        linked = "\n".join((DOCS / source).read_text(encoding="utf-8") for source in SOURCE.findall(section))
        published = re.findall(r"(?<=- \*\*)[\s\S]*?(?=\n- \*\*|\n\n|$)", section)  # of others, which FIELD.md has
        ours = section
        for text in published:
            ours = ours.replace(text, "")
        for figure in FIGURE.findall(re.sub(r"\d{4}\.\d{5}", "", ours)):
            assert figure in linked, f"{figure} in {section.splitlines()[0]!r}"
            checked += 1
    assert checked > 10
