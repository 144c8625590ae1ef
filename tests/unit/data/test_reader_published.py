"""The real annotation files, where a copy lies beside the repository (they are not ours to commit)."""

from collections import Counter
from pathlib import Path

import pytest

from ldke_pl.data import EditCase, ProbeKind, read_cases

PUBLISHED = Path(__file__).parents[3].parent / "shared" / "data"
FILES = {
    ("vlkeb", "vlkeb/eval.json"): 3174,
    ("vlkeb", "vlkeb/eval_edit_onehop.json"): 1278,
    ("mmedit", "mmedit/vqa_eval.json"): 2093,
    ("mmedit", "mmedit/caption_eval_edit.json"): 1000,
}
BASE_KINDS = (
    ProbeKind.RELIABILITY,
    ProbeKind.TEXT_GENERALITY,
    ProbeKind.IMAGE_GENERALITY,
    ProbeKind.TEXT_LOCALITY,
    ProbeKind.IMAGE_LOCALITY,
)


def read_published(format: str, name: str) -> list[EditCase]:
    path = PUBLISHED / name
    if not path.is_file():
        pytest.skip(f"the published file {path} is not here; data/README.md says how to get it")
    return read_cases(format, path, None)


@pytest.mark.parametrize(("format", "name"), list(FILES))
def test_every_row_is_read(format: str, name: str) -> None:
    cases = read_published(format, name)
    count = FILES[format, name]
    assert len(cases) == count
    assert len({case.case_id for case in cases}) == count
    expected = Counter({kind: count for kind in BASE_KINDS})
    if "onehop" in name:
        expected[ProbeKind.PORTABILITY_1] = count
    assert Counter(probe.kind for case in cases for probe in case.probes) == expected


@pytest.mark.parametrize(("format", "name"), list(FILES))
def test_texts_are_clean(format: str, name: str) -> None:
    for case in read_published(format, name):
        for probe in case.probes:
            assert not probe.prompt.lower().startswith("nq question")
            assert probe.prompt == probe.prompt.strip() != ""
            assert probe.expected
        assert case.probes[0].expected == case.request.target
        assert case.entity


def test_equal_rephrases_of_mmedit_are_kept() -> None:
    cases = read_published("mmedit", "mmedit/vqa_eval.json")
    generality = [(case, probe) for case in cases for probe in case.probes if probe.kind is ProbeKind.TEXT_GENERALITY]
    assert sum(case.request.prompt == probe.prompt for case, probe in generality) == 45


def test_entities_group_the_rows_that_share_one() -> None:
    vlkeb = read_published("vlkeb", "vlkeb/eval.json")
    assert len({case.entity for case in vlkeb}) == 2847
    assert all(case.entity.startswith("m.") for case in vlkeb)
    assert not any("_" in case.old_answer for case in vlkeb)
    mmedit = read_published("mmedit", "mmedit/vqa_eval.json")
    assert len({case.entity for case in mmedit}) == 1390
