"""Training of the Disentanglement Classifier as a LightningModule. Ours."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from ldke_pl.modules.pairs import PairTable
from ldke_pl.router import Features, PairClassifier


class RouterModule(L.LightningModule):
    """Fits a pair classifier on a table of pairs.

    Two objectives: every pair of a batch by itself (its own probes and other cases' counted alike), and the routing
    decision as a whole, in which each query chooses among the batch's edits and the base. Of a batch that several
    processes share, each compares its own cases' probes with all edits, so that the decisions are those of one process.

    Args:
        table: training pairs; not part of the checkpoint.
        shape: arguments of :class:`~ldke_pl.router.PairClassifier`.
        lr, weight_decay, steps: of AdamW with a one-cycle rate.
    """

    def __init__(self, table: PairTable, shape: dict[str, Any], lr: float, weight_decay: float, steps: int) -> None:
        super().__init__()
        self.save_hyperparameters({"shape": shape, "lr": lr, "weight_decay": weight_decay, "steps": steps})
        self.table = table
        self.classifier = PairClassifier(**shape)
        self.classifier.centre(table.queries)
        self.things = table.things()
        self.size = self.classifier.shape["cohort"]
        self.classifier.compare_with(self._take(table.edits, self.things[: self.size]))

    def training_step(self, cases: Tensor, batch_idx: int) -> Tensor:
        """One batch of cases, those of this process with all their probes."""
        probes = torch.isin(self.table.owner, cases.cpu()).nonzero().squeeze(1)
        gathered = self.all_gather(cases)
        assert isinstance(gathered, Tensor)
        edits = gathered.flatten().cpu()
        labels = self.table.labels(edits, probes).to(self.device)
        logits = self(edits, probes)
        loss = pair_loss(logits, labels) + routing_loss(logits, labels)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def forward(self, cases: Tensor, probes: Tensor) -> Tensor:
        """Relevance logits, (probes, cases)."""
        edits = self._take(self.table.edits, cases)
        queries = self._take(self.table.queries, self.table.places[probes])
        cohort = self._cohort(cases)
        known = self.table.probe_entity[probes][:, None] == self.table.edit_entity[cohort][None]
        things = self.classifier.things(self._take(self.table.edits, cohort))
        embedded = self.classifier.embed_queries(queries, things, known.to(self.device))
        logits: Tensor = self.classifier(embedded, self.classifier.embed_edits(edits))
        return logits

    def _cohort(self, cases: Tensor) -> Tensor:
        """Things that none of ``cases`` is about, as those of the finished classifier's cohort are never edited."""
        entity = self.table.edit_entity
        others = self.things[~torch.isin(entity[self.things], entity[cases])]
        return others[torch.randperm(len(others))[: self.size]]

    def _take(self, features: Features, rows: Tensor) -> Features:
        return {name: value[rows].to(self.device) for name, value in features.items()}

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle rate."""
        settings = self.hparams
        optimiser = torch.optim.AdamW(self.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings["lr"], total_steps=settings["steps"])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def pair_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of relevant, own irrelevant and other irrelevant pairs, each counted alike."""
    losses = F.binary_cross_entropy_with_logits(logits, labels.clamp_min(0).float(), reduction="none")
    own_query = (labels == 1).any(1, keepdim=True)
    parts = (labels == 1, (labels == 0) & ~own_query, (labels == 0) & own_query)
    return torch.stack([losses[p].mean() for p in parts if p.any()]).mean()


def routing_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each query's choice among the edits of the batch and the base, whose logit is 0."""
    known = logits.masked_fill(labels < 0, -torch.inf)
    with_base = torch.cat([known, known.new_zeros(len(known), 1)], 1)
    relevant = labels == 1
    choice = torch.where(relevant.any(1), relevant.float().argmax(1), logits.shape[1])
    losses = F.cross_entropy(with_base, choice, reduction="none")
    to_base = choice == logits.shape[1]
    return torch.stack([losses[p].mean() for p in (to_base, ~to_base) if p.any()]).mean()


class CaseStream(Dataset[int]):
    """Case numbers, drawn so that one epoch is the whole training: ``steps`` batches of ``batch_size``."""

    def __init__(self, n_cases: int, steps: int, batch_size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        rounds = -(-steps * batch_size // n_cases)
        drawn = torch.cat([torch.randperm(n_cases, generator=generator) for _ in range(rounds)])
        self.order = drawn[: steps * batch_size]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> int:
        return int(self.order[index])


def case_loader(n_cases: int, steps: int, batch_size: int, seed: int, processes: int = 1) -> DataLoader[int]:
    """Batches of case numbers, (batch,) long; each of several processes takes its share of every batch."""
    share = -(-batch_size // processes)
    return DataLoader(CaseStream(n_cases, steps, share * processes, seed), batch_size=share)
