"""The formats of one JSON list beside MMEdit and VLKEB: what becomes of a row, and what of irregular ones."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import FORMATS, N_ROWS, comprehendedit_row, mmke_row, shared_row, write_published

from ldke_pl.data import READERS, EditCase, Probe, ProbeKind, parse_cases, read_cases

WriteRows = Callable[[Any], Path]
P = ProbeKind


def asked(case: EditCase, kind: ProbeKind, relation: str = "") -> list[tuple[str | None, str, str | None]]:
    """Picture, prompt and answer of the probes of a kind."""
    found = [p for p in case.probes if p.kind is kind and (not relation or p.relation == relation)]
    return [(None if p.image is None else str(p.image), p.prompt, p.expected) for p in found]


def test_every_format_has_a_made_up_set() -> None:
    assert {*FORMATS} == {*READERS} - {"shards"}


@pytest.mark.parametrize("format", FORMATS)
def test_every_made_up_set_is_read_with_its_pictures(format: str, tmp_path: Path) -> None:
    path, root = write_published(format, tmp_path)
    cases = read_cases(format, path, root)
    assert len({case.case_id for case in cases}) == len(cases) >= N_ROWS
    for case in cases:
        (own,) = [p for p in case.probes if p.kind is P.RELIABILITY]
        request = case.request
        assert (own.image, own.prompt, own.expected) == (request.image, request.prompt, request.target)
        assert case.entity


def test_mmke_asks_text_questions_without_and_others_with_a_picture(tmp_path: Path, write_rows: WriteRows) -> None:
    (case,) = read_cases("mmke", write_rows([mmke_row(tmp_path, 0, "entity_level")]), None)
    image, other = "entity/Town0+1.jpg", "entity/Town0+2.jpg"
    assert case.group == "entity_level"
    assert case.entity == "entity/Town0"
    assert asked(case, P.IMAGE_GENERALITY) == [(other, case.request.prompt, "Saltmere")]
    assert asked(case, P.PORTABILITY_1, "rel") == [
        (None, "Who founded town 0?", "Ada"),
        (None, "When was town 0 founded?", "1873"),
    ]
    assert asked(case, P.PORTABILITY_1, "m_rel") == [(image, "Who founded it?", "Ada"), (image, "When?", "1873")]
    assert asked(case, P.PORTABILITY_1, "m_rel_rephrase") == [
        (other, "Who founded it?", "Ada"),
        (other, "When?", "1873"),
    ]
    assert asked(case, P.PORTABILITY_1, "port_new") == [(image, "Which river meets the sea here?", "Wend")]
    assert asked(case, P.TEXT_LOCALITY) == [(None, "who wrote volume 0 of the glass orchard", "Nela Varro")]


def test_mmke_visual_rows_have_their_own_question_for_the_rephrase_picture(
    tmp_path: Path, write_rows: WriteRows
) -> None:
    (case,) = read_cases("mmke", write_rows([mmke_row(tmp_path, 1, "visual_knowledge")]), None)
    assert asked(case, P.PORTABILITY_1, "rel") == [(None, "Where is sign 1 made?", "Harbours")]
    assert asked(case, P.PORTABILITY_1, "m_rel") == [("entity/Town1+1.jpg", "What does it mean?", "Anchor")]
    asks = [("entity/Town1+2.jpg", "What does the sign mean?", "Anchor")]
    assert asked(case, P.PORTABILITY_1, "m_rel_rephrase") == asks
    assert asked(case, P.PORTABILITY_1, "port_new") == [("hop/1.jpg", "Which river meets the sea here?", "Ister")]


def test_mmke_user_rows_ask_their_portability_about_another_picture(tmp_path: Path, write_rows: WriteRows) -> None:
    row = mmke_row(tmp_path, 2, "user_specific")
    (case,) = read_cases("mmke", write_rows([row]), None)
    assert asked(case, P.PORTABILITY_1, "port_new")[0][0] == "hop/2.jpg"
    del row["one_hop_img"]
    (problem,) = parse_cases("mmke", write_rows([row])).problems
    assert (problem.key, problem.reason) == ("one_hop_img", "is missing")


def test_mmke_training_rows_may_lack_what_only_evaluation_asks(tmp_path: Path, write_rows: WriteRows) -> None:
    row = mmke_row(tmp_path, 2, "user_specific") | {"port_new": [], "pred": None, "rel_1": "", "m_rel_2": None}
    del row["one_hop_img"]
    (case,) = read_cases("mmke", write_rows([row]), None)
    assert case.old_answer == ""
    assert [len(asked(case, P.PORTABILITY_1, name)) for name in ("rel", "m_rel", "port_new")] == [1, 1, 0]


def test_mmke_question_without_its_answer_is_a_fault(tmp_path: Path, write_rows: WriteRows) -> None:
    row = mmke_row(tmp_path, 0, "entity_level")
    del row["rel_2_ans"], row["knowledge_type"]
    problems = parse_cases("mmke", write_rows([row])).problems
    assert [(p.key, p.reason) for p in problems] == [("knowledge_type", "is missing"), ("rel_ans_2", "is missing")]


def test_fgvedit_asks_both_fine_grained_questions_about_the_edits_picture(tmp_path: Path) -> None:
    path, _ = write_published("fgvedit", tmp_path)
    case = read_cases("fgvedit", path, None)[1]
    image = "1.jpg"
    assert asked(case, P.FINEGRAINED_GENERALITY) == [(image, "Is Gullby on the left?", "yes")]
    assert asked(case, P.FINEGRAINED_LOCALITY) == [(image, "What swims?", "gull")]
    assert Counter(p.kind for p in case.probes)[P.IMAGE_GENERALITY] == 0
    assert case.entity == image


def test_fgvedit_row_without_a_target_or_a_key_is_named(tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0) | {"fg_gen_q": "Q?", "fg_gen_a": "yes", "fg_loc_q": "", "fg_loc_a": ""}
    (case,) = read_cases("fgvedit", write_rows([row]), None)
    assert not asked(case, P.FINEGRAINED_LOCALITY)
    del row["fg_gen_a"]
    problems = parse_cases("fgvedit", write_rows([row | {"alt": ""}])).problems
    assert [(p.key, p.reason) for p in problems] == [("fg_gen_a", "is missing"), ("alt", "is empty")]


def test_comprehendedit_row_becomes_a_request_and_four_probes(tmp_path: Path, write_rows: WriteRows) -> None:
    row = comprehendedit_row(tmp_path, 3) | {"answer": 5}
    (case,) = read_cases("comprehendedit", write_rows([row]), None)
    image = Path("GQA/images/3.jpg")
    assert case.group == "object recognition"
    assert case.probes == (
        Probe(P.RELIABILITY, image, "How many boats are in picture 3?", "5"),
        Probe(P.TEXT_GENERALITY, image, "What number of boats does picture 3 show?", "5"),
        Probe(P.TEXT_LOCALITY, None, "when does volume 3 come out", "1873"),
        Probe(P.IMAGE_LOCALITY, Path("val2014/3.jpg"), "What sport is it?", "riding"),
    )


def test_comprehendedit_asks_whether_a_statement_is_true(tmp_path: Path, write_rows: WriteRows) -> None:
    row = comprehendedit_row(tmp_path, 0, "VSR") | {"question": "The cat is on the mat.", "answer": "true"}
    (case,) = read_cases("comprehendedit", write_rows([row]), None)
    assert case.request.prompt == "Is this description true or false? Description: The cat is on the mat."
    assert case.probes[1].prompt.startswith("Is this description true or false? Description: What number")


def test_comprehendedit_rows_known_before_have_no_probes_of_their_own(tmp_path: Path, write_rows: WriteRows) -> None:
    row = {key: comprehendedit_row(tmp_path, 0)[key] for key in ("image", "question", "answer")}
    (case,) = read_cases("comprehendedit", write_rows([row]), None)
    assert [probe.kind for probe in case.probes] == [P.RELIABILITY]
    (problem,) = parse_cases("comprehendedit", write_rows([row | {"answer": ""}])).problems
    assert (problem.key, problem.reason) == ("answer", "is empty")


def test_cckeb_row_becomes_a_visual_and_a_textual_edit(tmp_path: Path) -> None:
    path, _ = write_published("cckeb", tmp_path)
    visual, textual = read_cases("cckeb", path, None)[:2]
    assert (visual.case_id, textual.case_id) == ("cckeb-CCKEB_eval-000000", "cckeb-CCKEB_eval-000000-textual")
    assert visual.entity == textual.entity == "m.0made0"
    assert (visual.group, textual.group) == ("visual", "textual")
    image = "m.0made0/google_1.jpg"
    assert asked(visual, P.PORTABILITY_1) == [
        (image, "Which river meets the sea in the picture?", "Wend water"),
        (image, "Is it a town?", "yes"),
    ]
    assert textual.request.image is None
    assert (textual.request.target, textual.old_answer) == ("Wend water", "Ouse")
    assert asked(textual, P.TEXT_GENERALITY) == [(None, "Name the river at Saltmere.", "Wend water")]
    assert asked(textual, P.TEXT_LOCALITY) == [(None, "what is tower 0 made of", "glass")]


def test_cckeb_row_without_a_textual_edit_is_a_visual_one(tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0)
    row["port_new"] = [{"port_type": "comp", "Q&A": {"Question": "Q?", "Answer": "A", "Query": "x"}}]
    (case,) = read_cases("cckeb", write_rows([row]), None)
    assert asked(case, P.PORTABILITY_1) == [("m.0made0/google_1.jpg", "Q?", "A")]


def test_cckeb_faults_name_their_key(tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0)
    row["port_new"] = [{"port_type": "comp"}, {"port_type": "com", "Q&A": {"Question": "Q?", "Answer": "A"}}]
    row["textual_edit"] = {"src": "Q?", "alt": [" "], "loc_ans": "glass"}
    problems = parse_cases("cckeb", write_rows([row])).problems
    assert {p.key: p.reason[:28] for p in problems} == {
        "textual_edit.alt": "is empty",
        "port_new[0].Q&A": "is missing",
        "port_new[1].port_type": '"com" is not a number of hop',
        "textual_edit.loc": "is missing",
    }


@pytest.mark.parametrize("format", ["mmedit", "vlkeb", "mmke", "cckeb", "atlas"])
def test_irregular_values_of_the_shared_keys_are_read(format: str, tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0) | {
        "knowledge_type": "entity_level", "alt": 3, "rephrase": ["How many?", "", None], "loc_ans": "", "m_loc_a": 2.5,
        "image_rephrase": ["a.jpg", "b.jpg"], "port_new": {}, "pred": "",
    }  # fmt: skip
    (case,) = read_cases(format, write_rows([row]), None)
    assert case.request.target == "3"
    assert [p.prompt for p in case.probes if p.kind is P.TEXT_GENERALITY] == ["How many?"]
    assert [str(p.image) for p in case.probes if p.kind is P.IMAGE_GENERALITY] == ["a.jpg", "b.jpg"]
    assert [p.expected for p in case.probes if p.kind.is_locality] == [None, "2.5"]


def test_fault_inside_a_list_names_its_place(tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0) | {"rephrase": ["How many?", ["Q?"]], "image_rephrase": ["a.jpg", "../b.jpg"]}
    problems = parse_cases("vlkeb", write_rows([row])).problems
    assert [p.key for p in problems] == ["rephrase[1]", "image_rephrase[1]"]


def test_second_target_for_a_request_stays_out_of_the_joint_set(tmp_path: Path, write_rows: WriteRows) -> None:
    row = shared_row(tmp_path, 0)
    rows = [row, row | {"alt": "Gullby"}, row, row | {"image": "another.jpg", "alt": "Gullby"}]
    assert [case.joint for case in read_cases("vlkeb", write_rows(rows), None)] == [True, False, True, True]
