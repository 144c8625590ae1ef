"""Pretraining of the Atlas MLLM with a plan of one step per stage: checkpoints, resuming, and the finished folder."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from ldke_pl.atlas.pretrain import IMAGE_TOKENS, Plan, Pretraining, build_model, write_model

STAGES = [f.name for f in fields(Plan) if f.name != "batch"]
TINY = Plan(**dict.fromkeys(STAGES, 1), batch=2)
DECODER, TOWER, CONNECTOR = "model.language_model.", "model.vision_tower.", "model.multi_modal_projector."
FROZEN = {
    "text": (TOWER, CONNECTOR),
    "tower": (DECODER, CONNECTOR),
    "caption": (DECODER, CONNECTOR),
    "connector": (DECODER,),
    "describe": (TOWER, CONNECTOR),
    "sharpen": (DECODER,),
}
"""Stage -> what the names of the weights that it must leave alone begin with."""


class StoppedError(Exception):
    """Stands for whatever ends a training run early."""


def checkpoint(folder: Path, stage: str) -> Path:
    return folder / f"{STAGES.index(stage) + 1}-{stage}.safetensors"


def differing(one: dict[str, Tensor], two: dict[str, Tensor]) -> set[str]:
    assert one.keys() == two.keys()
    return {name for name in one if not torch.equal(one[name], two[name])}


@pytest.fixture
def stages_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that are trained during the test."""
    seen: list[str] = []
    optimise = Pretraining._optimise

    def record(self: Pretraining, stage: str, *rest: object) -> None:
        seen.append(stage)
        optimise(self, stage, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Pretraining, "_optimise", record)
    return seen


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that went through."""
    folder = tmp_path_factory.mktemp("pretrained")
    Pretraining(folder, TINY).run()
    return folder


def test_every_stage_leaves_a_checkpoint(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {f"{i}-{s}.safetensors" for i, s in enumerate(STAGES, 1)} | {
        "model"
    }


def test_each_stage_changes_its_own_weights_alone(finished: Path) -> None:
    before = {k: v.detach() for k, v in Pretraining(finished, TINY).model.state_dict().items() if k != "lm_head.weight"}
    for stage in STAGES:
        after = load_file(checkpoint(finished, stage))
        changed = differing(before, after)
        assert changed
        assert not [name for name in changed if name.startswith(FROZEN.get(stage, ("nothing",)))], stage
        before = after


@pytest.mark.parametrize(("before", "stage"), [("describe", "instruct"), ("instruct", "settle")])
def test_stages_of_the_whole_model_change_every_part(finished: Path, before: str, stage: str) -> None:
    changed = differing(load_file(checkpoint(finished, before)), load_file(checkpoint(finished, stage)))
    assert all(any(name.startswith(part) for name in changed) for part in (DECODER, TOWER, CONNECTOR))


def test_finished_run_is_loaded_not_repeated(finished: Path, tmp_path: Path, stages_run: list[str]) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    shutil.rmtree(copy / "model")
    Pretraining(copy, TINY).run()
    assert stages_run == []
    assert differing(weights(copy), weights(finished)) == set()


def test_run_stopped_within_a_stage_goes_on_from_the_one_before(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages_run: list[str]
) -> None:
    copy, last = Path(shutil.copytree(finished, tmp_path / "copy")), STAGES[-1]
    shutil.rmtree(copy / "model")
    path = checkpoint(copy, last)
    path.with_suffix(".partial").write_bytes(path.read_bytes()[:1000])  # what a run that dies while saving leaves
    path.unlink()

    def stop(self: Pretraining, number: int) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "_seed", stop)
        with pytest.raises(StoppedError):
            Pretraining(copy, TINY).run()
    assert not path.exists()
    assert not (copy / "model").exists()

    Pretraining(copy, TINY).run()
    assert stages_run == [last]
    assert differing(weights(copy), weights(finished)) == set()
    assert not [*copy.glob("*.partial")]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_finished_folder_loads_with_nothing_left_over(finished: Path) -> None:
    model, report = AutoModelForImageTextToText.from_pretrained(finished / "model", output_loading_info=True)
    assert not any(report.values()), report
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.dtype == torch.float16
    processor = AutoProcessor.from_pretrained(finished / "model")
    assert processor.image_token_id == model.config.image_token_id
    assert len(processor.tokenizer) == model.config.get_text_config().vocab_size


def test_finished_weights_are_small_and_half_precision(finished: Path) -> None:
    path = finished / "model" / "model.safetensors"
    assert path.stat().st_size <= 16 * 2**20
    assert sum(p.stat().st_size for p in path.parent.iterdir()) <= 16 * 2**20
    with safe_open(path, "pt") as stored:
        assert {stored.get_slice(name).get_dtype() for name in stored.keys()} == {"F16"}  # noqa: SIM118
    assert not [name for name in weights(finished) if "lm_head" in name]


def test_finished_weights_are_those_of_the_last_stage(finished: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(finished / "model").state_dict()
    last = load_file(checkpoint(finished, STAGES[-1]))
    assert differing({k: model[k] for k in last}, {k: v.half() for k, v in last.items()}) == set()


def test_finished_model_answers(finished: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(finished / "model", dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(finished / "model")
    parts = [{"type": "image"}, {"type": "text", "text": "Which country is this?"}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    inputs = processor(text=text, images=[Image.new("RGB", (64, 64))], return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert ids.shape[1] > inputs["input_ids"].shape[1]


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    training = Pretraining(tmp_path, TINY)
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    write_model(training.model, training.tokenizer, tmp_path / "model")
    assert differing(before, dict(training.model.state_dict())) == set()
    assert training.model.dtype == torch.float32


def test_model_ties_its_embeddings_and_fits_its_tokenizer(tmp_path: Path) -> None:
    model = build_model(100)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.get_input_embeddings().weight.shape[0] == 100
    assert model.config.image_seq_length == IMAGE_TOKENS == 16


def test_seed_decides_the_first_weights(tmp_path: Path) -> None:
    states = [dict(Pretraining(tmp_path, TINY, seed).model.state_dict()) for seed in (0, 0, 1)]
    assert differing(states[0], states[1]) == set()
    assert differing(states[0], states[2])


def test_caption_fills_every_patch_with_the_name_first(tmp_path: Path) -> None:
    training = Pretraining(tmp_path, TINY)
    for country in training.world.countries:
        caption = training._caption(country, "teal")
        name = training._piece(country.name)
        assert len(caption) == IMAGE_TOKENS
        assert caption[: len(name)] == name
        assert training._piece(country.emblem.charge)[0] in caption
