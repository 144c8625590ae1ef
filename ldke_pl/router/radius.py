"""A training-free router of two streams: the fallback for a model that has no trained classifier.

Each edit has a radius per stream, in the manner of BalancEdit's (1 - a) * d(negative) + a * d(rephrasing), with an
altered picture and a black one in the visual stream. Deviations, ours: cosine distances, two streams that must both
agree, a prefixed prompt in place of a rephrasing, one neutral prompt as negative.

It can only recognise the edit's own question about the edit's own thing. An entity edit does not spread to other
questions behind it, nor an attribute edit to questions without picture: train a classifier for that.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.data import EditRequest, Question, load_image
from ldke_pl.data.views import augmented_views
from ldke_pl.router.base import Key, stacked
from ldke_pl.router.features import FeatureReader, Features

BALANCE = 0.7
"""Weight a of the near example against the far one; the same in both streams."""

NEUTRAL = "Describe what you see."
PREFIX = "Please answer this question. "


class RadiusRouter:
    """Relevant if both streams lie within the edit's radii; a relevance of 0.5 is the radius itself."""

    def __init__(self, reader: FeatureReader, threshold: float = 0.5) -> None:
        self.reader, self.threshold = reader, threshold

    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """See :class:`ldke_pl.router.base.Router`."""
        return [self._key(request) for request in requests]

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        if not keys:
            return torch.zeros(len(queries["seen"]), 0)
        return self.compare(queries, {name: value.to(queries["seen"].device) for name, value in stacked(keys).items()})

    def asked(self, queries: Features) -> Features:
        """See :class:`ldke_pl.router.base.Router`."""
        return queries

    def compare(self, asked: Features, keys: Features) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        semantic = _distance(asked["last"], keys["last"]) / keys["last_radius"]
        visual = _distance(asked["image"], keys["image"]) / keys["image_radius"]
        # A text-only edit has no picture to compare; a text-only query has none that could be the edit's.
        no_picture = torch.where(asked["seen"] > 0, torch.inf, 0.0)
        visual = torch.where(keys["seen"].T > 0, torch.where(asked["seen"] > 0, visual, torch.inf), no_picture)
        within: Tensor = (1 - torch.maximum(semantic, visual) / 2).clamp(0, 1)
        return within

    def key_views(self, keys: Features) -> Features:
        """Nothing: one product of matrices compares all keys."""
        return {}

    def query_views(self, asked: Features) -> Features:
        """Nothing."""
        return {}

    def key_guesses(self, keys: Features) -> Tensor:
        """Nothing."""
        return torch.zeros(len(keys["seen"]), 0)

    def query_guesses(self, asked: Features) -> Tensor:
        """Nothing."""
        return torch.zeros(len(asked["seen"]), 0)

    def _key(self, request: EditRequest) -> Key:
        asked = [Question(request.image, p) for p in (request.prompt, PREFIX + request.prompt, NEUTRAL)]
        if request.image is not None:
            image = load_image(request.image)
            altered = augmented_views(image, 2, np.random.default_rng(0))[1]
            black = Image.new("RGB", image.size)
            asked += [Question(altered, request.prompt), Question(black, request.prompt)]
        features = {name: value.cpu() for name, value in self.reader.questions(asked).items()}
        key = {name: features[name][0] for name in ("image", "last", "seen")}
        key["last_radius"] = _radius(features["last"][:3])
        key["image_radius"] = _radius(features["image"][[0, 3, 4]]) if request.image is not None else torch.ones(())
        return key


def _radius(states: Tensor) -> Tensor:
    """From the states of the edit, its near and its far example, (3, width)."""
    near, far = _distance(states[:1], states[1:]).squeeze(0)
    radius: Tensor = BALANCE * near + (1 - BALANCE) * far
    return radius.clamp_min(1e-6)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Cosine distances, (n, width) and (m, width) to (n, m)."""
    a, b = (torch.nn.functional.normalize(x.float(), dim=-1) for x in (a, b))
    distance: Tensor = 1 - a @ b.T
    return distance
