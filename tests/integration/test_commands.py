"""``edit.py`` and ``train.py`` as a user runs them, from the command line to the run folder."""

import csv
import json
import math
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import Outcome, call_command, run_command

from ldke_pl import EditedModel, EditRequest
from ldke_pl.config import CONF_DIR
from ldke_pl.data import ProbeKind, Question, read_cases
from ldke_pl.metrics.results import ProbeResult, read_results

METHODS = ("ldke", "ft_l", "no_edit")
PROTOCOLS = ("generate", "masked", "vlkeb")
GROUPS = {"all", "entity", "attribute"}
KINDS = {*(kind.value for kind in ProbeKind), "average"}
COSTS = {"seconds_per_edit", "seconds_localize", "bytes_per_edit"}
CASES = 4


@pytest.fixture(scope="module")
def edit_run(model_folder: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Run folder and outcome of ``edit.py`` with all protocols and a peer, in a process of its own."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    arguments = [
        f"model.name={model_folder}",
        "router=radius",
        f"data.root={data_root}",
        f"data.limit={CASES}",
        f"editor=[{','.join(METHODS)}]",
        "editor.ldke.steps=2",
        "editor.ft_l.steps=2",
        f"run.protocols=[{','.join(PROTOCOLS)}]",
        f"run.dir={folder}",
        "run.resamples=20",
    ]
    return folder, run_command("edit", arguments)


@pytest.fixture(scope="module")
def train_run(model_folder: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The same for ``train.py``."""
    folder = tmp_path_factory.mktemp("train") / "run"
    arguments = [f"model.name={model_folder}", f"data.root={data_root}", "router.steps=20", f"run.dir={folder}"]
    return folder, run_command("train", arguments)


@pytest.fixture(scope="module")
def metrics(edit_run: tuple[Path, Outcome]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((edit_run[0] / "metrics.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def rows(edit_run: tuple[Path, Outcome]) -> list[ProbeResult]:
    return list(read_results(edit_run[0] / "results.csv"))


def test_edit_ends_well_and_says_where_its_report_is(edit_run: tuple[Path, Outcome]) -> None:
    folder, outcome = edit_run
    assert outcome.status == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert f"report: {folder / 'report.html'}" in outcome.out.replace("\n", "")
    assert all(method in outcome.out for method in METHODS)


def test_run_folder_holds_what_it_should(edit_run: tuple[Path, Outcome]) -> None:
    folder = edit_run[0]
    files = {".lock", "config.yaml", "metrics.json", "results.csv", "edits", "report.html", "logs"}
    assert {path.name for path in folder.iterdir()} == files
    assert {path.name for path in (folder / "edits").iterdir()} == {
        "edit_config.json",
        "edits.safetensors",
        "router.safetensors",
    }
    assert not [*folder.rglob("*.partial"), *folder.rglob("*.ckpt"), *folder.rglob("*.p*kl*")]


def test_metrics_have_the_keys_of_schema_1(metrics: dict[str, Any], model_folder: Path) -> None:
    assert metrics.keys() >= {"schema", "model", "data", "commit", "seeds", "n_edits", "methods"}
    assert (metrics["schema"], metrics["data"], metrics["seeds"], metrics["n_edits"]) == (1, "atlas", [0], CASES)
    assert metrics["model"] == str(model_folder)
    assert {*metrics["methods"]} == {*METHODS}
    for method in METHODS:
        figures = metrics["methods"][method]
        assert figures.keys() >= COSTS | {"single"}
        assert figures.keys() <= COSTS | {"single", "joint"}
    assert "joint" in metrics["methods"]["ldke"]


@pytest.mark.parametrize(("method", "mode"), [("ldke", "single"), ("ldke", "joint"), ("no_edit", "single")])
def test_figures_are_kept_by_protocol_group_and_kind(metrics: dict[str, Any], method: str, mode: str) -> None:
    figures = metrics["methods"][method][mode]
    tables = [figures["protocol"][p] for p in PROTOCOLS] + [figures["unrouted"], figures["ceiling"]]
    assert figures["protocol"].keys() == {*PROTOCOLS}
    for table in tables:
        assert table.keys() <= GROUPS
        for by_kind in table.values():
            assert by_kind.keys() <= KINDS
            for entry in by_kind.values():
                assert entry.keys() == {"value", "n", "lo", "hi"}
                assert 0 <= entry["lo"] <= entry["value"] <= entry["hi"] <= 1
                assert entry["n"] > 0
    assert {*figures["protocol"]["generate"]} == GROUPS
    assert {"reliability", "average"} <= figures["protocol"]["generate"]["all"].keys()


def test_only_routed_methods_have_router_figures(metrics: dict[str, Any]) -> None:
    for mode, size in (("single", 1), ("joint", CASES)):
        router = metrics["methods"]["ldke"][mode]["router"]
        assert router.keys() >= {"index_size", "tpr", "fpr", "misroute", "by_kind"}
        assert router["index_size"] == size
    assert "router" not in metrics["methods"]["ft_l"]["single"]
    assert "router" not in metrics["methods"]["no_edit"]["single"]


def test_relevance_explains_every_route(rows: list[ProbeResult], metrics: dict[str, Any]) -> None:
    for row in rows:
        if row.method == "ldke":
            assert row.relevance is not None and row.threshold is not None
            assert (row.relevance >= row.threshold) == (row.route != "base")
        else:
            assert (row.relevance, row.threshold) == (None, None)
    sites = metrics["localization"]
    assert len(sites["edits"]) == CASES
    assert {"+".join(e["chosen"]) for e in sites["edits"]} == {row.sites for row in rows if row.method == "ldke"}


def test_costs_are_measured(metrics: dict[str, Any]) -> None:
    ldke, none = metrics["methods"]["ldke"], metrics["methods"]["no_edit"]
    assert 0 < ldke["seconds_localize"] < ldke["seconds_per_edit"]
    assert ldke["bytes_per_edit"] > 0 == none["bytes_per_edit"]


def test_results_have_a_row_per_case_and_probe(rows: list[ProbeResult], data_root: Path) -> None:
    cases = read_cases("atlas", data_root / "edit-eval.json", data_root, limit=CASES)
    probes = sum(len(case.probes) for case in cases)
    counts = Counter((row.method, row.mode, row.protocol) for row in rows)
    assert {counts[method, "single", protocol] for method, protocol in product(METHODS, PROTOCOLS)} == {probes}
    assert {row.case_id for row in rows} == {case.case_id for case in cases}
    assert all(0 <= row.score <= 1 and not math.isnan(row.score) for row in rows)


def test_metrics_are_the_means_of_the_results(rows: list[ProbeResult], metrics: dict[str, Any]) -> None:
    for method, kind in product(METHODS, ("reliability", "image_locality")):
        chosen = [r for r in rows if (r.method, r.mode, r.protocol, r.kind) == (method, "single", "masked", kind)]
        entry = metrics["methods"][method]["single"]["protocol"]["masked"]["all"][kind]
        assert entry["n"] == len(chosen)
        assert entry["value"] == pytest.approx(sum(row.score for row in chosen) / len(chosen))


def test_no_edit_is_the_unedited_model(rows: list[ProbeResult]) -> None:
    floor = [row for row in rows if row.method == "no_edit"]
    assert all(row.score == row.score_no_edit == row.score_unrouted for row in floor)
    assert all(row.after == row.before for row in floor if row.protocol == "generate")
    assert all(row.score == 1 for row in floor if row.kind.endswith("_locality"))


def test_query_routed_to_the_base_scores_as_the_base(rows: list[ProbeResult]) -> None:
    base = [row for row in rows if row.method == "ldke" and row.route == "base"]
    assert base
    assert all(row.score == row.score_no_edit for row in base)
    assert all(row.after == row.before for row in base if row.protocol == "generate")


def test_log_has_a_point_per_edit(edit_run: tuple[Path, Outcome]) -> None:
    with (edit_run[0] / "logs" / "metrics.csv").open() as handle:
        points = list(csv.DictReader(handle))
    assert [int(float(p["edit/index"])) for p in points] == [*range(1, CASES + 1)] * len(METHODS)
    assert all(math.isfinite(float(p["edit/loss"])) for p in points)


def test_report_names_every_method(edit_run: tuple[Path, Outcome]) -> None:
    page = (edit_run[0] / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert all(method in page for method in METHODS)
    assert page.rstrip().endswith("</html>")


def test_edits_load_onto_their_model(edit_run: tuple[Path, Outcome], data_root: Path) -> None:
    edited = EditedModel.load(edit_run[0] / "edits")
    cases = read_cases("atlas", data_root / "edit-eval.json", data_root, limit=CASES)
    assert [(e.prompt, e.target) for e in edited.active] == [(c.request.prompt, c.request.target) for c in cases]
    request = cases[0].request
    inputs = edited.backbone.prompts.encode([Question(request.image, request.prompt)])
    assert edited.route(inputs).rows == [edited.active[0].edit_id]
    with edited.disabled():
        assert edited.route(inputs).rows == ["base"]
    assert edited.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    added = edited.edit([EditRequest(None, "Who leads Bolivu?", "Arimovic")])
    assert [e.edit_id for e in edited.active][-1:] == added


def test_saved_configuration_repeats_the_run(
    edit_run: tuple[Path, Outcome], rows: list[ProbeResult], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    outcome = call_command("edit", [f"config={edit_run[0] / 'config.yaml'}", f"run.dir={again}", "data.limit=1"])
    assert outcome.status == 0
    first = [(r.method, r.protocol, r.edit_id, r.kind, r.image, r.prompt) for r in rows if r.mode == "single"]
    repeated = list(read_results(again / "results.csv"))
    found = [(r.method, r.protocol, r.edit_id, r.kind, r.image, r.prompt) for r in repeated if r.mode == "single"]
    assert found == [row for row in first if row[-1] in {r.prompt for r in repeated} and row in found]
    assert {r.case_id for r in repeated} == {"atlas-edit-eval-000000"}
    assert yaml.safe_load((again / "config.yaml").read_text())["editor"]["ldke"]["steps"] == 2


def test_train_writes_a_router_and_its_figures(train_run: tuple[Path, Outcome]) -> None:
    folder, outcome = train_run
    assert outcome.status == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert {path.name for path in (folder / "router").iterdir()} == {
        "router.json",
        "router.safetensors",
        "localizer.json",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() >= {"schema", "model", "data", "commit", "seeds", "n_edits", "methods"}
    for mode in ("single", "joint"):
        figures = metrics["methods"]["router"][mode]["router"]
        assert figures.keys() >= {"index_size", "tpr", "fpr", "misroute", "by_kind"}
    assert (folder / "config.yaml").exists()
    assert "train/loss" in (folder / "logs" / "metrics.csv").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes would share one GPU")
@pytest.mark.parametrize("strategy", ["ddp", "ddp_fork"])
def test_two_processes_train_one_router(tiny: list[str], tmp_path: Path, strategy: str) -> None:
    ranks = ["trainer.accelerator=cpu", "trainer.devices=2", f"trainer.strategy={strategy}"]
    outcome = run_command("train", [*tiny, *ranks, "router.steps=4"])
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("threshold") == 1  # one of them calibrates and reports
    assert (tmp_path / "run" / "router" / "router.safetensors").exists()
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".safetensors"]


def test_trained_router_serves_edits(train_run: tuple[Path, Outcome], tiny: list[str], tmp_path: Path) -> None:
    router = train_run[0] / "router"
    short = ["data.limit=1", "editor=[ldke,no_edit]", "editor.ldke.steps=1", "run.protocols=[generate]"]
    outcome = call_command("edit", [*tiny, *short, f"model.router={router}"])
    assert outcome.status == 0
    assert json.loads((tmp_path / "run" / "edits" / "edit_config.json").read_text())["router"]["kind"] == "classifier"
    assert len(EditedModel.load(tmp_path / "run" / "edits").active) == 1


def test_sweep_runs_offline_with_wandb(tiny: list[str], tmp_path: Path) -> None:
    sweep = yaml.safe_load((CONF_DIR / "sweep" / "threshold.yaml").read_text())
    point = {key: rule.get("value", rule.get("values", [None])[0]) for key, rule in sweep["parameters"].items()}
    assert (sweep["program"], point["logger"]) == ("edit.py", "wandb")
    short = [
        "router=radius",
        "data.limit=1",
        "editor=[ldke,no_edit]",
        "editor.ldke.steps=1",
        "run.protocols=[generate]",
    ]
    outcome = run_command("edit", [*tiny, *short, *(f"{key}={value}" for key, value in point.items())])
    assert outcome.status == 0, outcome.err
    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert stored.stat().st_size > 0
    assert not (tmp_path / "run" / "logs").exists()
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["localizer"]["tau"], saved["localizer"]["max_sites"]) == (0.5, 4)


@pytest.mark.parametrize("choice", ["run.modes=[joint]", "run.protocols=[masked]", "run.seeds=[0,1]"])
def test_parts_of_the_evaluation_can_be_chosen(tiny: list[str], tmp_path: Path, choice: str) -> None:
    small = ["router=radius", "data.limit=1", "editor.ldke.steps=1", "run.protocols=[generate]"]
    assert call_command("edit", [*tiny, *small, choice]).status == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"ldke", "no_edit"} <= metrics["methods"].keys()


@pytest.mark.parametrize("choice", ["run.storage=bfloat16", "trainer.precision=bf16-mixed"])
def test_edits_in_half_precision_are_made_and_kept(tiny: list[str], tmp_path: Path, choice: str) -> None:
    small = ["router=radius", "data.limit=2", "editor=ldke", "editor.ldke.steps=3", "run.protocols=[generate]"]
    assert call_command("edit", [*tiny, *small, choice]).status == 0
    edits = EditedModel.load(tmp_path / "run" / "edits").active
    kept = {factor.dtype for edit in edits for delta in edit.deltas.values() for factor in delta.factors}
    assert kept == {torch.bfloat16 if "storage" in choice else torch.float32}
    assert all(edit.steps == 3 and edit.loss > 0 for edit in edits)


def test_edits_are_made_one_after_another(tiny: list[str], tmp_path: Path) -> None:
    small = ["router=radius", "data.limit=4", "run.protocols=[generate]", "run.modes=[single]", "run.sequence=[9,1]"]
    methods = ["editor=[ldke,ft_l]", "editor.ldke.steps=1", "editor.ft_l.steps=2"]
    outcome = call_command("edit", [*tiny, *small, *methods])
    assert outcome.status == 0
    rows = list(read_results(tmp_path / "run" / "results.csv"))
    joint = list(dict.fromkeys(r.case_id for r in rows if r.mode == f"sequence_{max(_sizes(rows))}"))
    assert _sizes(rows) == {1, len(joint)} and len(joint) > 1
    assert {r.case_id for r in rows if r.mode == "sequence_1"} == {joint[0]}
    methods_asked = {r.method for r in rows if r.mode == "sequence_1"}
    assert methods_asked == {"ldke", "ft_l", "no_edit"}
    for row in rows:
        if row.method == "no_edit" and row.mode != "single":
            assert row.after == row.before
    assert "ldke, 1 edit " in outcome.out and "no_edit, 1 edit " not in outcome.out


def _sizes(rows: list[ProbeResult]) -> set[int]:
    return {int(r.mode.removeprefix("sequence_")) for r in rows if r.mode.startswith("sequence_")}


def test_no_edit_is_always_a_method(tiny: list[str], tmp_path: Path) -> None:
    small = ["router=radius", "data.limit=1", "editor=ldke", "editor.ldke.steps=1", "run.protocols=[generate]"]
    assert call_command("edit", [*tiny, *small]).status == 0
    assert "no_edit" in json.loads((tmp_path / "run" / "metrics.json").read_text())["methods"]
