"""GRACE (Hartvigsen et al. 2023): a codebook at one layer, from activations to values that replace its output.

An edit's key is what goes into the layer's linear map at the last token of its prompt. A query whose own activation
lies within the key's ball has the output there replaced by the edit's value, which is trained with cross-entropy. A new
key whose ball meets that of the nearest earlier one splits the space between both, or, if both have one target, is
covered by the earlier ball (``eps_expand: coverage``).

Published: layer 18 of 32 (EasyEdit and VLKEB for 7B models), radius 1, Adam with lr 1, 50 to 100 steps. Deviations: the
value starts from the layer's own output (``val_init: warm``; the papers' default draws it) and stops at ``stop_loss``;
the output is replaced at the last prompt token alone (``replace_last``), which works for generation with a cache
(EasyEdit's ``replace_prompt`` replaces the tokens before it); a value is not trained further when its ball expands;
splitting a ball never enlarges it, which the published code does where three keys meet; targets are compared as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.codebook import ActivationReader, BallGate, distances, fixed_site
from ldke_pl.editors.ldke import finished
from ldke_pl.editors.optimise import optimise
from ldke_pl.edits import Delta, Edit


@dataclass
class Entry:
    """One key of a codebook, and the edit whose value it leads to."""

    edit: Edit
    radius: float


class GRACE:
    """Values that replace a layer's output at the last prompt token, for queries close to the edit's own."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        self.backbone, self.config = backbone, config
        self.site = fixed_site(sites)
        self.gate = BallGate(ActivationReader(backbone, self.site, mean=False))

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            edits += self._edit(requests[start : start + self.config.batch_size], seed)
        return edits

    def _edit(self, requests: Sequence[EditRequest], seed: int) -> list[Edit]:
        reader = self.gate.reader
        keys = reader.questions([Question(r.image, r.prompt) for r in requests])["state"]
        starts = [{reader.name: Delta((), value[None], replaces=True)} for value in self._outputs(keys)]
        problems = optimise(self.backbone, requests, starts, self.config, seed=seed)
        radius = torch.tensor(self.config.radius)
        found = zip((finished(p, (self.site,)) for p in problems), keys.cpu(), strict=True)
        return [replace(edit, key={"state": key, "radius": radius}) for edit, key in found]

    @torch.no_grad()
    def _outputs(self, keys: Tensor) -> Tensor:
        """What the layer gives for its own keys, (edits, out), fp32."""
        slot = self.gate.reader.slot
        outputs: Tensor = keys.clone() if slot.after else slot.module(keys.to(self.backbone.model.dtype)).float()
        return outputs

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """See :class:`ldke_pl.editors.base.JointEditor`: one codebook, filled in order.

        A request whose target an earlier key covers is answered by that key's edit.
        """
        entries: list[Entry] = []
        owners = [self._entered(entries, edit) for edit in edits]
        keys = [{**entry.edit.key, "radius": torch.tensor(entry.radius)} for entry in entries]
        own = zip(edits, owners, strict=True)
        return [replace(edit, deltas=entries[o].edit.deltas, key=keys[o]) for edit, o in own]

    def _entered(self, entries: list[Entry], edit: Edit) -> int:
        """Enter an edit into the codebook and return the number of the key that leads to what it says."""
        radius = self.config.radius
        if entries:
            known = torch.stack([entry.edit.key["state"] for entry in entries])
            nearest = int(distances(edit.key["state"][None], known).argmin())
            near = entries[nearest]
            far = float(distances(edit.key["state"][None], known)[0, nearest])
            if far <= radius + near.radius:
                if edit.target == near.edit.target:
                    near.radius = max(near.radius, far)
                    return nearest
                near.radius, radius = min(near.radius, far / 2), min(radius, far / 2)
        entries.append(Entry(edit, radius))
        return len(entries) - 1
