"""What an editing method was trained to, as a folder: ``editor.json`` and ``editor.safetensors``."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ldke_pl.backbone import Backbone
from ldke_pl.editors.base import TrainedEditor
from ldke_pl.errors import ArtefactError

CONFIG, WEIGHTS = "editor.json", "editor.safetensors"


def save_trained(editor: TrainedEditor, cls: str, backbone: Backbone, folder: Path) -> None:
    """Write the trained parameters, and for which method and base they are."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in editor.net.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    fingerprint = backbone.fingerprint(len(backbone.layers) - 1, rounded=True)
    facts = {"cls": cls, "base": backbone.name, "fingerprint": fingerprint}
    (folder / CONFIG).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_trained(editor: TrainedEditor, cls: str, backbone: Backbone, folder: Path | None) -> None:
    """Give an editor the parameters of a folder written by :func:`save_trained`.

    Raises:
        ArtefactError: there are none, they cannot be read, or they are for another method or base.
    """
    hint = "train the method with `python train.py editor=NAME` and name the folder in editor.NAME.weights"
    if folder is None:
        raise ArtefactError(f"{cls} must be trained for {backbone.name!r} before it can edit.", hint)
    try:
        facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        editor.net.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, RuntimeError, SafetensorError) as fault:
        raise ArtefactError(f"{folder} cannot be used for {cls}: {str(fault).splitlines()[0]}", hint) from fault
    if facts.get("cls") != cls or not backbone.matches(facts.get("fingerprint"), len(backbone.layers) - 1):
        raise ArtefactError(f"{folder} was trained for another method or base than {cls} of {backbone.name!r}.", hint)
    editor.net.to(backbone.device).eval().requires_grad_(False)
