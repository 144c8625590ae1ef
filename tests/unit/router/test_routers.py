"""Relevance: of one pair whatever the batch, by a trained classifier and by radii; and routers on disk."""

import copy
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest, Question
from ldke_pl.errors import ArtefactError
from ldke_pl.router import (
    ClassifierRouter,
    FeatureReader,
    PairClassifier,
    RadiusRouter,
    Router,
    best,
    load_router,
    save_router,
)
from ldke_pl.router.base import stacked, unstacked
from ldke_pl.router.similarities import both, late_interaction, named

ASKED = "Which country is this?"


@pytest.fixture(scope="module")
def reader(backbone: Backbone) -> FeatureReader:
    return FeatureReader(backbone)


@pytest.fixture(scope="module")
def classifier(reader: FeatureReader, pictures: list[Image.Image]) -> ClassifierRouter:
    """An untrained classifier with made-up statistics, so that nothing in it is at its neutral value."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = PairClassifier(reader.width, len(reader.layers))
        made.centre(reader.questions([Question(p, ASKED) for p in (pictures[5], None)]))
        made.compare_with(reader.edits([EditRequest(p, ASKED, "Zomu") for p in pictures[3:5]]))
        for judge in (made.thing, made.question):
            judge.scale.running_mean.uniform_(-1, 1)
            judge.scale.running_var.uniform_(0.01, 1)
    return ClassifierRouter(reader, made, 0.6)


@pytest.fixture(scope="module")
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    shown = [EditRequest(pictures[0], ASKED, "Balumo"), EditRequest(pictures[1], "Who leads this country?", "Ada")]
    return [*shown, EditRequest(None, "Who leads Balumo?", "Zz")]


@pytest.fixture(scope="module")
def questions(pictures: list[Image.Image]) -> list[Question]:
    return [
        Question(pictures[0], ASKED),
        Question(None, "Who leads Balumo, and since when?"),
        Question(pictures[2], "A?"),
    ]


def test_relevance_needs_both_streams() -> None:
    first, second = torch.tensor([3.0, 3.0, -4.0, 60.0, -90.0]), torch.tensor([3.0, -4.0, -4.0, 60.0, 90.0])
    torch.testing.assert_close(both(first, second).sigmoid(), first.sigmoid() * second.sigmoid())
    torch.testing.assert_close(both(first, torch.full_like(first, 200.0)), first)


def unit_tokens(seed: int, rows: int, tokens: int) -> Tensor:
    """Random unit vectors, each row with its own number of them, from none on, and then zeros."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.nn.functional.normalize(torch.randn(rows, tokens, 4, generator=generator), dim=-1)
    lengths = torch.randperm(tokens + 1, generator=generator)[:rows]
    return found * (torch.arange(tokens) < lengths[:, None])[..., None]


@pytest.mark.parametrize("seed", range(3))
def test_late_interaction_is_that_of_loops_and_ignores_padding(seed: int) -> None:
    asked, known = unit_tokens(seed, 5, 4), unit_tokens(seed + 100, 4, 6)
    wanted = torch.zeros(5, 4, 2)
    for q, query in enumerate(asked):
        for e, edit in enumerate(known):
            there = [t for t in edit if t.any()]
            matched = [max([0.0, *(float(a @ t) for a in query)]) for t in there]
            if there:
                wanted[q, e] = torch.tensor([sum(matched) / len(there), min(matched)])
    found = late_interaction(asked, known)
    torch.testing.assert_close(found, wanted)
    padded = [torch.cat([x, torch.zeros(len(x), 3, 4)], 1) for x in (asked, known)]
    torch.testing.assert_close(late_interaction(*padded), found)


def test_an_edit_asked_in_words_is_compared_both_ways_with_queries_in_words() -> None:
    asked, known = unit_tokens(1, 5, 4), unit_tokens(2, 4, 6)
    there = torch.cat([late_interaction(asked, known), late_interaction(known, asked).transpose(0, 1)], -1)
    for seen in (torch.zeros(5, 1), torch.ones(5, 1)):
        found = named({"text_tokens": asked, "seen": seen}, {"named_tokens": known})
        torch.testing.assert_close(found, there * (1 - seen[:, None]))
    assert there.any() and not torch.equal(there[..., :2], there[..., 2:])


def test_a_query_is_levelled_by_the_nearest_of_the_cohort() -> None:
    made, queries = PairClassifier(4, cohort=8), unit_tokens(1, 5, 4)
    things = {f"{n}_tokens": unit_tokens(2 + i, 7, 6)[1:] for i, n in enumerate(("image", "name", "spelling"))}
    made.compare_with(things)
    features = {n: queries.sum(1) for n in ("image", "text", "last")} | {"seen": torch.ones(5, 1)}
    features |= {"image_tokens": queries, "text_tokens": queries.flip(1), "word_tokens": queries.roll(1, 1)}
    found, known = made.embed_queries(features), torch.zeros(5, 6, dtype=torch.bool)
    known[2, :4] = True
    other = made.embed_queries(features, made.things(things), known)
    for query, edit in (("image", "image"), ("text", "image"), ("text", "name"), ("word", "spelling")):
        matches = late_interaction(queries, made.cohort[f"{edit}_tokens"])
        assert matches.shape == (5, 8, 2) and not matches[:, 6:].any()
        level = f"{query}_tokens of {edit}_tokens"
        torch.testing.assert_close(found[level], matches.sort(1, descending=True).values[:, :5].mean(1))
        torch.testing.assert_close(other[level][[0, 1, 3, 4]], found[level][[0, 1, 3, 4]])
        torch.testing.assert_close(other[level][2], matches[2, 4:6].sum(0) / 5)


def test_no_edits_have_no_relevance(classifier: ClassifierRouter, questions: list[Question]) -> None:
    features = classifier.reader.questions(questions)
    none = {name: value[:0] for name, value in classifier.reader.edits([EditRequest(None, "A?", "B")]).items()}
    made = classifier.classifier
    assert made(made.embed_queries(features), made.embed_edits(none)).shape == (3, 0)


@pytest.mark.parametrize("kind", ["classifier", "radius"])
def test_relevance_of_a_pair_does_not_depend_on_others(
    reader: FeatureReader,
    classifier: ClassifierRouter,
    requests: list[EditRequest],
    questions: list[Question],
    kind: str,
) -> None:
    router: Router = classifier if kind == "classifier" else RadiusRouter(reader)
    keys = router.keys(requests)
    together = router.relevance(reader.questions(questions), keys)
    assert together.shape == (3, 3) and (together >= 0).all() and (together <= 1).all()
    assert together.unique().numel() > 1
    for q, question in enumerate(questions):
        for e, request in enumerate(requests):
            alone = router.relevance(reader.questions([question]), router.keys([request]))
            torch.testing.assert_close(alone[0, 0], together[q, e], atol=2e-4, rtol=1e-3)
    assert router.relevance(reader.questions(questions), []).shape == (3, 0)


def test_keys_are_tensors_without_batch_dimension(classifier: ClassifierRouter, requests: list[EditRequest]) -> None:
    keys = classifier.keys(requests)
    assert all(value.dtype == torch.float16 and not value.requires_grad for key in keys for value in key.values())
    again = unstacked(stacked(keys))
    assert all(torch.equal(a[n], b[n]) for a, b in zip(keys, again, strict=True) for n in a)


def test_radius_router_knows_its_own_question_and_no_other(
    reader: FeatureReader, requests: list[EditRequest], pictures: list[Image.Image]
) -> None:
    router = RadiusRouter(reader)
    own = [Question(r.image, r.prompt) for r in requests]
    relevance = router.relevance(reader.questions(own), router.keys(requests))
    torch.testing.assert_close(relevance.diagonal(), torch.ones(3), atol=1e-2, rtol=0)
    assert best(relevance, router.threshold).tolist() == [0, 1, 2]
    other = [Question(pictures[3], "What is the background colour?"), Question(None, ASKED), Question(None, "Why?")]
    assert best(router.relevance(reader.questions(other), router.keys(requests)), 0.5).tolist() == [-1, -1, -1]


def test_best_takes_the_most_relevant_that_reaches_the_threshold() -> None:
    relevance = torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.2, 0.4], [0.4, 0.49, 0.0]])
    assert best(relevance, 0.5).tolist() == [1, 0, -1]
    assert best(relevance[:, :0], 0.0).tolist() == [-1, -1, -1]


def test_saved_routers_give_the_same_relevance(
    reader: FeatureReader,
    classifier: ClassifierRouter,
    requests: list[EditRequest],
    questions: list[Question],
    tmp_path: Path,
) -> None:
    features = reader.questions(questions)
    mark = {"fingerprint": reader.backbone.fingerprint(reader.layers[-1], rounded=True)}
    for name, router in {"classifier": classifier, "radius": RadiusRouter(reader, 0.4)}.items():
        save_router(router, tmp_path / name, mark)
        loaded = load_router(reader.backbone, tmp_path / name)
        assert type(loaded) is type(router)
        assert (loaded.threshold, loaded.reader.layers) == (router.threshold, router.reader.layers)
        found = loaded.relevance(features, loaded.keys(requests))
        assert torch.equal(found, router.relevance(features, router.keys(requests)))


def test_routers_of_before_are_loaded(
    classifier: ClassifierRouter, requests: list[EditRequest], questions: list[Question], tmp_path: Path
) -> None:
    backbone, features = classifier.reader.backbone, classifier.reader.questions(questions)
    save_router(classifier, tmp_path, {"fingerprint": backbone.fingerprint(classifier.reader.layers[-1])})
    kept = {n: t for n, t in load_file(tmp_path / "router.safetensors").items() if not n.startswith("guess.")}
    save_file(kept, tmp_path / "router.safetensors")
    loaded = load_router(backbone, tmp_path)
    found = loaded.relevance(features, loaded.keys(requests))
    assert torch.equal(found, classifier.relevance(features, classifier.keys(requests)))


def test_a_router_fits_its_base_in_another_dtype(classifier: ClassifierRouter, tmp_path: Path) -> None:
    backbone, top = classifier.reader.backbone, classifier.reader.layers[-1]
    save_router(classifier, tmp_path, {"fingerprint": backbone.fingerprint(top, rounded=True)})
    half = Backbone(copy.deepcopy(backbone.model).bfloat16(), backbone.processor, "half")
    assert load_router(half, tmp_path).threshold == classifier.threshold
    assert half.fingerprint(top) != backbone.fingerprint(top)


def test_foreign_and_damaged_routers_are_refused(classifier: ClassifierRouter, tmp_path: Path) -> None:
    backbone = classifier.reader.backbone
    save_router(classifier, tmp_path, {"fingerprint": backbone.fingerprint(classifier.reader.layers[-1], rounded=True)})
    other = Backbone(copy.deepcopy(backbone.model), backbone.processor, "other")
    with torch.no_grad():
        other.layers[classifier.reader.layers[-1]].mlp.down_proj.weight[0, 0] += 1
    with pytest.raises(ArtefactError, match="trained for another base model than 'other'"):
        load_router(other, tmp_path)
    description = json.loads((tmp_path / "router.json").read_text())
    description["shape"]["width"] += 1
    (tmp_path / "router.json").write_text(json.dumps(description))
    with pytest.raises(ArtefactError, match="cannot be used"):
        load_router(backbone, tmp_path)
    (tmp_path / "router.safetensors").write_bytes(b"broken")
    with pytest.raises(ArtefactError, match="cannot be read"):
        load_router(backbone, tmp_path)
