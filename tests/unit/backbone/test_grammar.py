"""What is learned of a model's inputs by encoding examples."""

import copy

import pytest
from families.models import FAMILIES

from ldke_pl.backbone import Backbone, Prompts
from ldke_pl.errors import ModelError

IM_END = "<|im_end|>\n<|im_start|>assistant\n"
GEMMA = ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n")
MLLAMA_END = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"


def test_turns_and_pictures_of_atlas(backbone: Backbone) -> None:
    grammar, tokenizer = backbone.prompts.grammar, backbone.prompts.tokenizer
    assert tokenizer.convert_ids_to_tokens(grammar.opening) == ["<s>", "<|user|>"]
    assert tokenizer.convert_ids_to_tokens(grammar.header) == ["<|user|>"]
    assert tokenizer.convert_ids_to_tokens(grammar.closing) == ["<|assistant|>"]
    assert not grammar.marks.separate
    assert grammar.answer_type == 0


@pytest.mark.parametrize(
    ("family", "lead", "trail", "header", "closing"),
    [
        ("llava", [" "], ["\n"], "USER:", " ASSISTANT:"),
        ("qwen2_vl", ["<|vision_start|>"], ["<|vision_end|>"], "<|im_start|>user\n", IM_END),
        ("internvl", ["<img>"], ["</img>", "\n"], "<|im_start|>user\n", IM_END),
        ("gemma3", ["\n", "\n", "<start_of_image>"], ["<end_of_image>", "\n", "\n"], *GEMMA),
        ("mllama", [], [], "<|start_header_id|>user<|end_header_id|>\n\n", MLLAMA_END),
        ("blip_2", [], [], "", ""),
    ],
)
def test_marks_of_published_families(family: str, lead: list[str], trail: list[str], header: str, closing: str) -> None:
    model, processor = FAMILIES[family]()
    prompts = Prompts(processor, model.config)
    grammar, decode = prompts.grammar, prompts.tokenizer.decode
    assert [decode([i]) for i in grammar.marks.lead] == lead
    assert [decode([i]) for i in grammar.marks.trail] == trail
    assert decode(grammar.header) == header
    assert decode(grammar.closing) == closing


def test_tiles_end_with_the_whole_picture() -> None:
    model, processor = FAMILIES["idefics3"]()
    marks = Prompts(processor, model.config).grammar.marks
    assert processor.tokenizer.decode([marks.last]) == "<global-img>"
    names = processor.tokenizer.convert_tokens_to_ids(["<row_4_col_4>", "<fake_token_around_image>"])
    assert {*names} <= marks.within


def test_token_types_that_tell_prompt_from_answer() -> None:
    model, processor = FAMILIES["paligemma"]()
    prompts = Prompts(processor, model.config)
    assert prompts.grammar.answer_type == 1


def test_processor_of_another_model_is_refused(backbone: Backbone) -> None:
    config = copy.copy(backbone.model.config)
    config.image_token_id = 7
    with pytest.raises(ModelError, match="no placeholder"):
        Prompts(backbone.processor, config)
