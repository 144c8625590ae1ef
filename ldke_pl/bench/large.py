"""Edits of a model of seven billion parameters on a GPU: the shape of LLaVA-1.5-7B, random weights, bfloat16."""

import copy
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor
from transformers import LlavaForConditionalGeneration as Llava

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.bench.peer_loop import peer_loop
from ldke_pl.bench.subjects import atlas, atlas_cases, editor_config
from ldke_pl.bench.timing import RUNS, Result
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.ldke import LDKE
from ldke_pl.edits import Edit, applied

T = TypeVar("T")

TOWER: dict[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "projection_dim": 768,
}  # fmt: skip
DECODER: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096,
}  # fmt: skip

BATCH = 8
_AGAIN = ", activations computed again"
PEERS = 2
"""Edits that the peer's loop makes in each run, others in every one; times per edit are compared."""


def large(device: str = "cuda") -> Iterator[Result]:
    """A 7B-shaped model on a GPU: memory and seconds per edit, and whether edits take."""
    if backbone := _on(device):
        yield from _made(backbone, _requests(), _middle(backbone))


def large_against_peers(device: str = "cuda") -> Iterator[Result]:
    """A 7B-shaped model on a GPU: edits in a batch, against the loop that published editors have."""
    if backbone := _on(device):
        yield from _against_peers(backbone, _requests(), _middle(backbone))


def _on(device: str) -> Backbone | None:
    """The model on that device; None, and a word on it, where there is no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        print("not measured: there is no GPU", file=sys.stderr)
        return None
    return seven_billion(torch.device(device))


def _requests() -> list[EditRequest]:
    return [case.request for case in atlas_cases()[:BATCH]]


def _middle(backbone: Backbone) -> str:
    return f"decoder.{len(backbone.layers) // 2}"


def seven_billion(device: torch.device) -> Backbone:
    """A LLaVA of that shape that reads what Atlas reads, with random weights."""
    tokenizer = atlas().processor.tokenizer
    size, patch = TOWER["image_size"], TOWER["patch_size"]
    tokens = {name: getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWER),
        text_config=LlamaConfig(**DECODER, **{f"{name}_token_id": number for name, number in tokens.items()}),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        image_seq_length=(size // patch) ** 2,
    )
    pixels: dict[str, Any] = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(**pixels), tokenizer, patch_size=patch, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=atlas().processor.chat_template,
    )  # fmt: skip
    before = torch.get_default_dtype()
    with torch.random.fork_rng(), device:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            return Backbone(Llava(config), processor, "random, LLaVA-1.5-7B's shape")
        finally:
            torch.set_default_dtype(before)


def _made(backbone: Backbone, requests: Sequence[EditRequest], middle: str) -> Iterator[Result]:
    """Edits as ``edit.py`` makes them. No site needs more memory than the connector, below the whole decoder."""
    for site, size, again, target in (
        (CONNECTOR, 1, True, 1.25),
        (CONNECTOR, BATCH, True, 2.0),
        (middle, 1, False, None),
        (middle, BATCH, False, None),
    ):
        config = editor_config(batch_size=size, checkpointing=again)
        peak, seconds, edits = _measured(backbone, partial(_edits, backbone, requests[:size], site, config))
        how = f"7B, {site}, batch {size}{_AGAIN if again else ''}"
        yield Result(f"{how}: peak memory / weights", [peak / _bytes(backbone)], target, at_most=True)
        yield Result(f"{how}: seconds per edit", [seconds / size])
        yield Result(f"{how}: steps", [edit.steps for edit in edits])
        yield Result(f"{how}: share that answers with the target", [_taken(backbone, requests[:size], edits)])


def _against_peers(backbone: Backbone, requests: Sequence[EditRequest], site: str) -> Iterator[Result]:
    """All stop at the same loss; the peer's model is in single precision, then in ours."""
    config = editor_config(views=1, propagation_weight=0.0, batch_size=BATCH, stop_loss=0.01, steps=60)
    single = Backbone(copy.deepcopy(backbone.model).float(), backbone.processor, backbone.name)
    for peer, name, target in ((single, "float32", 15.0), (backbone, "our dtype", None)):
        peer_loop(peer, requests[:1], [(site,)], replace(config, steps=2))  # to warm up, as the next
        _edits(backbone, requests, site, replace(config, steps=2))
        runs: dict[bool, list[float]] = {False: [], True: []}
        for run in range(RUNS):
            chosen = [requests[(PEERS * run + i) % BATCH] for i in range(PEERS)]
            theirs = _measured(backbone, partial(peer_loop, peer, chosen, [(site,)] * PEERS, config))[1] / PEERS
            for again, ratios in runs.items():
                made = partial(_edits, backbone, requests, site, replace(config, checkpointing=again))
                ratios.append(theirs / (_measured(backbone, made)[1] / BATCH))
        for again, ratios in runs.items():
            what = f"7B, {site}: an edit by a peer's loop in {name} / by ours, batch {BATCH}{_AGAIN if again else ''}"
            yield Result(what, ratios, None if again else target)


def _edits(backbone: Backbone, requests: Sequence[EditRequest], site: str, config: EditorConfig) -> list[Edit]:
    return LDKE(backbone, config, lambda asked: [(site,)] * len(asked)).edit(requests)


def _taken(backbone: Backbone, requests: Sequence[EditRequest], edits: Sequence[Edit]) -> float:
    batch = backbone.prompts.encode([Question(r.image, r.prompt) for r in requests]).to(backbone.device)
    rows, pictures = torch.arange(len(edits)), backbone.prompts.pictures(batch)
    with applied(backbone, [e.deltas for e in edits], rows, pictures.numbered(rows), pictures.sizes):
        said = greedy_answers(backbone, batch)
    return statistics.mean(answer == r.target for answer, r in zip(said, requests, strict=True))


def _bytes(backbone: Backbone) -> int:
    return sum(p.numel() * p.element_size() for p in backbone.model.parameters())


def _measured(backbone: Backbone, call: Callable[[], T]) -> tuple[int, float, T]:
    """Most bytes that tensors took up (0 on a CPU), seconds, and what ``call`` gave."""
    on_gpu = backbone.device.type == "cuda"
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = call()
    if on_gpu:
        torch.cuda.synchronize()
    took = time.perf_counter() - start
    return torch.cuda.max_memory_allocated() if on_gpu else 0, took, found
