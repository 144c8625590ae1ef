"""What the router reads: the last question and the pictures, whatever stands around them."""

from unittest import mock

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.hooks import captured
from ldke_pl.data import EditRequest, Question
from ldke_pl.errors import ModelError
from ldke_pl.router import FeatureReader, Features
from ldke_pl.router.features import MAX_TOKENS, _short, _tokens
from ldke_pl.router.queries import canonical

ASKED = "Which country is this?"


@pytest.fixture(scope="module")
def reader(backbone: Backbone) -> FeatureReader:
    return FeatureReader(backbone, [1, 0])


def assert_rows_equal(found: Features, wanted: Features) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value.expand_as(found[name]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_turns_system_prompts_and_padding_change_nothing(
    reader: FeatureReader, pictures: list[Image.Image], side: str
) -> None:
    processor = reader.backbone.processor
    content = [{"type": "image"}, {"type": "text", "text": ASKED}]
    plain = [{"role": "user", "content": content}]
    first = [{"type": "image"}, {"type": "text", "text": "What is the background colour, and what is shown?"}]
    told, again = {"role": "assistant", "content": "grey"}, {"role": "user", "content": ASKED}
    system = {"role": "system", "content": "You are a helpful assistant."}
    chats = [plain, [system, *plain], [{"role": "user", "content": first}, told, again]]
    texts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
    batch = processor(text=texts, images=pictures[:1] * 3, padding=True, padding_side=side, return_tensors="pt")
    found = reader.read(canonical(reader.backbone, batch))
    assert_rows_equal(found, reader.questions([Question(pictures[0], ASKED)]))


def test_every_picture_of_a_row_is_a_query_of_its_own(reader: FeatureReader, pictures: list[Image.Image]) -> None:
    processor = reader.backbone.processor
    texts = [f"<s><|user|>{'<image>' * n}{ASKED}<|assistant|>" for n in (0, 2, 1)]
    batch = processor(text=texts, images=pictures[:3], padding=True, return_tensors="pt")
    queries = canonical(reader.backbone, batch)
    assert queries.rows.tolist() == [0, 1, 1, 2]
    assert queries.images.tolist() == [-1, 0, 1, 2]
    alone = reader.questions([Question(p, ASKED) for p in (None, *pictures[:3])])
    found = reader.read(queries)
    assert found["seen"].tolist() == [[0], [1], [1], [1]]
    assert_rows_equal(found, alone)
    assert found["image"][0].count_nonzero() == found["image_tokens"][0].count_nonzero() == 0


def test_features_are_the_states_of_a_full_pass(reader: FeatureReader) -> None:
    question = Question(None, "Who leads Balumo?")
    batch = reader.backbone.prompts.encode([question])
    with captured({str(i): reader.backbone.layers[i] for i in (0, 1)}) as states, torch.no_grad():
        reader.backbone.model(**batch)
    both = torch.cat([states["0"], states["1"]], -1)[0]
    found = reader.questions([question])
    assert found["text"].shape == (1, reader.width)
    header = 2
    torch.testing.assert_close(found["last"][0], both[-1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["text"][0], both[header:].mean(0), atol=1e-5, rtol=1e-4)
    tokens = states["1"][0, header:]
    torch.testing.assert_close(found["text_tokens"][0, : len(tokens)], tokens, atol=1e-5, rtol=1e-4)
    assert found["text_tokens"].shape[1] == MAX_TOKENS["text_tokens"]
    assert found["text_tokens"][0, len(tokens) :].count_nonzero() == 0


def test_edits_have_the_states_of_their_target_besides(reader: FeatureReader, pictures: list[Image.Image]) -> None:
    requests = [EditRequest(pictures[0], ASKED, "Balumo"), EditRequest(None, "Who?", "a rather long new answer " * 3)]
    found = reader.edits(requests)
    own = reader.questions([Question(r.image, r.prompt) for r in requests])
    del own["word_tokens"]
    assert_rows_equal({name: found[name] for name in own}, own)
    targets = reader.questions([Question(None, r.target) for r in requests])
    torch.testing.assert_close(found["target"], targets["text"])
    held = (found["target_tokens"].abs().sum(-1) > 0).sum(1)
    there = (targets["text_tokens"].abs().sum(-1) > 0).sum(1)
    assert held.tolist() == [int(there[0]), MAX_TOKENS["target_tokens"]]
    assert there[1] > MAX_TOKENS["target_tokens"] > there[0]
    torch.testing.assert_close(found["target_tokens"][0, : there[0]], targets["text_tokens"][0, : there[0]])


def test_edits_are_known_by_the_name_the_unedited_model_gives_their_picture(
    backbone: Backbone, pictures: list[Image.Image]
) -> None:
    reader = FeatureReader(backbone, [0], naming=ASKED)
    names = greedy_answers(backbone, backbone.prompts.encode([Question(p, ASKED) for p in pictures[:2]]))
    requests = [EditRequest(p, "What is its capital?", "Zomu") for p in pictures[:2]]
    found = reader.edits(requests)
    assert names[0] != names[1]
    assert found["name_tokens"].any((1, 2)).all()
    asked = reader.questions([Question(None, f"{name}. What is its capital?") for name in names])["text_tokens"]
    torch.testing.assert_close(found["named_tokens"], _short(asked, "named_tokens"), atol=1e-5, rtol=1e-4)


def test_edits_without_a_picture_are_known_by_what_their_question_names(backbone: Backbone) -> None:
    reader = FeatureReader(backbone, [0], naming=ASKED, common=["who", "leads"])
    requests = [
        EditRequest(None, "Who leads Zomu?", "Lina"),
        EditRequest(None, "Who leads it?", "Lina", subject="Zomu"),
        EditRequest(None, "Who leads Balumo?", "Lina"),
    ]
    spelled = reader.edits(requests)["spelling_tokens"]
    assert spelled[0].any() and torch.equal(spelled[0], spelled[1])
    assert not torch.equal(spelled[0], spelled[2])


def test_what_a_template_puts_after_a_text_is_no_part_of_a_name(
    backbone: Backbone, pictures: list[Image.Image]
) -> None:
    reader = FeatureReader(backbone, [0], naming=ASKED)
    with mock.patch("ldke_pl.router.features.greedy_answers", return_value=["Zomu"]):
        found = reader.edits([EditRequest(pictures[0], ASKED, "Balumo")])["name_tokens"][0]
    own = len(backbone.prompts.tokenizer(" Zomu", add_special_tokens=False)["input_ids"])
    states = reader.questions([Question(None, "Zomu")])["text_tokens"][0]
    assert states[own].any() and not states[own + 1 :].any(), "one token of the template follows"
    torch.testing.assert_close(found[:own], states[:own], atol=1e-5, rtol=1e-4)
    assert not found[own:].any()


def test_nothing_is_named_unless_asked_or_answered(backbone: Backbone, pictures: list[Image.Image]) -> None:
    request = [EditRequest(pictures[0], ASKED, "Zomu")]
    found = [FeatureReader(backbone, [0]).edits(request)]
    with mock.patch("ldke_pl.router.features.greedy_answers", return_value=[""]):
        found.append(FeatureReader(backbone, [0], naming=ASKED).edits(request))
    assert not any(f[f"{name}_tokens"].any() for f in found for name in ("name", "spelling", "named"))


@pytest.mark.parametrize("text", ["In Zomu, who leads?", "Who leads Zomu", "Zomu"])
def test_a_name_is_spelled_alike_wherever_it_stands_in_a_text(
    backbone: Backbone, pictures: list[Image.Image], text: str
) -> None:
    reader = FeatureReader(backbone, [0], naming=ASKED)
    requests = [EditRequest(None, "Who?", "Lina"), EditRequest(pictures[0], ASKED, "Balumo")]
    with mock.patch("ldke_pl.router.features.greedy_answers", return_value=["Zomu"]):
        spelled = reader.edits(requests)["spelling_tokens"]
    asked = reader.questions([Question(None, text)])["word_tokens"][0]
    own = len(backbone.prompts.token_ids([" Zomu"])[0])
    runs = [torch.equal(asked[i : i + own], spelled[1, :own]) for i in range(len(asked) - own + 1)]
    assert own > 1 and runs.count(True) == 1
    assert not spelled[1, own:].any()


def test_tokens_are_kept_in_order_and_averaged_where_too_many() -> None:
    hidden = torch.arange(12.0).reshape(2, 6, 1)
    mask = torch.tensor([[True, False, True, False, False, False], [True] * 6])
    assert _tokens(hidden, mask, 3)[..., 0].tolist() == [[0, 2, 0], [6.5, 8.5, 10.5]]
    assert torch.equal(_tokens(hidden, mask, 6)[1], hidden[1])


def test_layers_are_the_lowest_quarter_and_must_exist(backbone: Backbone) -> None:
    assert FeatureReader(backbone).layers == [0, 1]
    assert FeatureReader(backbone, [7, 3]).layers == [3, 7]
    with pytest.raises(ModelError, match="names layer 8, but the decoder has 8"):
        FeatureReader(backbone, [0, 8])
