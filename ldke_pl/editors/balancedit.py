"""BalancEdit (Guo et al. 2025): fine-tuned layers in a codebook, each behind a radius of its own, which is not trained.

An edit's radius is (1 - a) * d(negative) + a * d(rephrasing), from its key to the activations of a black picture under
the same question and of a rephrasing about the same picture; a = 0.97 (``balance``). Keys are means over the prompt of
what goes into the edited layer. A query goes to the nearest key if it lies within that key's radius.

Deviations: a prefixed prompt in place of a model's rephrasing; without a picture, the negative example is a neutral
prompt; each edit has its own full-rank update of the layer, fitted as FT-L's is, so that edits stay apart; balls that
meet are not split, as the nearest key decides between them.
"""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question, load_image
from ldke_pl.editors.base import Sites
from ldke_pl.editors.codebook import ActivationReader, BallGate, distances, fixed_site
from ldke_pl.editors.ldke import LDKE
from ldke_pl.edits import Edit
from ldke_pl.router import Key
from ldke_pl.router.radius import NEUTRAL, PREFIX


class BalancEdit(LDKE):
    """A full-rank update at one decoder layer, for queries within a radius that the edit itself sets."""

    full_rank = True

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        super().__init__(backbone, config, sites)
        self.gate = BallGate(ActivationReader(backbone, fixed_site(sites), mean=True))

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits = super().edit(requests, seed=seed)
        return [replace(edit, key=self._key(r)) for edit, r in zip(edits, requests, strict=True)]

    def _key(self, request: EditRequest) -> Key:
        asked = [Question(request.image, request.prompt), Question(request.image, PREFIX + request.prompt)]
        asked.append(_negative(request))
        states = self.gate.reader.questions(asked)["state"].cpu()
        return {"state": states[0], "radius": radius(states, self.config.balance)}


def radius(states: Tensor, balance: float) -> Tensor:
    """From the states of an edit, its rephrasing and its negative example, (3, features), to a scalar."""
    near, far = distances(states[:1], states[1:])[0]
    found: Tensor = balance * near + (1 - balance) * far
    return found


def _negative(request: EditRequest) -> Question:
    """What the edit is not about: its question about a black picture, or a neutral prompt where it has none."""
    if request.image is None:
        return Question(None, NEUTRAL)
    return Question(Image.new("RGB", load_image(request.image).size), request.prompt)
