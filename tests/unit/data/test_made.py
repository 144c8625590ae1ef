"""Probes that are made: which kinds, how many, the same ones every time, and none that an edit answers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind
from ldke_pl.data.made import ABOUT_PICTURE, FROM_OTHER, GENERAL, MADE, OTHERS, WORDINGS, with_made_probes
from ldke_pl.data.made_pictures import LONGEST, VARIATIONS, write_varied

P = ProbeKind


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in "abcdefgh"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 60)).save(path)
    return paths


def case(image: Path | None, prompt: str, *probes: Probe, group: str = "") -> EditCase:
    own = Probe(P.RELIABILITY, image, prompt, "Ada")
    return EditCase(f"{image}-{prompt}", EditRequest(image, prompt, "Ada", group), (own, *probes), group=group)


def made(cases: list[EditCase], folder: Path) -> list[list[Probe]]:
    """The made probes of every case, which follow those that it had."""
    filled = with_made_probes(cases, folder)
    assert [c.probes[: len(before.probes)] for c, before in zip(filled, cases, strict=True)] == [
        c.probes for c in cases
    ]
    return [[p for p in c.probes if p.relation.startswith(MADE)] for c in filled]


def test_every_kind_is_made(pictures: list[Path], tmp_path: Path) -> None:
    (probes,) = made([case(pictures[0], "Whose cup is this?")], tmp_path / "made")
    assert Counter(p.kind for p in probes) == {
        P.IMAGE_GENERALITY: len(VARIATIONS), P.TEXT_GENERALITY: len(WORDINGS), P.TEXT_LOCALITY: len(GENERAL),
        P.IMAGE_LOCALITY: 3, P.FINEGRAINED_LOCALITY: len(ABOUT_PICTURE),
    }  # fmt: skip
    assert all((p.expected is None) == p.kind.is_locality for p in probes)
    assert {p.expected for p in probes if not p.kind.is_locality} == {"Ada"}
    shown = {p.image for p in probes if p.kind is P.IMAGE_GENERALITY}
    pixels = {Image.open(path).tobytes() for path in shown}
    assert len(pixels) == len(VARIATIONS)
    assert Image.open(pictures[0]).tobytes() not in pixels
    assert all(Image.open(path).size == (90, 60) for path in shown)


def test_the_same_is_made_every_time(pictures: list[Path], tmp_path: Path) -> None:
    cases = [case(pictures[0], "Whose cup?"), case(pictures[1], "Which town?"), case(pictures[0], "Which colour?")]
    folders = [tmp_path / "first", tmp_path / "second"]
    found = [made(cases, folder) for folder in folders]
    located = [[[replace(p, image=p.image and Path(p.image).name) for p in probes] for probes in run] for run in found]
    assert located[0] == located[1]
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 2 * len(VARIATIONS) + 3  # a picture that two edits share is changed once


def test_no_kind_is_made_that_is_given(pictures: list[Path], tmp_path: Path) -> None:
    given = [Probe(P.TEXT_GENERALITY, pictures[0], "Whose?", "Ada"), Probe(P.TEXT_LOCALITY, None, "Who is Ada?")]
    (probes,) = made([case(pictures[0], "Whose cup is this?", *given)], tmp_path / "made")
    assert {p.kind for p in probes} == {P.IMAGE_GENERALITY, P.IMAGE_LOCALITY, P.FINEGRAINED_LOCALITY}


def test_an_edit_without_picture_is_asked_in_words_alone(tmp_path: Path) -> None:
    (probes,) = made([case(None, "Who owns it?")], tmp_path / "made")
    assert {p.kind for p in probes} == {P.TEXT_GENERALITY, P.TEXT_LOCALITY}
    assert {p.image for p in probes} == {None}


def test_other_edits_questions_are_asked_about_this_picture(pictures: list[Path], tmp_path: Path) -> None:
    again = Probe(P.TEXT_GENERALITY, pictures[0], "Who owns it?", "Ada")
    cases = [case(pictures[0], "Whose cup?", again), case(pictures[0], "Which size?")]
    cases += [case(pictures[1], "whose CUP"), case(pictures[2], "Who owns it?"), case(None, "Who is Ada?")]
    cases += [case(pictures[3], "Which town?"), case(pictures[4], "Which town?"), case(pictures[1], "Which size?")]
    asked = [[p.prompt for p in probes if p.relation == FROM_OTHER] for probes in made(cases, tmp_path / "made")]
    assert asked[0] == asked[1] == ["Which town?"]
    assert asked[2] == ["Who owns it?", "Which town?"]
    assert asked[4] == []


def test_what_follows_from_the_target_is_not_asked(pictures: list[Path], tmp_path: Path) -> None:
    cases = [case(pictures[0], "Which town is this?", group="entity"), case(pictures[1], "Which river flows here?")]
    of_entity, of_other = made(cases, tmp_path / "made")
    assert FROM_OTHER not in {p.relation for p in of_entity}
    assert FROM_OTHER in {p.relation for p in of_other}


def test_few_of_many_edits_are_asked(pictures: list[Path], tmp_path: Path) -> None:
    cases = [case(picture, f"Question {number}?") for number, picture in enumerate(pictures)]
    for probes in made(cases, tmp_path / "made"):
        assert sum(p.relation == FROM_OTHER for p in probes) == OTHERS


def test_a_question_that_may_be_the_edits_own_is_not_asked(pictures: list[Path], tmp_path: Path) -> None:
    cases = [case(pictures[0], "How MANY cups?"), case(pictures[0], "What is behind?"), case(None, "Is water wet?")]
    probes = made(cases, tmp_path / "made")
    assert [p.prompt for p in probes[0] if p.kind is P.FINEGRAINED_LOCALITY] == ["Is it day or night?"]
    general = {p.prompt for p in probes[1] if p.kind is P.TEXT_LOCALITY}
    assert general == GENERAL.keys() - {"What is water made of?"}


def test_a_wording_that_changes_nothing_is_left_out(tmp_path: Path) -> None:
    (probes,) = made([case(None, "name the owner")], tmp_path / "made")
    prompts = [p.prompt for p in probes if p.kind is P.TEXT_GENERALITY]
    assert prompts == [
        "Please answer: name the owner",
        "Question: name the owner",
        "name the owner Answer briefly.",
    ]


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    paths = write_varied(Image.new("RGB", (3000, 1500)), tmp_path, 1)
    assert {Image.open(path).size for path in paths.values()} == {(LONGEST, LONGEST // 2)}
    paths = write_varied(Image.new("RGB", (1, 1)), tmp_path, 2)
    assert {Image.open(path).size for path in paths.values()} == {(1, 1)}
