"""Messages about runs, their folders and devices."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from filelock import FileLock
from producing import ASKED, Tools, produces, raised
from rich.console import Console

from ldke_pl import localizer_study
from ldke_pl.config import CONF_DIR, DataConfig, EditConfig, EditorConfig, TrainConfig, load_config
from ldke_pl.data import Question, read_cases
from ldke_pl.localize import Calibration
from ldke_pl.modules.features import read_features
from ldke_pl.router import FeatureReader
from ldke_pl.runtime import data as run_data
from ldke_pl.runtime import run_train
from ldke_pl.runtime.data import held_out_entities, load_cases
from ldke_pl.runtime.entry import _within_memory
from ldke_pl.runtime.exhaustive import Trial
from ldke_pl.runtime.folder import open_run
from ldke_pl.runtime.making import _told_by_fork
from ldke_pl.runtime.own_cases import own_cases
from ldke_pl.runtime.session import Session, _distractors, prepare
from ldke_pl.runtime.trainer import build_trainer
from ldke_pl.runtime.training_editors import _learning


def settings(*arguments: str) -> EditConfig:
    return load_config(EditConfig, CONF_DIR / "edit.yaml", list(arguments))


def rows(tools: Tools) -> Path:
    return tools.file("rows.json", json.dumps([{"prompt": "Who?", "target": "Ada", "entity": "x"}]))


@produces("Another process is writing the run folder <folder>.")
def taken_folder(tools: Tools) -> str:
    with FileLock(tools.folder / ".lock"):
        return raised(lambda: open_run(settings(f"run.dir={tools.folder}"), "edit"))


@produces("The run folder <folder> cannot be written: <reason>")
def unwritable_folder(tools: Tools) -> str:
    return raised(lambda: open_run(settings(f"run.dir={tools.file('file', '') / 'run'}"), "edit"))


@produces(
    "No trainer can be made with trainer.accelerator=<name>, trainer.devices=<n>, trainer.strategy=<name>, "
    "trainer.precision=<name>: <reason>"
)
def no_trainer(tools: Tools) -> str:
    return raised(lambda: build_trainer(settings("trainer.accelerator=abacus").trainer, tools.folder, False))


@produces("The accelerator's memory is full: <reason>")
def full_memory(tools: Tools) -> str:
    def fill(_config: EditConfig) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    return raised(lambda: _within_memory(fill, settings()))


@produces("This makes edits on one device.")
def several_devices(tools: Tools) -> str:
    return raised(lambda: prepare(settings("trainer.devices=2"), Console()))


@produces("<n> edits and <n> questions cannot be shared by <n> processes.")
def too_many_processes(tools: Tools) -> str:
    trainer: Any = SimpleNamespace(world_size=9)
    reader = FeatureReader(tools.backbone)
    return raised(lambda: read_features(trainer, reader, [ASKED], [Question(None, "Who?")], tools.folder))


@produces("A process failed: <reason>")
def failed_process(tools: Tools) -> str:
    return _told_by_fork("Traceback (most recent call last):\nZeroDivisionError: division by zero\n").message


def session(tools: Tools, *arguments: str) -> Session:
    """A run that nothing was loaded for but two cases."""
    cases = read_cases("atlas", tools.data / "edit-eval.json", tools.data, limit=2)
    nothing: Any = None
    config = settings(f"data.root={tools.data}", *arguments)
    return Session(config, tools.folder, nothing, nothing, Calibration(), cases, Console(), False)


@produces("run.index asks for <n> keys, but the joint set alone has <n>.")
def small_index(tools: Tools) -> str:
    return raised(lambda: _distractors(session(tools, "run.index=[1]")))


@produces("run.index asks for <n> keys, but the joint set and data.distractors=<names> have <n>.")
def large_index(tools: Tools) -> str:
    return raised(lambda: _distractors(session(tools, "run.index=[999]", "data.distractors=[router-val]")))


@produces("Atlas has no split <name>.")
def no_split(tools: Tools) -> str:
    return raised(lambda: load_cases(DataConfig(split="test")))


@produces("Atlas cannot be written to <folder>: <reason>")
def unwritable_world(tools: Tools) -> str:
    return raised(lambda: load_cases(DataConfig(root=str(tools.file("file", "")))))


@produces("<file> holds no case to edit.")
def no_case(tools: Tools) -> str:
    tools.patch.setattr(run_data, "read_cases", lambda *_, **__: [])
    return raised(lambda: load_cases(DataConfig(format="plain", path=str(rows(tools)))))


@produces("Made pictures cannot be written: <reason>")
def unwritable_pictures(tools: Tools) -> str:
    cases = read_cases("plain", rows(tools), None)
    return raised(lambda: own_cases(cases, tools.file("file", ""), Console(quiet=True)))


@produces("<id> and <id> are edits of the same question about the same picture: <question>.")
def same_question(tools: Tools) -> str:
    path = tools.file("twice.json", json.dumps([{"prompt": "Who?", "target": name} for name in ("Ada", "Grace")]))
    return raised(lambda: own_cases(read_cases("plain", path, None), tools.folder, Console(quiet=True)))


@produces("Every case also occurs in <file>.")
def nothing_left(tools: Tools) -> str:
    path = str(rows(tools))
    return raised(lambda: load_cases(DataConfig(format="plain", path=path, train=path, deleak=True)))


@produces("All training cases are about one entity.")
def one_entity(tools: Tools) -> str:
    return raised(lambda: held_out_entities(read_cases("plain", rows(tools), None), 0))


@produces("router.held_out_relations leaves nothing to train on: <relations> are all there are.")
def nothing_to_train_on(tools: Tools) -> str:
    relations = "router.held_out_relations=[name,capital,leader,currency,language,continent]"
    places = [f"model.name={tools.model}", f"data.root={tools.data}", f"run.dir={tools.folder / 'run'}"]
    config = load_config(TrainConfig, CONF_DIR / "train.yaml", [*places, relations, "logger=none"])
    return raised(lambda: run_train(config))


@produces("<name> has nothing to train.")
def nothing_to_train(tools: Tools) -> str:
    method = EditorConfig(cls="ldke_pl.editors.lora.LoRA", sites="last")
    return raised(lambda: _learning(tools.backbone, "lora", method))


@produces("editor names no <name>, whose sites are compared.")
def no_method(tools: Tools) -> str:
    return raised(lambda: Trial.of(session(tools, "editor=no_edit")))


@produces("No localizer was calibrated for <model>.")
def no_calibration(tools: Tools) -> str:
    run = replace(session(tools), calibration=Calibration())
    tools.patch.setattr(localizer_study, "prepare", lambda *_: run)
    return raised(lambda: localizer_study.run_study(run.config))
