"""MC-MKE: edit files, the files of probes beside them, and paths that are the authors' own."""

import json
from collections import Counter
from pathlib import Path

import pytest
from published import N_ROWS, RIVERS, TOWNS, write_ie, write_iro, write_lines, write_published, write_sro

from ldke_pl.data import EditCase, ProbeKind, parse_cases, read_cases, scored_together
from ldke_pl.errors import DataError

P = ProbeKind


@pytest.fixture
def ie(tmp_path: Path) -> Path:
    """The ie edit file, with its files of probes beside it."""
    return write_ie(tmp_path / "ie_edit", tmp_path / "root")


def prompts(case: EditCase, kind: ProbeKind) -> list[str]:
    return [probe.prompt for probe in case.probes if probe.kind is kind]


def test_edit_is_made_with_the_cloze_and_asked_about_with_questions(ie: Path, tmp_path: Path) -> None:
    case = read_cases("mcmke", ie, tmp_path / "root")[0]
    assert case.case_id == "mcmke-final_ie_edit_input-000000"
    assert (case.group, case.entity, case.relation, case.old_answer) == ("ie", "Saltmere", "ie", "Saltmere")
    request = case.request
    assert (request.prompt, request.target, request.group) == ("The town in picture 0 is", "Gullby", "entity")
    assert prompts(case, P.TEXT_GENERALITY) == [
        "Which town is shown in picture 0?", *(f"Name town 0, way {n}." for n in range(4)),
    ]  # fmt: skip
    assert prompts(case, P.IMAGE_GENERALITY) == [request.prompt] * 2
    assert prompts(case, P.PORTABILITY_1) == ["Its river is"]


def test_absolute_paths_are_cut_at_the_folder_of_images(ie: Path, tmp_path: Path) -> None:
    case = read_cases("mcmke", ie, None)[0]
    assert case.request.image == Path("images/e0_u0.jpg")
    assert [str(p.image) for p in case.probes if p.kind is P.IMAGE_GENERALITY] == [
        "images/e0_u1.jpg",
        "images/e0_u2.jpg",
    ]
    assert read_cases("mcmke", ie, tmp_path / "root")[0].request.image == tmp_path / "root" / "images" / "e0_u0.jpg"


def test_last_of_several_folders_of_images_counts(ie: Path) -> None:
    rows = [json.loads(line) for line in ie.read_text().splitlines()]
    rows[0]["images"] = ["/home/images/mke/images/e.jpg", "images/images/f.jpg"]
    case = read_cases("mcmke", write_lines(ie, rows), None)[0]
    assert case.request.image == Path("images/e.jpg")
    (ie.parent / "final_ie_test_image_generality.jsonl").unlink()
    case = read_cases("mcmke", ie, None)[0]
    assert [str(p.image) for p in case.probes if p.kind is P.IMAGE_GENERALITY] == ["images/images/f.jpg"]


def test_locality_asks_about_what_other_edits_change(ie: Path) -> None:
    cases = read_cases("mcmke", ie, None)
    found = [p for p in cases[0].probes if p.kind is P.IMAGE_LOCALITY]
    assert [(str(p.image), p.prompt, p.expected, p.entity, p.relation) for p in found] == [
        (f"images/e{i}_u0.jpg", f"Which town is shown in picture {i}?", TOWNS[i], TOWNS[i], "ie") for i in (2, 3)
    ]
    together = scored_together(cases)[0]
    kinds = [p.kind for p in cases[0].probes]
    assert [kept for kept, kind in zip(together, kinds, strict=True) if kind is P.IMAGE_LOCALITY] == [False, False]


def test_consistency_that_the_authors_leave_out_is_left_out(ie: Path) -> None:
    cases = read_cases("mcmke", ie, None)
    assert [bool(prompts(case, P.PORTABILITY_1)) for case in cases] == [True, False, True, True, True, True]
    (ie.parent / "ie_consistenct_ignore_idx.json").unlink()
    assert all(prompts(case, P.PORTABILITY_1) for case in read_cases("mcmke", ie, None))


def test_edit_file_alone_says_nearly_as_much(ie: Path) -> None:
    beside = read_cases("mcmke", ie, None)
    for path in ie.parent.glob("final_ie_*test*.jsonl"):
        path.unlink()
    alone = read_cases("mcmke", ie, None)
    kinds = (P.TEXT_GENERALITY, P.IMAGE_GENERALITY, P.IMAGE_LOCALITY)
    for first, second in zip(beside, alone, strict=True):
        assert [p for p in first.probes if p.kind in kinds] == [p for p in second.probes if p.kind in kinds]
    assert not any(prompts(case, P.PORTABILITY_1) for case in alone)


def test_locality_about_an_edit_that_is_not_in_the_file_is_left_out(ie: Path) -> None:
    (ie.parent / "final_ie_locality_test.jsonl").unlink()
    write_lines(ie, [json.loads(line) for line in ie.read_text().splitlines()][:3])
    counts = [len(prompts(case, P.IMAGE_LOCALITY)) for case in read_cases("mcmke", ie, None)]
    assert counts == [1, 0, 0]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("test_text_generality", {P.RELIABILITY, P.TEXT_GENERALITY}),
        ("test_image_generality", {P.RELIABILITY, P.IMAGE_GENERALITY}),
        ("locality_test", {P.RELIABILITY, P.IMAGE_LOCALITY}),
        ("test_consistency", {P.RELIABILITY, P.PORTABILITY_1}),
        ("edit_reliability_test", {P.RELIABILITY}),
    ],
)
def test_file_of_probes_is_read_with_the_edits_beside_it(name: str, kinds: set[ProbeKind], ie: Path) -> None:
    cases = read_cases("mcmke", ie.parent / f"final_ie_{name}.jsonl", None)
    assert len(cases) == N_ROWS
    assert {probe.kind for case in cases for probe in case.probes} == kinds


def test_file_of_probes_without_edits_beside_it_says_what_is_needed(ie: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely.jsonl"
    (ie.parent / "final_ie_locality_test.jsonl").rename(lonely)
    with pytest.raises(DataError, match=r"lonely\.jsonl holds no edits of MC-MKE, and no edit file") as caught:
        read_cases("mcmke", lonely, None)
    assert "final_ie_edit_input.jsonl" in caught.value.hint


def test_iro_edit_is_asked_about_in_text_too(tmp_path: Path) -> None:
    path = write_iro(tmp_path / "iro_edit", tmp_path / "root")
    case = read_cases("mcmke", path, tmp_path / "root")[0]
    assert (case.group, case.entity, case.relation, case.request.group) == ("iro", "Saltmere", "river", "attribute")
    (probe,) = [p for p in case.probes if p.kind is P.PORTABILITY_1]
    assert (probe.image, probe.prompt, probe.expected) == (None, "The river of Saltmere is", RIVERS[1])
    assert prompts(case, P.TEXT_GENERALITY) == ["Which river is at town 0?"]
    assert len(prompts(case, P.IMAGE_GENERALITY)) == 1


def test_sro_edit_has_no_picture(tmp_path: Path) -> None:
    case = read_cases("mcmke", write_sro(tmp_path), None)[0]
    assert case.request.image is None
    assert prompts(case, P.TEXT_GENERALITY) == ["What is the river of Saltmere?", "Name the river of Saltmere."]
    (probe,) = [p for p in case.probes if p.kind is P.TEXT_LOCALITY]
    assert (probe.image, probe.expected, probe.entity, probe.relation) == (None, RIVERS[1], "Gullby", "river")


def test_folder_holds_every_edit_file_below_it(tmp_path: Path) -> None:
    path, root = write_published("mcmke", tmp_path)
    write_iro(path / "iro_edit", root)
    write_sro(path / "sro_edit")
    cases = read_cases("mcmke", path, root)
    assert Counter(case.group for case in cases) == {"ie": N_ROWS, "iro": N_ROWS, "sro": N_ROWS}
    assert len({case.case_id for case in cases}) == 3 * N_ROWS


def test_folder_without_an_edit_file_is_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "some.jsonl", [{"a": 1}])
    with pytest.raises(DataError, match="holds no edit file of MC-MKE"):
        read_cases("mcmke", tmp_path, None)


def test_faults_name_the_file_that_the_key_is_from(ie: Path) -> None:
    rows = [json.loads(line) for line in ie.read_text().splitlines()]
    rows[0]["new_e_ent"] = ""
    rows[1]["images"] = []
    rows[2]["images"] = ["/somewhere/e.jpg", "images/../../e.jpg"]
    write_lines(ie, rows)
    ie.write_text(ie.read_text() + "{broken\n[]\n")
    probes = ie.parent / "final_ie_test_consistency.jsonl"
    lines = probes.read_text().splitlines()
    lines[3] = lines[3].replace(RIVERS[3], "")
    probes.write_text("\n".join([*lines, "{"]))
    problems = parse_cases("mcmke", ie).problems
    assert [(p.file.name, p.row, p.key, p.reason[:20]) for p in problems] == [
        (ie.name, 0, "new_e_ent", "is empty"),
        (ie.name, 1, "images", "is empty"),
        (ie.name, 2, "images[0]", "is an absolute path;"),
        (ie.name, 2, "images[1]", 'contains ".."; a pat'),
        (probes.name, 3, "consistency_iro_output", "is empty"),
        (ie.name, 6, "", "is not JSON: Expecti"),
        (ie.name, 7, "", "is a list, not an ob"),
        (probes.name, 6, "", "is not JSON: Expecti"),
    ]
