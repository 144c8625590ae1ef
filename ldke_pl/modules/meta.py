"""Training of an editing method's own parameters as a LightningModule: each step makes edits and judges them."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ldke_pl.data import EditCase
from ldke_pl.editors import TrainedEditor


def validation_loss(editor: TrainedEditor, cases: Sequence[EditCase], size: int) -> float:
    """The mean loss of cases that nothing was trained on, ``size`` at a time; the same draws whenever it is taken."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(cases), generator=generator).tolist()
    editor.net.eval()
    total = 0.0
    for start in range(0, len(order), size):
        part = [cases[i] for i in order[start : start + size]]
        with torch.inference_mode(False), torch.enable_grad():  # a step on an edit may be part of the loss
            total += editor.training_loss(part, generator).item() * len(part)
    return total / len(cases)


class MetaModule(L.LightningModule):
    """Fits what a method learns from other edits; Adam with a one-cycle rate.

    Args:
        editor: the method; its ``net`` is trained.
        cases: training edits with their probes.
        seed: of what the loss draws.
    """

    def __init__(self, editor: TrainedEditor, cases: Sequence[EditCase], lr: float, steps: int, seed: int) -> None:
        super().__init__()
        self.editor, self.cases, self.lr, self.steps = editor, cases, lr, steps
        self.net = editor.net
        self.generator = torch.Generator().manual_seed(seed)

    def training_step(self, numbers: Tensor, batch_idx: int) -> Tensor:
        """One batch of case numbers."""
        loss = self.editor.training_loss([self.cases[i] for i in numbers.tolist()], self.generator)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with a one-cycle rate."""
        optimiser = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.lr, total_steps=self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
