"""IKE: facts told in front of the question, and the demonstrations that it shows before them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.editors import DemonstratedEditor
from ldke_pl.editors.demonstrations import FILE, Demonstration, load, save
from ldke_pl.editors.ike import IKE
from ldke_pl.errors import ArtefactError


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ike"]).editor["ike"]
    return replace(read, demonstrations=3, statements=[])


def made(backbone: Backbone, config: EditorConfig) -> IKE:
    return IKE(backbone, config, lambda requests: [()] * len(requests))


def case(name: str, prompt: str, target: str, picture: Image.Image) -> EditCase:
    probes = (
        Probe(ProbeKind.RELIABILITY, picture, prompt, target),
        Probe(ProbeKind.TEXT_GENERALITY, picture, f"Tell me: {prompt}", target),
        Probe(ProbeKind.TEXT_LOCALITY, None, "What is the capital of Mofeda?", "Maloton"),
        Probe(ProbeKind.TEXT_LOCALITY, None, "What is the capital of Gogubu?"),
        Probe(ProbeKind.PORTABILITY_1, picture, "Which river flows through it?", "x"),
        Probe(ProbeKind.VISUAL_LOCALITY, picture, prompt, "other"),
    )
    return EditCase(name, EditRequest(picture, prompt, target), probes)


def cases(pictures: list[Image.Image]) -> list[EditCase]:
    capital, leader = "What is the capital of this country?", "Who leads this country?"
    asked = [(capital, "Balumo"), (leader, "Fabuovic"), (capital, "Rezisi")]
    return [case(f"case-{i}", p, t, pictures[i]) for i, (p, t) in enumerate(asked)]


def test_collects_a_copy_an_update_and_what_stays(
    backbone: Backbone, config: EditorConfig, pictures: list[Image.Image], tmp_path: Path
) -> None:
    editor = made(backbone, config)
    assert isinstance(editor, DemonstratedEditor)
    assert editor.collect(cases(pictures), tmp_path) == 9
    fact = "New fact: What is the capital of this country? Balumo."
    assert [str(d) for d in load(tmp_path)[:3]] == [
        f"{fact} What is the capital of this country? Balumo.",
        f"{fact} Tell me: What is the capital of this country? Balumo.",
        f"{fact} What is the capital of Mofeda? Maloton.",
    ]


def test_shows_the_nearest_facts_before_the_edits_own(
    backbone: Backbone, config: EditorConfig, pictures: list[Image.Image], tmp_path: Path
) -> None:
    editor = made(backbone, config)
    editor.collect(cases(pictures), tmp_path)
    editor.show(tmp_path)
    request = EditRequest(pictures[4], "Who leads this country?", "Fabuovic")
    (edit,) = editor.edit([request])
    near = [str(d) for d in load(tmp_path) if "Fabuovic" in d.fact]
    own = "New fact: Who leads this country? Fabuovic."
    assert sorted(edit.context.removesuffix(own).split("New fact: ")) == sorted(
        ["", *(text.removeprefix("New fact: ") + " " for text in near)]
    )
    assert edit.asked(Question(pictures[4], "Who?")).prompt == f"{edit.context} Who?"
    (plain,) = made(backbone, config).edit([request])
    assert plain.context == own


def test_without_demonstrations_nothing_is_read(backbone: Backbone, config: EditorConfig, tmp_path: Path) -> None:
    made(backbone, replace(config, demonstrations=0)).show(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="nowhere"):
        made(backbone, config).show(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", '{"fact": "a"}', '{"fact": "a", "prompt": "b", "answer": 3}', "[1]"])
def test_a_file_that_holds_no_demonstrations_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"train\.py editor=ike"):
        load(tmp_path)


def test_every_text_comes_back_as_it_was(tmp_path: Path) -> None:
    told = [Demonstration("Zoë's fact.\nNew", 'What "is" it?', "naïve")]
    save(told, tmp_path)
    assert load(tmp_path) == told
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["answer"] == "naïve"
