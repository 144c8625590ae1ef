"""Messages about models, prompts, editing methods, localizers and routers."""

import io
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from producing import ASKED, Tools, produces, raised
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from ldke_pl.backbone import CONNECTOR, Backbone, load_backbone, sites
from ldke_pl.backbone import __main__ as backbone_command
from ldke_pl.backbone.grammar import learn_grammar
from ldke_pl.backbone.pictures import _shared_out, shares
from ldke_pl.backbone.prefix import compiled
from ldke_pl.config import EditorConfig, LocalizerConfig, ModelConfig
from ldke_pl.conformance import Subject, checks
from ldke_pl.data import EditRequest, Question
from ldke_pl.edited import EditedModel
from ldke_pl.editors import build_editor, demonstrations, lora
from ldke_pl.editors.codebook import fixed_site
from ldke_pl.editors.ldke import LDKE
from ldke_pl.editors.mend import MEND
from ldke_pl.editors.name_overwrite import NameOverwrite
from ldke_pl.editors.store import load_trained, save_trained
from ldke_pl.editors.wise import WISE
from ldke_pl.edits import Edit
from ldke_pl.localize import Calibration, base, build_localizer, site_scores
from ldke_pl.router import FeatureReader, PairClassifier, RadiusRouter, load_router, save_router
from ldke_pl.router.store import rebuild
from ldke_pl.runtime.session import prepared_editor

PICTURE = Image.new("RGB", (64, 64), "teal")
SHOWN = EditRequest(PICTURE, "Who is it?", "Ada")
LONG = "Bolivu " * 400


def config(**settings: Any) -> EditorConfig:
    return EditorConfig(**({"cls": "ldke_pl.editors.ldke.LDKE", "steps": 20} | settings))


def at(site: str) -> Any:
    """A choice of sites that is always the same."""
    return lambda requests: [(site,)] * len(requests)


@produces("The model <name> cannot be loaded: <reason>")
def no_model(tools: Tools) -> str:
    return raised(lambda: load_backbone(ModelConfig(name=str(tools.folder / "nowhere"))))


@produces("The model's layers cannot be compiled: <reason>")
def no_compiler(tools: Tools) -> str:
    def failing(*_: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    layer = nn.Linear(2, 2)
    compiler = partial(torch.compile, backend=failing)
    with patch.object(torch, "compile", compiler):
        return raised(lambda: _run_compiled(layer))


def _run_compiled(layer: nn.Module) -> None:
    with compiled([layer]):
        layer(torch.zeros(1, 2))


@produces("The model <name> lacks <n> of its weights, the first of them <name>.")
def lacking_weight(tools: Tools) -> str:
    folder = Path(shutil.copytree(tools.model, tools.folder / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if name.endswith("mlp.down_proj.weight"))]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return raised(lambda: load_backbone(ModelConfig(name=str(folder))))


class Linear8bitLt(nn.Module):
    """What bitsandbytes calls its layers."""


@produces(
    "<name> is in bitsandbytes' 8 bits, which quantise a batch's activations together: a row that goes to the base "
    "would not get the base's answer."
)
def eight_bits(tools: Tools) -> str:
    model: Any = nn.Sequential(Linear8bitLt())
    return raised(lambda: Backbone(model, tools.backbone.processor, "eight"))


@produces("No stack of decoder layers was found in <class>.")
def no_layers(tools: Tools) -> str:
    model: Any = SimpleNamespace(get_decoder=lambda: nn.Linear(2, 2))
    return raised(lambda: sites.decoder_layers(model))


@produces("No connector between vision encoder and decoder was found in <class>.")
def no_connector(tools: Tools) -> str:
    tools.patch.setattr(sites, "_maps_to", lambda module, width: False)
    return raised(lambda: sites.connectors(tools.backbone.model))


@produces("A <class> has no linear layer with <n> outputs to write to.")
def no_linear_layer(tools: Tools) -> str:
    return raised(lambda: sites._mlp_output(nn.Identity(), 8))


@produces("<class> writes no placeholder (token <id>) for a picture.")
def no_placeholder(tools: Tools) -> str:
    prompts = tools.backbone.prompts
    return raised(lambda: learn_grammar(prompts.processor, prompts._process, prompts._formatted, 10**6))


@produces("The connector has <n> vectors, no multiple of the <n> that pictures account for.")
def uneven_pictures(tools: Tools) -> str:
    return raised(lambda: shares(torch.tensor([2, 2]), 5))


@produces("Pictures of different token counts that stand side by side cannot be told apart.")
def unmarked_pictures(tools: Tools) -> str:
    return raised(lambda: _shared_out([(0, (0, 3)), (0, (4, 9))], 4))


@produces("failed: <check>")
def failed_check(tools: Tools) -> str:
    out = io.StringIO()
    tools.patch.setattr(backbone_command, "CHECKS", {"sites_are_found": checks.sites_are_found})
    tools.patch.delitem(tools.backbone.sites, "decoder.0")
    assert backbone_command.check(Subject(tools.backbone), Console(file=out, width=200)) == backbone_command.FAILED
    return out.getvalue().partition(" s  ")[2]


@produces("A text-only edit was written to the connector.")
def text_edit_at_the_connector(tools: Tools) -> str:
    tools.patch.setattr(checks, "build_localizer", lambda *_: lambda requests: [("decoder.0",)])
    tools.patch.setattr(Subject, "editor", lambda *_: SimpleNamespace(edit=lambda requests: []))
    return raised(lambda: checks.text_edits_exclude_the_connector(Subject(tools.backbone)))


def told_as_not_possible(name: str, tools: Tools) -> str:
    out = io.StringIO()
    tools.patch.setattr(backbone_command, "CHECKS", {name: checks.CHECKS[name]})
    assert backbone_command.check(Subject(tools.backbone), Console(file=out, width=200)) == 0
    return out.getvalue().partition(" s  ")[2]


@produces("not possible: its processor has no chat template")
def no_template(tools: Tools) -> str:
    tools.patch.setattr(tools.backbone.processor, "chat_template", None)
    return told_as_not_possible("later_turns_keep_the_route", tools)


@produces("not possible: its processor puts one picture before each text")
def one_picture(tools: Tools) -> str:
    tools.patch.setattr(tools.backbone.processor, "num_query_tokens", 4, raising=False)
    tools.patch.setattr(backbone_command, "CHECKS", {"two_pictures": lambda subject: subject.two_pictures()})
    out = io.StringIO()
    backbone_command.check(Subject(tools.backbone), Console(file=out, width=200))
    return out.getvalue().partition(" s  ")[2]


@produces("not possible: its vision encoder takes the pictures of a batch as one sequence")
def one_sequence(tools: Tools) -> str:
    tools.patch.setattr(checks, "encoded_once", lambda _model: nullcontext())
    return told_as_not_possible("pictures_are_encoded_once", tools)


@produces("A prompt is empty.")
def empty_prompt(tools: Tools) -> str:
    return raised(lambda: tools.backbone.prompts.encode([Question(None, " ")]))


@produces("A target is empty.")
def empty_target(tools: Tools) -> str:
    return raised(lambda: tools.backbone.prompts.answer_ids(" "))


@produces("Request <n> has an empty prompt or target.")
def empty_request(tools: Tools) -> str:
    return raised(lambda: edited(tools).edit([EditRequest(None, "Who?", " ")]))


@produces("The prompt <text> contains <placeholder>, which stands for a picture in this model.")
def placeholder_in_a_prompt(tools: Tools) -> str:
    prompts = tools.backbone.prompts
    return raised(lambda: prompts.text(Question(None, f"Who is {prompts._placeholder}?")))


@produces("A question is <n> tokens long, but the model reads <n>.")
def long_question(tools: Tools) -> str:
    return raised(lambda: tools.backbone.prompts.encode([Question(None, LONG)]))


@produces("A target is too long: with its question it takes <n> tokens, but the model reads <n>.")
def long_target(tools: Tools) -> str:
    return raised(lambda: tools.backbone.prompts.encode_answers([Question(None, "Who?")], [LONG]))


def edited(tools: Tools) -> EditedModel:
    return EditedModel(tools.backbone, RadiusRouter(FeatureReader(tools.backbone)), editor(tools, "decoder.1"))


def editor(tools: Tools, site: str, **settings: Any) -> LDKE:
    return LDKE(tools.backbone, config(**settings), at(site))


@produces("There is no editor class <path> (<reason>).")
def no_editor(tools: Tools) -> str:
    return raised(lambda: build_editor(tools.backbone, config(cls="somewhere.Editor"), at("decoder.1")))


@produces("There is no localizer <name>.")
def no_localizer(tools: Tools) -> str:
    return raised(lambda: build_localizer(tools.backbone, LocalizerConfig(name="nonsense"), Calibration()))


@produces("There is no localizer <path> (<reason>).")
def no_localizer_of_ones_own(tools: Tools) -> str:
    return raised(lambda: build_localizer(tools.backbone, LocalizerConfig(name="somewhere.mine"), Calibration()))


@produces("localizer.site is <name>, which is no site.")
def no_site(tools: Tools) -> str:
    settings = LocalizerConfig(name="fixed", site="decoder.99")
    return raised(lambda: build_localizer(tools.backbone, settings, Calibration()))


@produces("The localizer's scores are not numbers, in a batch of edits from <prompt> on.")
def scores_that_are_no_numbers(tools: Tools) -> str:
    tools.patch.setattr(base, "gradient_scores", lambda *_: {"cosine": torch.full((1, 9), torch.nan)})
    return raised(lambda: site_scores(tools.backbone, "cosine", Calibration(), [SHOWN]))


@produces("The loss of the edit <prompt> -> <target> is <value> after <n> steps.")
def diverging_loss(tools: Tools) -> str:
    return raised(lambda: editor(tools, CONNECTOR, lr=1e30, stop_loss=0.0).edit([SHOWN]))


@produces("The loss of the edit <prompt> -> <target> is <value>.")
def loss_that_is_no_number(tools: Tools) -> str:
    mend = MEND(tools.backbone, config(), at("decoder.1"))
    tools.patch.setattr(mend, "gradients", lambda chunk: ([{}] * len(chunk), [float("nan")] * len(chunk)))
    return raised(lambda: mend.edit([SHOWN]))


@produces("The edit <prompt> -> <target> has no picture to write the <site> for.")
def text_edit_of_a_picture(tools: Tools) -> str:
    return raised(lambda: editor(tools, CONNECTOR).edit([ASKED]))


@produces("The edit <prompt> -> <target> changes the prompt and not the model.")
def edit_of_the_prompt(tools: Tools) -> str:
    edit = Edit("told", ASKED.prompt, ASKED.target, (), {}, context="It is Ada.")
    return raised(lambda: edited(tools).add(edit, ASKED))


@produces("name_overwrite cannot be made for a <class>.")
def overwrite_elsewhere(tools: Tools) -> str:
    slots: Any = tools.backbone.sites[CONNECTOR].slots
    name, slot = list(slots.items())[-1]
    tools.patch.setitem(slots, name, replace(slot, module=nn.Identity()))
    return raised(lambda: NameOverwrite(tools.backbone, config(), at(CONNECTOR)))


@produces("name_overwrite replaces a picture, but the request has none.")
def overwrite_without_picture(tools: Tools) -> str:
    return raised(lambda: NameOverwrite(tools.backbone, config(), at(CONNECTOR)).edit([ASKED]))


@produces("The decoder of <class> has no query and value projections to adapt.")
def no_projections(tools: Tools) -> str:
    tools.patch.setattr(lora, "_projections", lambda layer, model: [])
    return raised(lambda: lora.query_value_slots(tools.backbone.model))


@produces("A codebook stands at a decoder layer.")
def codebook_at_the_connector(tools: Tools) -> str:
    return raised(lambda: fixed_site(at(CONNECTOR)))


@produces("A side memory is a copy of one decoder layer's projection, but the sites are <sites>.")
def memory_at_the_connector(tools: Tools) -> str:
    return raised(lambda: WISE(tools.backbone, config(), at(CONNECTOR)))


@produces("<class> has no gate of its own.")
def no_gate(tools: Tools) -> str:
    session: Any = SimpleNamespace(backbone=tools.backbone)
    return raised(lambda: prepared_editor(session, "ldke", config(routing="own"), at("decoder.1")))


def mend(tools: Tools) -> MEND:
    return MEND(tools.backbone, config(), at("decoder.1"))


@produces("<class> must be trained for <model> before it can edit.")
def untrained(tools: Tools) -> str:
    return raised(lambda: load_trained(mend(tools), "MEND", tools.backbone, None))


@produces("<folder> cannot be used for <class>: <reason>")
def damaged_training(tools: Tools) -> str:
    return raised(lambda: load_trained(mend(tools), "MEND", tools.backbone, tools.folder))


@produces("<folder> was trained for another method or base than <class> of <model>.")
def trained_for_another(tools: Tools) -> str:
    save_trained(mend(tools), "SERAC", tools.backbone, tools.folder)
    return raised(lambda: load_trained(mend(tools), "MEND", tools.backbone, tools.folder))


@produces("IKE has no demonstrations to show.")
def nothing_to_show(tools: Tools) -> str:
    return raised(lambda: demonstrations.load(None))


@produces("<folder>/demonstrations.jsonl cannot be read: <reason>")
def damaged_demonstrations(tools: Tools) -> str:
    return raised(lambda: demonstrations.load(tools.file("demonstrations.jsonl", "{").parent))


@produces("<folder>/demonstrations.jsonl has no demonstrations, or one that is not three texts.")
def empty_demonstrations(tools: Tools) -> str:
    return raised(lambda: demonstrations.load(tools.file("demonstrations.jsonl", "").parent))


@produces("<folder>/localizer.json cannot be read: <reason>")
def damaged_calibration(tools: Tools) -> str:
    return raised(partial(Calibration.load, tools.file("localizer.json", "{").parent))


@produces("router.layers names layer <n>, but the decoder has <n> layers.")
def no_layer(tools: Tools) -> str:
    return raised(lambda: FeatureReader(tools.backbone, [99]))


@produces("The router in <folder> cannot be read: <reason>")
def no_router(tools: Tools) -> str:
    return raised(lambda: load_router(tools.backbone, tools.folder))


@produces("The router in <folder> cannot be used: <reason>")
def damaged_router(tools: Tools) -> str:
    return raised(lambda: rebuild(tools.backbone, {}, {}, tools.folder))


@produces("The router in <folder> cannot be used: it reads <n> numbers, this model has <n>")
def router_of_another_width(tools: Tools) -> str:
    classifier = PairClassifier(8)
    told = {"kind": "classifier", "layers": [0], "naming": None, "threshold": 0.5, "shape": classifier.shape}
    return raised(lambda: rebuild(tools.backbone, told, dict(classifier.state_dict()), tools.folder))


@produces("The router in <folder> was trained for another base model than <model>.")
def router_of_another_base(tools: Tools) -> str:
    save_router(RadiusRouter(FeatureReader(tools.backbone)), tools.folder, {"fingerprint": "0"})
    assert json.loads((tools.folder / "router.json").read_text())["fingerprint"] == "0"
    return raised(lambda: load_router(tools.backbone, tools.folder))
