"""``python -m ldke_pl.edits`` on the edits of a run, and on what is no artefact, or no whole one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT, Change, Outcome, call_command, check_fault, cut
from commands import call_edits as call
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from ldke_pl import EditedModel
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.data import EditCase, Question, read_cases
from ldke_pl.edits.__main__ import COMMANDS
from ldke_pl.edits.files import DELTAS, read_config, write_files

CASES = 3


@pytest.fixture(scope="module")
def made(model_folder: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with edits that give their targets."""
    folder = tmp_path_factory.mktemp("upkeep") / "run"
    arguments = [f"model.name={model_folder}", f"data.root={data_root}", f"data.limit={CASES}", "router=radius"]
    arguments += [
        "editor=[ldke,no_edit]",
        "editor.ldke.steps=150",
        "editor.ldke.lr=0.03",
        "localizer=fixed",
        "localizer.site=decoder.6",
    ]
    arguments += ["run.protocols=[generate]", "run.modes=[joint]", "run.resamples=20", "logger=none"]
    outcome = call_command("edit", [*arguments, f"run.dir={folder}"])
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture
def edits(made: Path, tmp_path: Path) -> Path:
    """A copy of the run's artefact, in a run folder of its own."""
    (tmp_path / "run").mkdir()
    shutil.copy(made / "config.yaml", tmp_path / "run")
    return Path(shutil.copytree(made / "edits", tmp_path / "run" / "edits"))


@pytest.fixture
def case(data_root: Path) -> EditCase:
    """What the run's first edit was made of."""
    return read_cases("atlas", data_root / "edit-eval.json", data_root, limit=1)[0]


def ids(folder: Path) -> list[str]:
    return [entry["edit_id"] for entry in config_of(folder)["edits"]]


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "edit_config.json").read_text(encoding="utf-8"))
    return found


def states(folder: Path) -> dict[str, str]:
    """The list's first two columns."""
    lines = call("list", folder).out.splitlines()[1:]
    return {line.split("  ")[0]: next(cell for cell in line.split("  ")[1:] if cell).strip() for line in lines}


def with_config(change: Callable[[dict[str, Any]], object]) -> Change:
    """Rewrite an artefact's configuration."""

    def rewrite(folder: Path) -> None:
        config = config_of(folder)
        change(config)
        (folder / "edit_config.json").write_text(json.dumps(config), encoding="utf-8")

    return rewrite


def again(folder: Path, out: Path, target: str) -> Path:
    """Another artefact: the first edit as if made anew with another target and id."""
    shutil.copytree(folder, out)
    first, *others = ids(out)
    for name in others:
        assert call("rollback", out, name).status == 0
    with_config(lambda c: c.update(rolled_back=[]) or c["edits"][0].update(target=target))(out)
    assert first == ids(out)[0]
    return out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name: str) -> None:
    outcome = call(name, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: python -m ldke_pl.edits {name} ")
    assert name in call("--help").out


def test_edits_are_listed_and_shown(edits: Path, case: EditCase) -> None:
    outcome = call("list", edits)
    assert outcome.status == 0
    assert len(outcome.out.splitlines()) == CASES + 1
    first = outcome.out.splitlines()[1]
    assert all(part in first for part in (case.request.prompt, case.request.target, "decoder.6", "in force", " yes "))
    shown = call("show", edits, ids(edits)[0])
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in shown.out.splitlines())}
    assert facts["target"] == case.request.target
    assert (facts["rank"], facts["seed"], facts["supersedes"]) == ("8", "0", "none")
    assert float(facts["loss"]) > 0
    assert "norm" in facts["delta"] and "of deltas" in facts["bytes"]


def test_a_question_is_answered_by_base_and_edit(edits: Path, case: EditCase) -> None:
    told = ("ask", edits, case.request.prompt, f"picture={case.request.image}")
    asked = call(*told)
    assert asked.status == 0, asked.err
    said = {key: value.strip() for key, _, value in (line.partition(":") for line in asked.out.splitlines())}
    assert said["edited"] == case.request.target != said["base"]
    assert said["route"].startswith(ids(edits)[0])
    assert "threshold 0.500" in said["relevance"]
    without = call("ask", edits, "Is 1 + 1 = 2?").out
    assert "route:     base" in without


def test_what_is_disabled_stays_so_until_it_is_enabled(edits: Path, case: EditCase) -> None:
    first = ids(edits)[0]
    told = ("ask", edits, case.request.prompt, f"picture={case.request.image}")
    before = {p.name: p.read_bytes() for p in edits.glob("*.safetensors")}
    assert call("disable", edits, first).out == f"{first}: disabled\n"
    assert states(edits)[first] == "disabled"
    loaded = EditedModel.load(edits)
    assert first in loaded.edits and first not in [e.edit_id for e in loaded.active]
    assert first not in call(*told).out
    loaded.save(edits)
    assert states(edits)[first] == "disabled"
    loaded.enable(first)
    assert first in [e.edit_id for e in loaded.active] and first in loaded.index.names()
    loaded.disable(first)
    assert first not in loaded.index.names()
    assert call("enable", edits, first).out == f"{first}: in force\n"
    assert case.request.target in call(*told).out
    assert {p.name: p.read_bytes() for p in edits.glob("*.safetensors")} == before


def test_a_rolled_back_edit_is_gone_and_what_it_superseded_returns(edits: Path, tmp_path: Path) -> None:
    first = ids(edits)[0]
    other = again(edits, tmp_path / "other", "Qq")
    both = tmp_path / "both"
    outcome = call("merge", edits, other, both)
    assert outcome.status == 0, outcome.err
    assert states(both)[first] == "superseded"
    (later,) = set(ids(both)) - set(ids(edits))
    loaded = EditedModel.load(both)
    loaded.rollback(later)
    assert call("rollback", both, later).out == f"{later}: rolled back\n{first}: in force\n"
    assert states(both) == dict.fromkeys(ids(edits), "in force") | {later: "rolled back"}
    assert not [name for name in load_file(both / "edits.safetensors") if name.startswith(later)]
    assert [e.edit_id for e in EditedModel.load(both).active] == [e.edit_id for e in loaded.active]
    check_fault(call("show", both, later), "was rolled back")
    assert call("diff", edits, both).status == 0
    assert call("verify", both).status == 0
    for number, model in enumerate((loaded, EditedModel.load(both))):
        model.save(tmp_path / str(number))
        assert states(tmp_path / str(number)) == states(both)


def test_what_is_disabled_stays_so_when_it_is_no_longer_superseded(edits: Path, tmp_path: Path) -> None:
    first, both = ids(edits)[0], tmp_path / "both"
    assert call("merge", edits, again(edits, tmp_path / "other", "Qq"), both).status == 0
    assert call("disable", both, first).out == f"{first}: superseded, disabled\n"
    loaded, later = EditedModel.load(both), ids(both)[-1]
    loaded.rollback(later)
    assert call("rollback", both, later).out == f"{later}: rolled back\n{first}: disabled\n"
    assert first not in loaded.index.names() + EditedModel.load(both).index.names()
    loaded.enable(first)
    assert first in loaded.index.names()


def test_the_same_edits_are_joined_once(edits: Path, tmp_path: Path) -> None:
    assert call("disable", edits, ids(edits)[1]).status == 0
    outcome = call("merge", edits, edits, tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert call("diff", edits, tmp_path / "out").out == "the same edits\n"
    check_fault(call("merge", edits, edits, tmp_path / "out"), "is not empty")


def test_a_difference_is_told(edits: Path, tmp_path: Path) -> None:
    first, second, third = ids(edits)
    other = Path(shutil.copytree(edits, tmp_path / "other"))
    assert call("rollback", edits, second).status == 0
    assert call("rollback", other, third).status == 0
    assert call("disable", other, first).status == 0
    outcome = call("diff", edits, other)
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert [line[:2] + line.split()[1] for line in lines] == [f"- {third}", f"+ {second}", f"~ {first}"]
    assert lines[-1].endswith(": state")


def test_a_folded_edit_answers_in_plain_transformers(edits: Path, case: EditCase, tmp_path: Path) -> None:
    out = tmp_path / "folded"
    outcome = call("fold", edits, ids(edits)[0], out, "probes=8")
    assert outcome.status == 0, outcome.err
    assert "of 10 answers changed" in outcome.out and "of 8 locality probes" in outcome.out
    assert "the router is left out" in outcome.err
    assert f"its own question: {case.request.target!r}, wanted {case.request.target!r}" in outcome.out
    assert {p.suffix for p in out.iterdir()} <= {".json", ".safetensors", ".jinja"}
    model, processor = AutoModelForImageTextToText.from_pretrained(out), AutoProcessor.from_pretrained(out)
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": case.request.prompt}]}]
    text = processor.apply_chat_template(turn, add_generation_prompt=True)
    image = Image.open(str(case.request.image)).convert("RGB")
    batch = processor(text=[text], images=[image], return_tensors="pt")
    found = model.generate(**batch, do_sample=False, max_new_tokens=24)[:, batch["input_ids"].shape[1] :]
    assert processor.batch_decode(found, skip_special_tokens=True)[0].strip() == case.request.target


def test_a_folded_model_is_the_base_under_its_edit(edits: Path, case: EditCase, tmp_path: Path) -> None:
    first = ids(edits)[0]
    assert call("fold", edits, first, tmp_path / "folded", "probes=0").status == 0
    edited = EditedModel.load(edits)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "folded")
    changed = [n for n, p in plain.named_parameters() if not torch.equal(p, edited.backbone.model.get_parameter(n))]
    assert changed == [f"{name}.weight" for name in edited.edits[first].deltas]
    batch = edited.backbone.prompts.encode([Question(case.request.image, case.request.prompt)])
    with torch.no_grad():
        torch.testing.assert_close(plain(**batch).logits, edited(**batch).logits, atol=1e-4, rtol=1e-3)
    assert greedy_answers(edited.backbone, batch) != [case.request.target]


def test_without_data_it_is_said_what_is_not_measured(edits: Path, tmp_path: Path) -> None:
    (edits.parent / "config.yaml").unlink()
    outcome = call("fold", edits, ids(edits)[0], tmp_path / "folded")
    assert outcome.status == 0, outcome.err
    assert "not measured" in outcome.err and "2 other edits were not asked about" in outcome.err


def test_a_whole_artefact_has_no_problems(edits: Path) -> None:
    outcome = call("verify", edits)
    assert (outcome.status, outcome.out) == (0, f"{edits}: no problems, {CASES} edits\n")


def wider(folder: Path) -> None:
    """Give a delta another shape, with a checksum that fits it."""
    tensors = load_file(folder / "edits.safetensors")
    name = next(n for n in tensors if n.endswith("|1"))
    tensors[name] = torch.zeros(3, tensors[name].shape[1])
    rewritten(folder, tensors)


def rewritten(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    write_files(folder, read_config(folder), {DELTAS: tensors})


def stranger(folder: Path) -> None:
    rewritten(folder, load_file(folder / "edits.safetensors") | {"nobody|a|0": torch.zeros(1, 1)})


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        (lambda folder: (folder / "edits.safetensors").unlink(), ["edits.safetensors", "no such file"]),
        (cut("edits.safetensors"), ["edits.safetensors", "not what was written"]),
        (cut("router.safetensors"), ["router.safetensors", "not what was written"]),
        (cut("edit_config.json"), ["edit_config.json", "cannot be read"]),
        (wider, ["is damaged", "do not fit a layer"]),
        (stranger, ["'nobody'"]),
        (with_config(lambda c: c["base"].update(fingerprint="0")), ["another fingerprint"]),
        (with_config(lambda c: c["base"].update(name="/nowhere")), ["'/nowhere' cannot be loaded"]),
        (with_config(lambda c: c["base"].update(top_layer="x")), ["top_layer"]),
        (with_config(lambda c: c["edits"][0].pop("prompt")), ["number 0", "prompt"]),
        (with_config(lambda c: c.update(rolled_back=[1])), ["rolled_back", "cannot be used"]),
        (with_config(lambda c: c["edits"][0].update(supersedes="x")), ["'x' is superseded, but is not there"]),
        (with_config(lambda c: c["edits"].append(c["edits"][0])), ["2 edits have the id"]),
        (with_config(lambda c: c["router"].update(kind="classifier")), ["The router", "cannot be used"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_every_problem_has_a_line(edits: Path, change: Change, culprits: Sequence[str]) -> None:
    change(edits)
    outcome = call("verify", edits)
    assert (outcome.status, outcome.err) == (1, "")
    (line,) = outcome.out.splitlines()
    assert all(culprit in line for culprit in culprits)


@pytest.fixture
def other_base(model_folder: Path, tmp_path: Path) -> Path:
    """The model with one weight changed."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "base"))
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).add_(1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_another_base_is_refused(edits: Path, other_base: Path, tmp_path: Path) -> None:
    base = f"base={other_base}"
    verified = call("verify", edits, base)
    assert verified.status == 1 and "another fingerprint" in verified.out
    first = ids(edits)[0]
    out = tmp_path / "out"
    for arguments in (("ask", edits, "Who?"), ("merge", edits, edits, out), ("fold", edits, first, out)):
        check_fault(call(*arguments, base), str(edits), "differs from it in fingerprint")
    assert not out.exists()


def test_another_router_is_refused(edits: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(edits, tmp_path / "other"))
    with_config(lambda c: c["router"].update(threshold=0.9))(other)
    check_fault(call("merge", edits, other, tmp_path / "out"), str(other), "another router")


@pytest.mark.parametrize(
    ("arguments", "culprits"),
    [
        (["list", "DIR"], ["DIR/edit_config.json", "written by save()"]),
        (["verify", "DIR"], ["has no edit_config.json", "written by save()"]),
        (["disable", "DIR", "x"], ["DIR/edit_config.json"]),
        (["ask", "DIR", "Who?"], ["DIR/edit_config.json"]),
        (["diff", "DIR", "DIR"], ["DIR/edit_config.json"]),
        (["merge", "DIR", "DIR", "OUT"], ["DIR/edit_config.json"]),
        (["fold", "DIR", "x", "OUT"], ["DIR/edit_config.json"]),
        (["list"], ["DIR is not given", "--help"]),
        (["merge", "DIR", "OUT"], ["OUT is not given"]),
        (["ask", "DIR", "Who?", "pictur=a.png"], ["'pictur=a.png'", 'Did you mean "picture"']),
        (["ask", "--picture", "a.png", "DIR", "Who?"], ["--picture", "key=value"]),
        (["fold", "DIR", "x", "OUT", "probes=many"], ["probes is 'many'"]),
        (["lst", "DIR"], ['no command "lst"', 'Did you mean "list"']),
    ],
    ids=lambda value: " ".join(value[:1]),
)
def test_bad_argument_is_named(tmp_path: Path, arguments: Sequence[str], culprits: Sequence[str]) -> None:
    places = {"DIR": str(tmp_path / "nowhere"), "OUT": str(tmp_path / "out")}
    told = [culprit.replace("DIR/", f"{places['DIR']}/") for culprit in culprits]
    check_fault(call(*(places.get(a, a) for a in arguments)), *told)


@pytest.mark.parametrize("name", ["show", "disable", "enable", "rollback", "fold"])
def test_unknown_edit_is_named(edits: Path, tmp_path: Path, name: str) -> None:
    more = [tmp_path / "out"] if name == "fold" else []
    before = config_of(edits)
    check_fault(call(name, edits, "nobody", *more), "'nobody'", ids(edits)[0], f"list {edits}")
    assert config_of(edits) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["list", "show", "rollback", "ask", "merge", "fold", "diff"])
def test_truncated_tensors_are_named_and_left_as_they_are(edits: Path, tmp_path: Path, name: str) -> None:
    cut("edits.safetensors")(edits)
    first, out = ids(edits)[0], tmp_path / "out"
    before = {p.name: p.read_bytes() for p in edits.iterdir() if p.name != ".lock"}
    more = {"list": [], "ask": ["Who?"], "merge": [edits, out], "fold": [first, out], "diff": [edits]}
    check_fault(call(name, edits, *more.get(name, [first])), "edits.safetensors", "not what was written")
    assert {p.name: p.read_bytes() for p in edits.iterdir() if p.name != ".lock"} == before
    assert not out.exists()


def test_missing_picture_is_named(edits: Path) -> None:
    check_fault(call("ask", edits, "Who?", "picture=nowhere.png"), "nowhere.png", "does not exist")


def test_a_process_of_its_own_ends_without_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ldke_pl.edits", "list", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    check_fault(Outcome(done.returncode, done.stdout, done.stderr), str(tmp_path))
