"""Atlas' annotation files: read back, free of contradictions, and the same for the same seed."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ldke_pl.atlas import cases
from ldke_pl.atlas.cases import CaseWriter, background, build, draw_pictures, picture
from ldke_pl.atlas.render import HELD_OUT, USUAL
from ldke_pl.atlas.wording import wordings
from ldke_pl.atlas.world import ATTRIBUTES, BACKGROUNDS, SPLITS, World
from ldke_pl.data import EditCase, ProbeKind, parse_cases, read_cases

Rows = list[dict[str, Any]]
EVAL = "edit-eval"
FITTED = ("router-train", "router-val")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "draw_pictures", lambda countries, root: None)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[EditCase]]:
    """Split -> cases as the ordinary reader gives them, pictures neither drawn nor looked up."""
    root = tmp_path_factory.mktemp("atlas")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "draw_pictures", lambda countries, root: None)
        return {split: read_cases("atlas", build(root, split), None) for split in SPLITS}


def asked(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(relation, question) of every question in a row."""
    yield row["relation"], row["src"]
    yield row["relation"], row["rephrase"]
    yield row["relations"]["loc"], row["loc"]
    yield row["relations"]["m_loc"], row["m_loc_q"]
    yield from ((probe["relation"], probe["prompt"]) for probe in row["probes"])
    yield from ((p["relation"], p["ceiling"]["prompt"]) for p in row["probes"] if "ceiling" in p)


def shown(row: dict[str, Any]) -> Iterator[str]:
    """Every picture that a row names."""
    probes = row["probes"] + [probe["ceiling"] for probe in row["probes"] if "ceiling" in probe]
    found = [row["image"], row["image_rephrase"], row["m_loc"], *(probe["image"] for probe in probes)]
    yield from (image for image in found if image is not None)


def is_held_out(relation: str, question: str) -> bool:
    """Whether a question is worded as one that is held out, about any subject."""
    patterns = (re.escape(w).replace(r"\{\}", ".+") for w in wordings(relation, held_out=True))
    return any(re.fullmatch(pattern, question, re.IGNORECASE) for pattern in patterns)


def test_files_are_read_back_without_problems(no_pictures: None, tmp_path: Path) -> None:
    for split in SPLITS:
        parsed = parse_cases("atlas", build(tmp_path, split))
        assert parsed.problems == []
        assert len(parsed.cases) == parsed.n_rows > 0


def test_built_pictures_are_all_there(tmp_path: Path) -> None:
    path = build(tmp_path, "router-val")
    assert len(read_cases("atlas", path, tmp_path)) == len(parse_cases("atlas", path).cases)
    files = [*tmp_path.rglob("*.png")]
    assert len(files) == 32 * 12
    assert Image.open(files[0]).size == (64, 64)
    assert not [*tmp_path.rglob("*.partial")]


def test_build_draws_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(cases, "draw_pictures", lambda countries, root: drawn.append(len(countries)))
    first = build(tmp_path, "router-val").read_bytes()
    assert build(tmp_path, "router-val").read_bytes() == first
    assert drawn == [32]


def test_interrupted_build_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(countries: object, root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cases, "draw_pictures", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, "router-val")
    assert not [*tmp_path.rglob("*.json")]
    monkeypatch.setattr(cases, "draw_pictures", lambda countries, root: None)
    assert build(tmp_path, "router-val").exists()


def test_seed_decides_the_file(no_pictures: None, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    texts = [build(f, "router-val", seed).read_bytes() for f, seed in zip(folders, (0, 0, 1), strict=True)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_pictures_show_the_background_that_is_asked_about(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[object, str, object]] = []

    def render(emblem: object, behind: str, rng: np.random.Generator, variation: object) -> Image.Image:
        drawn.append((emblem, behind, variation))
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(cases, "render", render)
    country = world.countries[3]
    draw_pictures([country], tmp_path)
    behind = [background(country, number) for number in range(6)]
    expected = [(country.emblem, b, v) for v in (USUAL, HELD_OUT) for b in behind]
    assert drawn == expected
    assert {*behind} == {*BACKGROUNDS}
    assert {picture(country, n, held_out=h) for n in range(6) for h in (False, True)} == {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")
    }


def test_joint_set_has_the_agreed_size(all_rows: dict[str, Rows]) -> None:
    joint = [row for row in all_rows[EVAL] if row["joint"]]
    assert Counter(row["group"] for row in joint) == {"entity": 50, "attribute": 250}
    assert len({row["entity"] for row in joint}) == 100


def test_untouched_countries_are_never_edited(world: World, all_rows: dict[str, Rows]) -> None:
    for split, untouched in (("router-train", 24), ("router-val", 8), (EVAL, 28)):
        edited = {row["entity"] for row in all_rows[split]}
        assert {*(c.name for c in world.split(split))} >= edited
        assert len(world.split(split)) - len(edited) == untouched


@pytest.mark.parametrize("split", SPLITS)
def test_joint_set_contradicts_nothing(world: World, all_rows: dict[str, Rows], split: str) -> None:
    joint = [row for row in all_rows[split] if row["joint"]]
    by_group = {g: [row["entity"] for row in joint if row["group"] == g] for g in ("entity", "attribute")}
    assert not {*by_group["entity"]} & {*by_group["attribute"]}
    assert len({*by_group["entity"]}) == len(by_group["entity"])
    facts = [(row["entity"], row["relation"]) for row in joint]
    assert len({*facts}) == len(facts)


@pytest.mark.parametrize("split", SPLITS)
def test_targets_and_locality_come_from_untouched_countries(
    world: World, all_rows: dict[str, Rows], split: str
) -> None:
    edited = {row["entity"] for row in all_rows[split]}
    untouched = {c.name for c in world.split(split)} - edited
    for row in all_rows[split]:
        assert {*row["entities"].values()} <= untouched
        assert row["group"] == "attribute" or row["alt"] in untouched
        for probe in row["probes"]:
            assert probe["kind"] not in ("text_locality", "image_locality") or probe["entity"] in untouched
            assert probe["kind"] != "visual_locality" or row["relation"] == "name" or probe["entity"] in untouched


def test_look_alikes_of_joint_entity_edits_keep_their_name(all_rows: dict[str, Rows]) -> None:
    renamed = {row["entity"] for row in all_rows[EVAL] if row["joint"] and row["group"] == "entity"}
    about_names = [row for row in all_rows[EVAL] if row["group"] == "entity"]
    looked_at = [p["entity"] for row in about_names for p in row["probes"] if p["kind"] == "visual_locality"]
    assert looked_at
    assert not {*looked_at} & renamed


@pytest.mark.parametrize("split", FITTED)
def test_nothing_that_is_held_out_reaches_the_router(all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        assert not [question for relation, question in asked(row) if is_held_out(relation, question)]
        assert not [image for image in shown(row) if "unusual" in image]


def test_evaluation_tests_held_out_wordings_and_pictures(all_rows: dict[str, Rows]) -> None:
    for row in all_rows[EVAL]:
        assert not is_held_out(row["relation"], row["src"])
        assert "/usual" in row["image"]
        texts = [row["rephrase"], *(p["prompt"] for p in row["probes"] if p["kind"] == "text_generality")]
        assert len({*texts}) == 2
        assert all(is_held_out(row["relation"], text) for text in texts)
        images = [row["image_rephrase"], *(p["image"] for p in row["probes"] if p["kind"] == "image_generality")]
        assert all("/unusual" in image for image in images)


@pytest.mark.parametrize("split", SPLITS)
def test_new_renderings_are_not_the_edits_own(all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        number = int(row["image"][-5])
        assert number < 3
        new = [row["image_rephrase"], *(p["image"] for p in row["probes"] if p["kind"] == "image_generality")]
        assert all(int(image[-5]) >= 3 for image in new)


@pytest.mark.parametrize("split", SPLITS)
def test_only_reliability_repeats_the_request(read: dict[str, list[EditCase]], split: str) -> None:
    for case in read[split]:
        request = (case.request.image, case.request.prompt)
        repeats = [probe.kind for probe in case.probes if (probe.image, probe.prompt) == request]
        assert repeats == [ProbeKind.RELIABILITY], case.case_id


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_of_edit_alternate_and_joint_ones_come_first(all_rows: dict[str, Rows], split: str) -> None:
    rows = all_rows[split]
    assert [row["group"] for row in rows[:20]] == ["entity", "attribute"] * 10
    for group in ("entity", "attribute"):
        joint = [row["joint"] for row in rows if row["group"] == group]
        assert joint == sorted(joint, reverse=True)


@pytest.mark.parametrize("split", SPLITS)
def test_every_attribute_is_edited(all_rows: dict[str, Rows], split: str) -> None:
    relations = Counter(row["relation"] for row in all_rows[split] if row["group"] == "attribute")
    assert set(relations) == set(ATTRIBUTES)
    assert max(relations.values()) < 1.5 * min(relations.values())


def test_writer_is_deterministic(world: World, all_rows: dict[str, Rows]) -> None:
    assert CaseWriter(World(), EVAL, seed=0).rows() == all_rows[EVAL]
    assert CaseWriter(world, EVAL, seed=1).rows() != all_rows[EVAL]
