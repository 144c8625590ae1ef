"""LoRA: adapters on queries and values of all layers, which start as no change at all."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel, Phi3Config, Phi3ForCausalLM

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.lora import LoRA, query_value_slots
from ldke_pl.edits import Edit, applied
from ldke_pl.errors import ModelError

TEXTS = [EditRequest(None, "Who?", word) for word in ("x", "Ada Lovelace", "Zz")]


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=lora"]).editor["lora"]
    return replace(read, steps=2, stop_loss=0.0)


def made(backbone: Backbone, config: EditorConfig) -> LoRA:
    return LoRA(backbone, config, lambda requests: [()] * len(requests))


def losses(backbone: Backbone, edit: Edit) -> torch.Tensor:
    """Of all texts under one edit."""
    batch, labels = backbone.prompts.encode_answers(
        [Question(None, r.prompt) for r in TEXTS], [r.target for r in TEXTS]
    )
    with applied(backbone, [edit.deltas], torch.zeros(len(TEXTS), dtype=torch.long)), torch.no_grad():
        return answer_logits(backbone, batch, labels).loss_per_row()


def test_it_adapts_queries_and_values_of_every_layer(backbone: Backbone, config: EditorConfig) -> None:
    (edit,) = made(backbone, config).edit(TEXTS[:1])
    wanted = [m for layer in backbone.layers for m in (layer.self_attn.q_proj, layer.self_attn.v_proj)]
    assert [backbone.model.get_submodule(name) for name in edit.deltas] == wanted
    for name, delta in edit.deltas.items():
        down, up = delta.factors
        linear = backbone.model.get_submodule(name)
        assert down.shape == (config.rank, linear.in_features) and up.shape == (linear.out_features, config.rank)
        assert up.count_nonzero() > 0


def test_it_starts_at_no_change(backbone: Backbone, config: EditorConfig) -> None:
    (edit,) = made(backbone, replace(config, steps=0)).edit(TEXTS[:1])
    assert all(d.factors[0].count_nonzero() > 0 and d.factors[1].count_nonzero() == 0 for d in edit.deltas.values())
    torch.testing.assert_close(losses(backbone, edit), losses(backbone, replace(edit, deltas={})))


def test_a_batch_gives_the_edits_of_single_runs(
    backbone: Backbone, config: EditorConfig, pictures: list[Image.Image]
) -> None:
    requests = [EditRequest(pictures[0], "Which country is this?", "Balumo"), *TEXTS[1:]]
    together = made(backbone, config).edit(requests)
    apart = made(backbone, replace(config, batch_size=1)).edit(requests)
    for one, other in zip(together, apart, strict=True):
        for name, delta in one.deltas.items():
            torch.testing.assert_close(delta.factors, other.deltas[name].factors, atol=1e-4, rtol=1e-4)


def test_together_requests_share_one_low_rank_change(backbone: Backbone, config: EditorConfig) -> None:
    first, *others = made(backbone, replace(config, steps=12, batch_size=2)).edit_together(TEXTS, [])
    assert all(edit.deltas is first.deltas for edit in others)
    assert {d.factors[0].shape[0] for d in first.deltas.values()} == {config.rank}
    assert (losses(backbone, first) < losses(backbone, replace(first, deltas={})) - 0.1).all()


def test_in_sequence_the_change_is_tuned_further(backbone: Backbone, config: EditorConfig) -> None:
    editor = made(backbone, replace(config, steps=1))
    (first,), (second, _) = editor.edit_in_sequence(TEXTS, [1, 2])
    (alone,) = editor.edit(TEXTS[:1])
    for name, delta in alone.deltas.items():
        torch.testing.assert_close(first.deltas[name].factors, delta.factors)
        assert not torch.equal(second.deltas[name].factors[1], delta.factors[1])


def test_fused_projections_are_adapted_as_they_are() -> None:
    shape = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32}
    model = Phi3ForCausalLM(Phi3Config(num_hidden_layers=2, vocab_size=16, pad_token_id=0, **shape))
    slots = query_value_slots(model)
    assert [slot.module for slot in slots.values()] == [layer.self_attn.qkv_proj for layer in model.model.layers]


def test_a_decoder_without_projections_is_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=16))
    with pytest.raises(ModelError, match="GPT2LMHeadModel has no query and value projections"):
        query_value_slots(model)
