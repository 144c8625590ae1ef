"""The published formats: what becomes of a good row, and how the faults of bad rows are reported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldke_pl.data import READERS, EditCase, Probe, ProbeKind, parse_cases, read_cases
from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.shared import PUBLISHED_KEYS, parse_probes, parse_request
from ldke_pl.errors import ConfigError, DataError

FixtureFile = Callable[[str], Path]
WriteRows = Callable[[Any], Path]


def probe(case: EditCase, kind: ProbeKind) -> Probe:
    (found,) = [probe for probe in case.probes if probe.kind is kind]
    return found


def test_mmedit_row_becomes_a_request_and_five_probes(fixture_file: FixtureFile) -> None:
    case = read_cases("mmedit", fixture_file("mmedit_vqa.json"), None)[0]
    image = Path("val2014/COCO_val2014_900000000001.jpg")
    src, alt = "How many kites are in the sky?", "three"
    assert (case.request.image, case.request.prompt, case.request.target) == (image, src, alt)
    assert case.probes == (
        Probe(ProbeKind.RELIABILITY, image, src, alt),
        Probe(ProbeKind.TEXT_GENERALITY, image, "What number of kites can be seen above?", alt),
        Probe(ProbeKind.IMAGE_GENERALITY, Path("val2014_image_rephrase/1_COCO_val2014_900000000001.png"), src, alt),
        Probe(ProbeKind.TEXT_LOCALITY, None, "who invented the paper umbrella", "Ivo Tamsin"),
        Probe(
            ProbeKind.IMAGE_LOCALITY,
            Path("val2014/COCO_val2014_900000000009.jpg"),
            "What is this tool for?",
            "gardening",
        ),
    )
    assert case.case_id == "mmedit-mmedit_vqa-000000"
    assert case.entity == "val2014/COCO_val2014_900000000001.jpg"
    assert (case.group, case.relation, case.old_answer) == ("", "", "one")


def test_mmedit_keeps_a_rephrase_equal_to_the_prompt(fixture_file: FixtureFile) -> None:
    case = read_cases("mmedit", fixture_file("mmedit_vqa.json"), None)[1]
    assert probe(case, ProbeKind.TEXT_GENERALITY).prompt == case.request.prompt


def test_white_space_around_texts_goes_and_an_empty_old_answer_is_allowed(fixture_file: FixtureFile) -> None:
    case = read_cases("mmedit", fixture_file("mmedit_vqa.json"), None)[1]
    assert case.request.target == "green"
    assert case.old_answer == ""


def test_vlkeb_one_hop_portability_uses_the_edits_picture(fixture_file: FixtureFile) -> None:
    cases = read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), None)
    assert probe(cases[0], ProbeKind.PORTABILITY_1) == Probe(
        ProbeKind.PORTABILITY_1,
        Path("m.0made1/google_1.jpg"),
        "Which river meets the sea at the town in the picture?",
        "The Wend",
    )
    assert [case.case_id for case in cases] == ["vlkeb-vlkeb_onehop-000000", "vlkeb-vlkeb_onehop-000001"]
    assert [case.entity for case in cases] == ["m.0made1", "m.0made2"]
    assert cases[0].old_answer == "Port Ellery, Norland"


def test_vlkeb_multi_hop_kinds_follow_the_number_of_hops(fixture_file: FixtureFile) -> None:
    first, second = read_cases("vlkeb", fixture_file("vlkeb_multihop.json"), None)
    asked = {p.kind.value: (p.image, p.expected) for p in first.probes if p.kind.is_portability}
    image = Path("m.0made1/google_1.jpg")
    assert asked == {
        "portability_1": (image, "The Wend"),
        "portability_2": (image, "Mount Orrel"),
        "portability_3": (image, "Tove Hask"),
        "portability_4": (image, "Gullby"),
    }
    assert not any(p.kind.is_portability for p in second.probes)


def test_vlkeb_image_without_a_folder_is_its_own_entity(fixture_file: FixtureFile) -> None:
    assert read_cases("vlkeb", fixture_file("vlkeb_multihop.json"), None)[1].entity == "loose.jpg"


BROKEN_VLKEB = {
    (1, "src"): "is empty",
    (1, "alt"): "is a boolean, not a text",
    (1, "image"): "a path may not leave the image root",
    (1, "image_rephrase"): "is an absolute path",
    (1, "loc"): "is empty",
    (1, "loc_ans"): "is null",
    (1, "m_loc_a"): "is missing",
    (2, ""): "is a text, not an object",
    (3, "port_new[0].port_type"): '"5-hop" is not a number of hops. Did you mean',
    (3, "port_new[1].Q&A"): "is missing",
    (3, "port_new[2].Q&A"): "is a list, not an object",
    (3, "port_new[3].Q&A.Answer"): "is empty",
    (3, "port_new[4].port_a"): "is missing",
    (3, "port_new[5]"): "is a text, not an object",
}


def test_every_fault_is_found_and_the_good_row_still_parsed(fixture_file: FixtureFile) -> None:
    parsed = parse_cases("vlkeb", fixture_file("vlkeb_broken.json"))
    assert [case.case_id for case in parsed.cases] == ["vlkeb-vlkeb_broken-000000"]
    assert parsed.n_rows == 4
    found = {(problem.row, problem.key): problem.reason for problem in parsed.problems}
    assert found.keys() == BROKEN_VLKEB.keys()
    assert len(found) == len(parsed.problems)
    for where, reason in BROKEN_VLKEB.items():
        assert reason in found[where]


def test_read_cases_reports_all_bad_rows_in_one_error(fixture_file: FixtureFile) -> None:
    with pytest.raises(DataError) as caught:
        read_cases("vlkeb", fixture_file("vlkeb_broken.json"), None)
    message = caught.value.message
    assert "3 of 4 rows" in message
    assert f"{len(BROKEN_VLKEB)} problems" in message
    assert 'vlkeb_broken.json row 1, key "m_loc_a": is missing' in message
    assert "vlkeb_broken.json row 2: is a text" in message
    assert "more problems" not in message
    assert caught.value.hint


def test_a_long_list_of_bad_rows_is_cut_and_counted(write_rows: WriteRows) -> None:
    with pytest.raises(DataError) as caught:
        read_cases("vlkeb", write_rows([None] * 25), None)
    message = caught.value.message
    assert "25 of 25 rows" in message
    assert "row 19: is null" in message
    assert "row 20" not in message
    assert "... and 5 more problems." in message


@pytest.mark.parametrize("format", ["mmedit", "vlkeb"])
@pytest.mark.parametrize("key", PUBLISHED_KEYS)
def test_each_published_key_is_required(
    format: str, key: str, fixture_file: FixtureFile, write_rows: WriteRows
) -> None:
    row = json.loads(fixture_file("mmedit_vqa.json").read_text())[0]
    del row[key]
    (problem,) = parse_cases(format, write_rows([row])).problems
    assert (problem.row, problem.key, problem.reason) == (0, key, "is missing")


def test_half_a_surrogate_pair_is_a_fault(fixture_file: FixtureFile, write_rows: WriteRows) -> None:
    row = json.loads(fixture_file("mmedit_vqa.json").read_text())[0] | {"alt": "three \ud83d"}
    (problem,) = parse_cases("mmedit", write_rows([row])).problems
    assert problem.key == "alt"
    assert "surrogate" in problem.reason


def test_limit_takes_the_first_cases(fixture_file: FixtureFile) -> None:
    path = fixture_file("vlkeb_onehop.json")
    assert read_cases("vlkeb", path, None, limit=1) == read_cases("vlkeb", path, None)[:1]
    assert len(read_cases("vlkeb", path, None, limit=99)) == 2


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int, fixture_file: FixtureFile) -> None:
    with pytest.raises(ConfigError, match=f"limit={limit}"):
        read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), None, limit=limit)


def test_an_unknown_format_names_the_closest_and_all_choices() -> None:
    with pytest.raises(ConfigError) as caught:
        read_cases("vlkb", Path("eval.json"), None)
    assert '"vlkb"' in caught.value.message
    assert caught.value.hint == f'Did you mean "vlkeb"? Choices: {", ".join(READERS)}.'


def test_a_far_off_format_gets_the_choices_only() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_cases("zzzz", Path("eval.json"))
    assert caught.value.hint == f"Choices: {', '.join(READERS)}."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Q&A", "port_q", "kind"]), inner),
    max_leaves=6,
)
row_keys = st.sampled_from([
    *PUBLISHED_KEYS, "port_new", "probes", "relations", "group", "knowledge_type", "rel_1", "m_rel", "one_hop_img",
    "fg_gen_q", "question", "answer", "textual_edit", "prompt", "target", "rephrases",
])  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.dictionaries(row_keys, json_values) | json_values, min_size=1, max_size=4))
@pytest.mark.parametrize("format", [format for format in READERS if format not in ("mcmke", "okedit", "shards")])
def test_whatever_the_rows_each_is_a_case_or_a_problem(
    format: str, rows: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any_{format}.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    parsed = parse_cases(format, path, Path("images"))
    good = {int(case.case_id.split("-")[2]) for case in parsed.cases}
    bad = {problem.row for problem in parsed.problems}
    assert good.isdisjoint(bad)
    assert good | bad == set(range(len(rows)))


joined_keys = st.sampled_from([
    "ie_edit_input_idx", "ie_cloze", "ie_question", "ie_question_paraphrases", "new_e_ent", "e_ent", "images",
    "locality_test", "locality_test_dict", "generality_images", "consistency_iro_input_cloze", "question_id",
    "image_id", "question", "rephrased_questions", "counterfact_answer", "answers",
])  # fmt: skip
joined_rows = st.lists(st.dictionaries(joined_keys, json_values | st.integers(0, 2)) | json_values, max_size=3)


@settings(deadline=None, max_examples=80)
@given(edits=joined_rows, beside=joined_rows)
def test_whatever_the_files_that_are_joined_each_row_is_a_case_or_a_problem(
    edits: list[Any], beside: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "joined"
    folder.mkdir(exist_ok=True)
    first = {"ie_edit_input_idx": 0, "ie_cloze": "It is", "locality_test": [1]}
    for name, rows in (("edits", [first, *edits]), ("probes", [{"ie_edit_input_idx": 1}, *beside])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": [first, *edits]}))
    (folder / "OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": [first, *beside]}))
    for format, path in (("mcmke", folder / "edits.jsonl"), ("okedit", folder)):
        parsed = parse_cases(format, path, folder)
        good = {int(case.case_id[-6:]) for case in parsed.cases}
        assert good | {problem.row for problem in parsed.problems} == set(range(len(edits) + 1))


texts = st.text(st.characters(codec="utf-8"), min_size=1).map(lambda text: f"x{text}x")


@settings(deadline=None, max_examples=50)
@given(values=st.fixed_dictionaries({key: texts for key in ("src", "rephrase", "alt", "loc", "loc_ans")}))
def test_texts_reach_the_probes_unchanged(values: dict[str, str]) -> None:
    faults: dict[str, str] = {}
    row = Fields({**values, "loc": f"nq question: {values['loc']}", "image": "a.jpg"}, None, faults)
    reliability, generality, locality = parse_probes(row, parse_request(row))
    assert not faults
    assert (reliability.prompt, reliability.expected) == (values["src"], values["alt"])
    assert (generality.prompt, generality.expected) == (values["rephrase"], values["alt"])
    assert (locality.prompt, locality.expected) == (values["loc"], values["loc_ans"])
