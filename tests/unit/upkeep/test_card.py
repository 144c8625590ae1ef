"""The page of a saved set of edits: its front matter, its table, and texts that Markdown would misread."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ldke_pl.edits.stored import Stored
from ldke_pl.upkeep.card import SHOWN, card, plain

BASE = {"name": "Qwen/Qwen2-VL-2B-Instruct", "dtype": "torch.bfloat16", "revision": None}


def edit(edit_id: str, prompt: str = "Who?", target: str = "Ada", supersedes: str = "") -> dict[str, Any]:
    return {"edit_id": edit_id, "prompt": prompt, "target": target, "supersedes": supersedes}


def page(*edits: dict[str, Any], branch: str | None = None, **base: str) -> str:
    config = {"base": BASE | base, "edits": [*edits], "rolled_back": [edit("gone")]}
    return card(Stored(Path("unused"), config), "ada/edits", branch)


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_table_has_every_edit_with_its_state() -> None:
    found = rows(page(edit("a"), edit("b", target="Bo", supersedes="a"), edit("c") | {"disabled": True}))
    assert found == [
        ["a", "superseded", "Who? → Ada"],
        ["b", "in force", "Who? → Bo"],
        ["c", "disabled", "Who? → Ada"],
        ["gone", "rolled back", "Who? → Ada"],
    ]


def test_a_prompt_stays_in_its_cell() -> None:
    (found, _) = rows(page(edit("a", "Is it\na | b\r\n| c |?", "<b>*no*</b> [x](y) `z` \\")))
    assert found[2] == r"Is it a \| b \| c \|? → \<b\>\*no\*\</b\> \[x\](y) \`z\` \\"


@pytest.mark.parametrize("text", ["---\nx: 1\n---", "\n\n# Title", "a\u2028b"])
def test_a_text_is_one_line(text: str) -> None:
    assert len(plain(text).splitlines()) == 1


def test_the_base_is_linked_where_it_is_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"library_name": "ldke-pl", "tags": ["knowledge-editing"]}
    assert front(page()) == {"base_model": BASE["name"], **told}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for name in ("atlas", "models/mine", str(tmp_path), "a/b/c", "a: b"):
        assert front(page(name=name)) == told


def test_base_and_way_to_load_are_told() -> None:
    text = page(edit("a"), branch="try", revision="abc_1")
    assert f"- base model: {BASE['name']}\n- revision: abc\\_1\n- dtype: bfloat16\n" in text
    assert "python -m ldke_pl.edits pull ada/edits DIR revision=try\n" in text
    assert 'EditedModel.load("DIR")' in text
    assert "pull ada/edits DIR\n" in page()


def test_a_long_table_is_cut() -> None:
    text = page(*[edit(str(number)) for number in range(SHOWN + 5)])
    assert len(rows(text)) == SHOWN
    assert f"{SHOWN} of {SHOWN + 6}" in text
    assert "These are" not in page(edit("a"))
