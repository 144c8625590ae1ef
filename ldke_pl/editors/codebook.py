"""What codebook methods (GRACE, BalancEdit) share: keys that are activations, and balls about them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.hooks import captured, early_exit
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.errors import ConfigError
from ldke_pl.router import Features, Key
from ldke_pl.router.base import stacked


class ActivationReader:
    """Reads what goes into the linear layer of one site, in the unedited model.

    Args:
        site: a decoder layer's name.
        mean: average over all of a prompt's tokens, in place of the last one alone.
    """

    def __init__(self, backbone: Backbone, site: str, *, mean: bool) -> None:
        self.backbone, self.mean = backbone, mean
        ((self.name, self.slot),) = backbone.sites[site].slots.items()

    @torch.no_grad()
    def questions(self, questions: Sequence[Question]) -> Features:
        """``state``: one activation per question, (questions, in features), fp32."""
        batch = self.backbone.prompts.encode(questions).to(self.backbone.device)
        module = self.slot.module
        with captured({self.name: module}, inputs=not self.slot.after) as states, early_exit(module):
            self.backbone(**batch, use_cache=False)
        mask = batch["attention_mask"]
        # Some models flatten rows before a linear layer.
        hidden = states[self.name].float().reshape(*mask.shape, -1)
        if not self.mean:
            return {"state": hidden[:, -1]}
        weight = mask.float()
        return {"state": torch.einsum("bth,bt->bh", hidden, weight) / weight.sum(1, keepdim=True)}


class BallGate:
    """A query goes to the nearest key if it lies in that key's ball.

    Keys have a ``state`` (features,) and a ``radius`` (), by Euclidean distance.
    """

    threshold = 0.5

    def __init__(self, reader: ActivationReader) -> None:
        self.reader = reader

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """1 at the key, 0.5 on its sphere, falling towards 0 outside; 0 for all but the nearest key.

        Returns:
            (queries, keys).
        """
        asked = queries["state"]
        if not keys:
            return torch.zeros(len(asked), 0)
        known = {name: value.to(asked.device) for name, value in stacked(keys).items()}
        far = distances(asked, known["state"])
        radius = known["radius"].clamp_min(1e-12)
        nearest = far <= far.min(1, keepdim=True).values
        return torch.where(nearest, radius / (radius + far), 0.0)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances, (n, features) and (m, features) to (n, m)."""
    # The faster way by matrix products leaves a state at a distance from itself.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def fixed_site(sites: Sites) -> str:
    """The one site at which a codebook stands, whatever is edited.

    Raises:
        ConfigError: it is no decoder layer, so that questions without a picture would have no key.
    """
    site = sites([EditRequest(None, "?", "?")])[0][0]
    if site == CONNECTOR:
        raise ConfigError("A codebook stands at a decoder layer.", "set the editor's sites=decoder.N")
    return site
