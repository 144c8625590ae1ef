"""Messages about tables of finished runs, sweeps and benchmarks."""

import json
import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import optuna
import yaml
from producing import Tools, produces, raised
from rich.console import Console

from ldke_pl.bench import __main__ as bench
from ldke_pl.bench import editing, evaluation, routing
from ldke_pl.report import picture, runs, speed
from ldke_pl.report.page import put
from ldke_pl.report.runs import FinishedRun, merged, read_run
from ldke_pl.sweep import __main__ as sweep_command
from ldke_pl.sweep import search

SWEEP: dict[str, Any] = {
    "program": "edit.py",
    "method": "grid",
    "metric": {"name": "ldke/average"},
    "parameters": {"editor.ldke.rank": {"values": [1, 2]}},
}


def run(*images: str, **facts: object) -> FinishedRun:
    """A run with a row for each picture."""
    told = {"model": "m", "data": "d", "n_edits": 1} | facts
    rows: Any = [SimpleNamespace(method="ldke", seed=0, image=image) for image in images]
    return FinishedRun(told, rows)


@produces("<folder> is no finished run: <reason>")
def no_run(tools: Tools) -> str:
    return raised(lambda: read_run(tools.folder))


@produces("<folder> is no finished run: metrics.json lacks <names>")
def other_figures(tools: Tools) -> str:
    tools.file("metrics.json", '{"model": "m"}')
    return raised(lambda: read_run(tools.folder))


@produces("<folder> is no finished run: results.csv has other columns than edit.py writes")
def other_columns(tools: Tools) -> str:
    tools.file("metrics.json", json.dumps(dict.fromkeys(runs.FACTS, 1) | {"methods": {}}))
    tools.file("results.csv", "method,score\n")
    return raised(lambda: read_run(tools.folder))


@produces("These runs differ in <what>: <values>.")
def different_runs(tools: Tools) -> str:
    return raised(lambda: merged([run(), run(model="other")]))


@produces("These runs have no picture in common, so that their probes cannot be paired.")
def other_pictures(tools: Tools) -> str:
    tools.patch.setattr(runs, "_within_one_folder", lambda run: run)
    many = [run("a/1.png", "a/2.png"), run("b/3.png", "b/4.png")]
    return raised(lambda: merged(many))


@produces("Two runs have <method> with the same seed.")
def run_twice(tools: Tools) -> str:
    return raised(lambda: merged([run(""), run("")]))


@produces("<page> has no place for the tables.")
def no_place(tools: Tools) -> str:
    return raised(lambda: put("", "methods", tools.file("page.md", "no mark")))


@produces("<page> cannot be read or written: <reason>")
def no_page(tools: Tools) -> str:
    return raised(lambda: put("", "methods", tools.folder / "nowhere.md"))


@produces("No edit of this run's joint set has all kinds of probes and gets them right.")
def no_edit_to_show(tools: Tools) -> str:
    return raised(lambda: picture.edit_page([]))


@produces("Pictures are taken by a browser.")
def no_browser(tools: Tools) -> str:
    tools.patch.setattr(picture.shutil, "which", lambda name: None)
    return raised(lambda: picture._browser().__enter__())


@produces("<file> cannot be read: <reason>")
def other_results(tools: Tools) -> str:
    return raised(lambda: speed.main([str(tools.file("results.jsonl", "{}"))]))


@produces("Drawing needs matplotlib.")
def no_matplotlib(tools: Tools) -> str:
    tools.patch.setitem(sys.modules, "matplotlib.figure", None)
    return raised(lambda: speed.draw([], tools.folder / "speed.png"))


@produces("Sweeps need Optuna and Matplotlib.")
def no_optuna(tools: Tools) -> str:
    tools.patch.setattr(sweep_command, "find_spec", lambda name: None)
    return raised(lambda: sweep_command.main(["sweep.yaml"]))


@produces("<argument> is no key=value.")
def no_setting(tools: Tools) -> str:
    return raised(lambda: sweep_command.main(["sweep.yaml", "more"]))


@produces("count is <value>.")
def no_count(tools: Tools) -> str:
    return raised(lambda: sweep_command.main(["sweep.yaml", "count=many"]))


def read(tools: Tools, **changes: object) -> search.Sweep:
    return search.read_sweep(tools.file("sweep.yaml", yaml.safe_dump(SWEEP | changes)))


@produces("The sweep file <file> cannot be read: <reason>")
def no_sweep(tools: Tools) -> str:
    return raised(lambda: search.read_sweep(tools.folder / "nowhere.yaml"))


@produces("<file> is no sweep file: <error> <reason>")
def another_file(tools: Tools) -> str:
    return raised(lambda: search.read_sweep(tools.file("sweep.yaml", "{}")))


@produces("<file> is no sweep file: TypeError program or metric.name is no text")
def no_program(tools: Tools) -> str:
    return raised(lambda: read(tools, program=["edit.py"]))


@produces("<file> does not say what <keys> may be.")
def no_values(tools: Tools) -> str:
    return raised(lambda: read(tools, parameters={"editor.ldke.rank": {"min": 1}}))


@produces("<file> has method <name>.")
def no_method(tools: Tools) -> str:
    return raised(lambda: read(tools, method="guess"))


@produces("<folder> holds another search (<name>).")
def another_search(tools: Tools) -> str:
    search._study(read(tools), tools.folder)
    return raised(lambda: search._study(read(tools, method="random"), tools.folder))


@produces("A run has no figure <name>.")
def no_figure(tools: Tools) -> str:
    tools.patch.setattr(search.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    tools.patch.setattr(search, "_figures", lambda folder: {"ldke/reliability": 1.0})
    return raised(lambda: search._run(read(tools), {}, {}, tools.folder, Console(quiet=True)))


@produces("No run of the sweep was finished.")
def no_finished_run(tools: Tools) -> str:
    study = optuna.create_study()
    return raised(lambda: search._report(read(tools), study, tools.folder, Console(quiet=True)))


@produces('There is no benchmark "<name>".')
def no_benchmark(tools: Tools) -> str:
    return raised(lambda: bench.main(["nonsense"]))


def run_at_once(*calls: Any) -> list[float]:
    for call in calls:
        call()
    return [1.0]


def without_atlas(tools: Tools, module: Any, cases: Iterable[Any] = ()) -> None:
    """Let a benchmark run on nothing: what it finds is put in."""
    for name, value in {"atlas": lambda: None, "atlas_cases": lambda: list(cases), "side_by_side": run_at_once}.items():
        tools.patch.setattr(module, name, value)
    tools.patch.setattr(module, "LDKE", lambda *_: SimpleNamespace(edit=lambda requests: ["edit"]))


@produces("Edits of a batch differ by <value> from single ones.")
def batch_that_differs(tools: Tools) -> str:
    without_atlas(tools, editing)
    tools.patch.setattr(editing, "atlas", MagicMock())  # its base is brought to double precision
    tools.patch.setattr(editing, "_by_kind", lambda backbone: None)
    tools.patch.setattr(editing, "_distance", lambda one, other: 1.0)
    return raised(lambda: list(editing.batched()))


@produces("<n> of <n> answers depend on the batch.")
def answers_that_differ(tools: Tools) -> str:
    without_atlas(tools, evaluation)

    def evaluator(backbone: object, cases: object, protocols: object, size: int) -> SimpleNamespace:
        return SimpleNamespace(forced=lambda edits: SimpleNamespace(texts={0: f"in batches of {size}"}))

    tools.patch.setattr(evaluation, "Evaluator", evaluator)
    return raised(lambda: list(evaluation.evaluation()))


@produces("Among <n> edits the first question misses its own.")
def missed_edit(tools: Tools) -> str:
    without_atlas(tools, routing)
    prompts = SimpleNamespace(encode=lambda questions: {})
    edited = SimpleNamespace(
        backbone=SimpleNamespace(prompts=prompts), edits={"first": None}, router=None,
        route=lambda batch: SimpleNamespace(rows=["base"]),
    )  # fmt: skip
    tools.patch.setattr(routing, "_edited", lambda: edited)
    tools.patch.setattr(routing, "made_up", lambda *_: [])
    return raised(lambda: list(routing.generation()))
