"""The unedited model's answers on disk: what was written comes back, for the same questions to the same model alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.metrics import evaluator as module
from ldke_pl.metrics.answers import Answers, Forced, answers_key, load_answers, save_answers
from ldke_pl.metrics.evaluator import Evaluator

PROTOCOLS = ["generate", "masked", "vlkeb"]


@pytest.fixture
def cases(pictures: list[Image.Image]) -> list[EditCase]:
    request = EditRequest(pictures[0], "Which country is this?", "Balumo")
    told = Question(pictures[0], "This is Balumo. Who leads it?")
    probes = (
        Probe(ProbeKind.RELIABILITY, request.image, request.prompt, expected="Balumo"),
        Probe(ProbeKind.PORTABILITY_1, pictures[0], "Who leads it?", expected="Ada", ceiling=told),
        Probe(ProbeKind.TEXT_LOCALITY, None, "Who leads Zomu?"),
    )
    return [EditCase("a", request, probes)]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    forced = [
        Forced([3, 0], torch.arange(40).reshape(2, 2, 10), torch.tensor([[-100, 7]] * 2), torch.ones(2, 2).long())
    ]
    answers = Answers({0: "Ada", 3: "ein „Ä“\n"}, forced, {3: 1.0})
    save_answers(tmp_path / "new" / "a.safetensors", answers)
    found = load_answers(tmp_path / "new" / "a.safetensors")
    assert found and found.texts == answers.texts and found.ceilings == answers.ceilings
    (batch,) = found.forced
    assert batch.items == [3, 0]
    assert all(torch.equal(getattr(batch, n), getattr(forced[0], n)) for n in ("ids", "labels", "attention"))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_nothing_and_damage_are_no_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert load_answers(path) is None
    save_answers(path, Answers({0: "Ada"}))
    assert load_answers(path) == Answers({0: "Ada"})
    path.write_bytes(path.read_bytes()[:20])
    assert load_answers(path) is None


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    save_answers(tmp_path / "file" / "a.safetensors", Answers({0: "Ada"}))
    assert "cannot be kept" in caplog.text


def test_the_key_changes_with_all_that_answers_depend_on(
    backbone: Backbone, cases: list[EditCase], pictures: list[Image.Image]
) -> None:
    def key(cases: list[EditCase], **settings: object) -> str:
        return answers_key(backbone, [(c, p) for c in cases for p in c.probes], settings)

    def with_probe(**changes: object) -> list[EditCase]:
        return [replace(cases[0], probes=(replace(cases[0].probes[1], **changes), *cases[0].probes[1:]))]  # type: ignore[arg-type]

    other = Question(pictures[0], "This is Zomu. Who leads it?")
    keys = [key(cases), key(cases, batch_size=2), key(with_probe(prompt="Who?")), key(with_probe(image=pictures[1]))]
    keys += [key(with_probe(expected="Bo")), key(with_probe(ceiling=other)), key(cases[:0])]
    assert len({*keys}) == len(keys)
    assert key(cases) == key(cases) == keys[0]


def test_a_second_run_asks_nothing(
    backbone: Backbone, cases: list[EditCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Evaluator(backbone, cases, PROTOCOLS, 4)
    first.ask_base(tmp_path)
    assert first.before.texts.keys() == {0, 1, 2} and first.before.ceilings.keys() == {1}

    def fail(*_: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(module, "greedy_answers", fail)
    monkeypatch.setattr(module, "topk_ids", fail)
    second = Evaluator(backbone, cases, PROTOCOLS, 4)
    second.ask_base(tmp_path)
    assert second.before.texts == first.before.texts and second.before.ceilings == first.before.ceilings
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first.before.forced, second.before.forced, strict=True))
    with pytest.raises(AssertionError, match="asked"):
        Evaluator(backbone, cases, PROTOCOLS, 3).ask_base(tmp_path)
