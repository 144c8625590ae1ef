"""``edit.py`` and ``train.py``, unchanged, on a tiny model of every family and on a made-up set of every format."""

import json
from pathlib import Path

import pytest
import torch
from commands import call_command
from families.models import FAMILIES
from published import FORMATS, write_published
from transformers.utils.import_utils import is_torchvision_available

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.__main__ import main as backbone_command
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.config import ModelConfig
from ldke_pl.conformance.subject import QUESTIONS

QUICK = ["run.resamples=20", "logger=none"]
EDIT = [*QUICK, "data.limit=2", "editor=[ldke,no_edit]", "editor.ldke.steps=2", "run.protocols=[generate,masked,vlkeb]"]
TRAIN = [*QUICK, "router.steps=3", "router.batch_size=2", "router.held_out_relations=[]", "router.layers=[0,1]"]
TRAIN += ["router.naming=What is this?", "router.cohort=2"]


THREADS = 1
"""Models this small are faster on one, and far faster where other programs keep the cores busy."""


@pytest.fixture(scope="module", params=FAMILIES)
def family_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary model folder of every family."""
    if request.param == "pixtral" and not is_torchvision_available():
        pytest.skip("the processor of pixtral needs torchvision, which does not fit a CPU build of torch")
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model, processor = FAMILIES[request.param]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_saved_folder_loads_as_it_was(family_folder: Path) -> None:
    name = family_folder.name.removesuffix("0")  # which pytest adds
    torch.manual_seed(0)
    built, loaded = Backbone(*FAMILIES[name](), name), load_backbone(ModelConfig(name=str(family_folder)))
    assert loaded.prompts.grammar == built.prompts.grammar
    assert loaded.sites.keys() == built.sites.keys()
    assert loaded.fingerprint(3) == built.fingerprint(3)
    said = [greedy_answers(b, b.prompts.encode(QUESTIONS)) for b in (built, loaded)]
    assert said[0] == said[1]


def test_edits_and_router_of_every_family(family_folder: Path, tmp_path: Path) -> None:
    path, root = write_published("vlkeb", tmp_path / "set")
    named = ["data=vlkeb", f"data.path={path}", f"data.root={root}", f"model.name={family_folder}"]
    trained = call_command("train", [*TRAIN, *named, f"run.dir={tmp_path / 'train'}"])
    assert trained.status == 0, trained.err
    router = [f"model.router={tmp_path / 'train' / 'router'}"]
    for number, options in enumerate((["router=radius"], router)):
        folder = tmp_path / f"edit-{number}"
        made = call_command("edit", [*EDIT, *named, *options, f"run.dir={folder}"])
        assert made.status == 0, made.err
        figures = json.loads((folder / "metrics.json").read_text())
        single = figures["methods"]["ldke"]["single"]
        assert {"generate", "masked", "vlkeb"} == single["protocol"].keys()
        assert single["protocol"]["masked"]["all"]["reliability"]["n"] == 2
        assert (folder / "edits" / "edits.safetensors").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_edits_and_router_of_every_format(format: str, model_folder: Path, tmp_path: Path) -> None:
    path, root = write_published(format, tmp_path / "set")
    named = [f"data={format}", f"data.path={path}", f"data.root={root}", f"model.name={model_folder}"]
    made = call_command("edit", [*EDIT, *named, "router=radius", f"run.dir={tmp_path / 'edit'}"])
    assert made.status == 0, made.err
    if format != "atlas":  # whose router-val split is a file of its own
        trained = call_command("train", [*TRAIN, *named, f"run.dir={tmp_path / 'train'}"])
        assert trained.status == 0, trained.err


def test_check_command_says_how_each_check_went(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status = backbone_command(["check", f"model.name={model_folder}"])
    lines = capsys.readouterr().out.splitlines()
    went = {line[:32].strip(): line for line in lines[:-1]}
    assert went["sites are found"].endswith("ok")
    assert went["rows take their own edits"].endswith("ok")
    assert status == int(any("failed:" in line for line in lines))
    assert lines[-1].endswith("of 15 checks passed or not possible")
