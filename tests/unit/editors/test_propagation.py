"""Mention distillation: distances to a teacher's states, and which edits have a teacher."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.hooks import captured
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.optimise import optimise
from ldke_pl.editors.propagation import Distance, Teacher, _common_end, read_teachers
from ldke_pl.edits import applied

CONFIG = EditorConfig(cls="", steps=3, views=1, eps=1e-3, propagation_weight=10.0)


@pytest.fixture
def request_(pictures: list[Image.Image]) -> EditRequest:
    return EditRequest(pictures[0], "Which country is this?", "Balumo", "entity")


def distance_now(backbone: Backbone, questions: list[Question], teachers: list[Teacher | None]) -> Tensor:
    """How far the model, with the hooks in force, reads ``questions`` from what the teachers read."""
    batch = backbone.prompts.encode(questions, padding_side="right")
    distance = Distance(backbone, teachers, batch["input_ids"], batch["attention_mask"].bool())
    with torch.no_grad(), captured(distance.watched()) as states:
        backbone.model(**batch)
        return distance.per_row(states)


def test_distance_is_zero_to_itself_and_without_teacher(backbone: Backbone, request_: EditRequest) -> None:
    other = EditRequest(None, "Who leads this country?", "A rather long name")
    teachers = read_teachers(backbone, [request_, other])
    mentions = [Question(None, f"{r.target}. {r.prompt}") for r in (other, request_, request_)]
    found = distance_now(backbone, mentions, [teachers[1], None, teachers[0]])
    assert found[1] == 0
    assert found.max() < 1e-8
    elsewhere = distance_now(backbone, [Question(request_.image, request_.prompt)] * 2, [teachers[0], None])
    assert elsewhere[0] > 1e-3 and elsewhere[1] == 0
    assert distance_now(backbone, mentions, [None] * 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_distance_is_that_of_a_loop_over_rows(backbone: Backbone, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layers, length, width = len(backbone.layers), 9, 5
    ids = torch.randint(1, 4, (4, length), generator=generator)
    lengths = torch.randint(3, length + 1, (4,), generator=generator).tolist()
    prompt = torch.arange(length) < torch.tensor(lengths)[:, None]
    teachers: list[Teacher | None] = []
    for row, shared in enumerate((3, 1, 2)):
        told = torch.cat([torch.tensor([7, 8]), ids[row, lengths[row] - shared : lengths[row]]])
        teachers.append(Teacher(told, torch.randn(layers, len(told), width, generator=generator)))
    teachers.insert(1, None)
    ids, prompt = ids[[0, 3, 1, 2]], prompt[[0, 3, 1, 2]]
    outputs = {str(i): torch.randn(4, length, width, generator=generator) for i in range(layers)}
    wanted = torch.zeros(4)
    for row, shared in ((0, 3), (2, 1), (3, 2)):
        teacher, end = teachers[row], int(prompt[row].sum())
        assert teacher is not None
        for i in range(layers):
            there = teacher.states[i, -shared:]
            here = outputs[str(i)][row, end - shared : end]
            wanted[row] += ((here - there) ** 2).sum() / (there**2).sum() / layers
    torch.testing.assert_close(Distance(backbone, teachers, ids, prompt).per_row(outputs), wanted)


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        ([1, 2, 3], [9, 2, 3], 2),
        ([2, 3], [1, 2, 3], 2),
        ([1, 2, 3], [1, 2, 4], 0),
        ([1, 9, 3], [1, 2, 3], 1),
        ([], [1], 0),
    ],
)
def test_common_end(a: list[int], b: list[int], shared: int) -> None:
    one, other = torch.tensor(a, dtype=torch.long), torch.tensor(b)
    assert _common_end(one, other) == _common_end(other, one) == shared


def test_weight_draws_the_question_to_the_mention(backbone: Backbone, request_: EditRequest) -> None:
    teacher = read_teachers(backbone, [request_])
    found = []
    for weight in (0.0, 10.0):
        config = replace(CONFIG, propagation_weight=weight)
        (problem,) = optimise(backbone, [request_], [(CONNECTOR,)], config, seed=0)
        assert (problem.teacher is not None) == (weight > 0)
        with applied(backbone, [problem.deltas], torch.tensor([0]), torch.tensor([0])):
            found.append(distance_now(backbone, [Question(request_.image, request_.prompt)], [*teacher]).item())
    assert found[1] < found[0]


def test_pictures_of_the_named_groups_are_taught(backbone: Backbone, request_: EditRequest) -> None:
    others = [replace(request_, group="attribute"), replace(request_, image=None)]
    nameless = [replace(request_, group="")] * 2
    sites = [("decoder.7",)] * 4 + [(CONNECTOR,)]

    def taught(config: EditorConfig) -> list[bool]:
        problems = optimise(backbone, [request_, *others, *nameless], sites, replace(config, steps=0), seed=0)
        return [p.teacher is not None for p in problems]

    assert taught(CONFIG) == [True, False, False, False, True]
    assert taught(replace(CONFIG, propagation_groups=["attribute"])) == [False, True, False, False, True]
    assert taught(replace(CONFIG, propagation_weight=0.0)) == [False] * 5
