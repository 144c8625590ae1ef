"""A table of pairs that can be learned in seconds, and its training in one process or more."""

from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from ldke_pl.modules import PairTable, RouterModule
from ldke_pl.modules.router import case_loader, pair_loss, routing_loss
from ldke_pl.router import Features

CASES, WIDTH, STEPS = 12, 16, 30


def features(things: Tensor, asked: Tensor) -> Features:
    """Features of one thing and one question per row, with the same states pooled and token by token.

    They are those of an edit and of a query at once.
    """
    pooled = {"image": things, "text": asked, "last": asked, "target": things.flip(1)}
    tokens = {f"{n}_tokens": pooled[n][:, None] for n in ("image", "text", "target")}
    tokens |= {f"{n}_tokens": tokens["image_tokens"] for n in ("word", "name", "spelling")}
    tokens |= {"named_tokens": tokens["text_tokens"]}
    return pooled | tokens | {"seen": torch.ones(len(things), 1)}


def table() -> PairTable:
    """Each case has a probe about its own thing, which is relevant, and one about a thing of no case."""
    generator = torch.Generator().manual_seed(0)
    things, others, asked, noise = torch.randn(4, CASES, WIDTH, generator=generator)
    queries = features(torch.cat([things + 0.1 * noise, others]), asked.repeat(2, 1))
    owner = torch.arange(CASES).repeat(2)
    return PairTable(
        features(things, asked),
        {n: v for n, v in queries.items() if "target" not in n and "name" not in n},
        places=torch.arange(2 * CASES),
        owner=owner,
        relevant=torch.arange(2 * CASES) < CASES,
        edit_entity=torch.arange(CASES),
        probe_entity=torch.where(torch.arange(2 * CASES) < CASES, owner, -1),
        kinds=["reliability"] * CASES + ["image_locality"] * CASES,
        apart=torch.zeros(2 * CASES, CASES, dtype=torch.bool),
    )


def new_module(streams: str = "both") -> RouterModule:
    torch.manual_seed(0)
    shape = {"features": WIDTH, "width": 16, "dropout": 0.1, "streams": streams}
    return RouterModule(table(), shape, lr=1e-2, weight_decay=0, steps=STEPS)


def loss(module: RouterModule) -> float:
    """The objective over the whole table."""
    cases, probes = torch.arange(CASES), torch.arange(2 * CASES)
    module.eval()
    with torch.no_grad():
        logits = module(cases, probes)
    module.train()
    labels = module.table.labels(cases, probes)
    return float(pair_loss(logits, labels) + routing_loss(logits, labels))


class SameWeights(L.Callback):
    """Fails where there are not ``count`` processes, or where they end with weights that differ."""

    def __init__(self, count: int) -> None:
        self.count = count

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        weights = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
        gathered = pl_module.all_gather(weights)
        assert isinstance(gathered, Tensor)
        assert trainer.world_size == self.count
        assert torch.equal(gathered, weights.expand_as(gathered))
        assert gathered.numel() == self.count * weights.numel()


def train(module: RouterModule, folder: Path, strategy: str = "auto", devices: int = 1) -> None:
    trainer = L.Trainer(
        accelerator="cpu", devices=devices, strategy=strategy, max_steps=STEPS, max_epochs=-1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[SameWeights(devices)], default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, case_loader(CASES, STEPS, 6, seed=0, processes=devices))
