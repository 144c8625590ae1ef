"""From the page's settings to a session: load the model, and edits to begin with."""

from dataclasses import asdict
from pathlib import Path

import torch

from ldke_pl.app.localization import Localization
from ldke_pl.app.session import Session
from ldke_pl.config import CONF_DIR, AppConfig, EditConfig, ModelConfig, load_config
from ldke_pl.edited import EditedModel
from ldke_pl.editors import build_editor
from ldke_pl.localize import Calibration, build_localizer

METHOD = "ldke"
"""The editor of the page, as ``edit.py`` has it by default."""


def open_session(config: AppConfig) -> Session:
    """Load everything.

    Raises:
        ModelError: the model cannot be loaded.
        ArtefactError: the router or the edits are damaged, or were made for another model.
    """
    edited = _edited(config)
    backbone, router = edited.backbone, config.model.router
    if router:
        edited.calibration = Calibration.load(Path(router))
    calibration = edited.calibration
    settings: EditConfig = load_config(EditConfig, CONF_DIR / "edit.yaml", [])
    editor = settings.editor[METHOD]
    localization = Localization(backbone, build_localizer(backbone, settings.localizer, calibration), calibration)
    edited.editor = build_editor(backbone, editor, localization)
    kinds = sorted({*calibration.best_fixed, *editor.propagation_groups})
    return Session(edited, localization, kinds, editor.steps)


def _edited(config: AppConfig) -> EditedModel:
    """The model with the edits to begin with, on a CUDA GPU if there is one."""
    usual = asdict(ModelConfig())
    told = {name: value for name, value in asdict(config.model).items() if value != usual[name]}
    router, name = told.pop("router", None), told.pop("name", None)
    if config.edits:
        edited = EditedModel.load(config.edits, name, **told)  # what is not told is as the edits' base was
    else:
        edited = EditedModel.from_pretrained(config.model.name, router, **told)
    if torch.cuda.is_available() and not config.model.device_map and config.model.quantization != "bitsandbytes-4bit":
        edited.to("cuda")
    return edited
