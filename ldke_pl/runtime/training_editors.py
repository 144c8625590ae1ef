"""What ``train.py editor=NAME`` does: fit a method's own parameters on other edits, or collect what it shows."""

import time
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from rich.console import Console

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.config import EditorConfig, LocalizerConfig, TrainConfig
from ldke_pl.data import EditCase
from ldke_pl.editors import DemonstratedEditor, Editor, TrainedEditor, build_editor
from ldke_pl.editors.store import save_trained
from ldke_pl.errors import ConfigError
from ldke_pl.localize import Calibration
from ldke_pl.modules.meta import MetaModule, validation_loss
from ldke_pl.modules.pairs import without_relations
from ldke_pl.modules.router import case_loader
from ldke_pl.runtime.data import training_and_validation
from ldke_pl.runtime.folder import build_logger, commit, open_run, write_metrics
from ldke_pl.runtime.session import choose_sites
from ldke_pl.runtime.trainer import build_trainer


def run_train_editors(config: TrainConfig) -> None:
    """Write to ``<run>/NAME`` what every method that ``config.editor`` names learns from the training split."""
    folder, _lock = open_run(config, "train")
    console = Console()
    first = build_trainer(config.trainer, folder, logger=False)
    backbone = load_backbone(config.model, first.strategy.root_device)
    editors = {name: _learning(backbone, name, settings) for name, settings in config.editor.items()}
    start, held_out, losses = time.perf_counter(), set(config.router.held_out_relations), {}
    splits = training_and_validation(config.data, config.run.seeds[0])
    train, validation = (without_relations(cases, held_out) for cases in splits)
    for name, editor in editors.items():
        if isinstance(editor, TrainedEditor):
            fit(config, name, editor, train, folder)
        if not first.is_global_zero:
            continue
        if isinstance(editor, TrainedEditor):
            save_trained(editor, config.editor[name].cls, backbone, folder / name)
            editor.net.to(backbone.device)
            losses[name] = validation_loss(editor, validation, config.editor[name].train_batch)
            console.print(f"{name}: loss {losses[name]:.3f} on validation edits; saved to {folder / name}")
        else:
            console.print(f"{name}: {editor.collect(train, folder / name)} demonstrations in {folder / name}")
    if first.is_global_zero:
        metrics = {
            "schema": 1, "model": config.model.name, "data": config.data.format, "commit": commit(),
            "seeds": config.run.seeds, "n_edits": len(train), "seconds": time.perf_counter() - start,
            "methods": {name: {"validation": {"loss": loss}} for name, loss in losses.items()},
        }  # fmt: skip
        write_metrics(folder, metrics)


def fit(config: TrainConfig, name: str, editor: TrainedEditor, cases: Sequence[EditCase], folder: Path) -> None:
    """Train one method with Lightning."""
    settings, seed = config.editor[name], config.run.seeds[0]
    L.seed_everything(seed, verbose=False)
    trainer = build_trainer(
        config.trainer, folder, build_logger(config.logger, folder),
        max_steps=settings.train_steps, gradient_clip_val=1.0, log_every_n_steps=20,
    )  # fmt: skip
    module = MetaModule(editor, cases, settings.train_lr, settings.train_steps, seed)
    trainer.fit(module, case_loader(len(cases), settings.train_steps, settings.train_batch, seed))


def needs_training(config: TrainConfig) -> bool:
    """Whether a method is named that learns something of its own; what others share is the router."""
    return any(settings.routing != "shared" for settings in config.editor.values())


def _learning(backbone: Backbone, name: str, settings: EditorConfig) -> TrainedEditor | DemonstratedEditor:
    sites = choose_sites(backbone, settings, LocalizerConfig(), Calibration(), seed=0)
    editor: Editor = build_editor(backbone, settings, sites)
    if not isinstance(editor, TrainedEditor | DemonstratedEditor):
        hint = "name methods that have, such as editor=mend; without editor= the router is trained"
        raise ConfigError(f"{name} has nothing to train.", hint)
    return editor
