"""A trained router as a folder: ``router.json`` and ``router.safetensors``."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.errors import ArtefactError
from ldke_pl.router.base import Router
from ldke_pl.router.classifier import ClassifierRouter, PairClassifier
from ldke_pl.router.features import FeatureReader
from ldke_pl.router.radius import RadiusRouter

CONFIG, WEIGHTS = "router.json", "router.safetensors"


def describe(router: Router) -> dict[str, Any]:
    """What is needed to build the router again, apart from its weights."""
    reader = router.reader
    shared = {"layers": reader.layers, "naming": reader.naming, "common": reader.common, "threshold": router.threshold}
    if isinstance(router, ClassifierRouter):
        return {"kind": "classifier", **shared, "trust": router.classifier.trust, "shape": router.classifier.shape}
    return {"kind": "radius", **shared}


def weights(router: Router) -> dict[str, Tensor]:
    """The router's own weights; none for the radius router."""
    return dict(router.classifier.state_dict()) if isinstance(router, ClassifierRouter) else {}


def rebuild(backbone: Backbone, description: dict[str, Any], state: dict[str, Tensor], place: Path) -> Router:
    """The router that :func:`describe` and :func:`weights` came from.

    Raises:
        ArtefactError: description and weights do not fit each other or the model.
    """
    try:
        layers, naming = description["layers"], description["naming"]
        reader = FeatureReader(backbone, layers, naming, description.get("common", ()))  # routers of before knew none
        if description["kind"] == "radius":
            return RadiusRouter(reader, description["threshold"])
        classifier = PairClassifier(**description["shape"])
        unfitted = {f"guess.{name}": value for name, value in classifier.guess.state_dict().items()}
        classifier.load_state_dict(unfitted | state)  # routers of before had no guess
        classifier.trust = float(description.get("trust", 0.0))  # routers of before had none
        if description["shape"]["features"] != reader.width:
            raise ValueError(f"it reads {description['shape']['features']} numbers, this model has {reader.width}")
        return ClassifierRouter(reader, classifier, description["threshold"])
    except (KeyError, TypeError, ValueError, RuntimeError) as fault:
        raise ArtefactError(
            f"The router in {place} cannot be used: {str(fault).splitlines()[0]}", "train it anew with train.py"
        ) from fault


def save_router(router: Router, folder: Path, extra: dict[str, Any]) -> None:
    """Write the router with ``extra`` facts about it (base fingerprint, training data)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in weights(router).items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(describe(router) | extra, indent=1) + "\n", encoding="utf-8")


def load_router(backbone: Backbone, folder: Path) -> Router:
    """Read a folder written by :func:`save_router`.

    Raises:
        ArtefactError: files are missing or damaged, or the router was trained for another model.
    """
    try:
        description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        state = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as fault:
        raise ArtefactError(
            f"The router in {folder} cannot be read: {str(fault).splitlines()[0]}", "train it anew with train.py"
        ) from fault
    router = rebuild(backbone, description, state, folder)
    if not backbone.matches(description.get("fingerprint"), router.reader.layers[-1]):
        raise ArtefactError(
            f"The router in {folder} was trained for another base model than {backbone.name!r}.",
            "train one with train.py, or set router=radius",
        )
    return router
