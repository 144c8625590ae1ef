"""Messages about saved edits."""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from hub_server import Hub, serving
from producing import Tools, produces, raised
from safetensors.torch import load_file

from ldke_pl.edited import EditedModel
from ldke_pl.edits import Delta, Edit
from ldke_pl.edits.__main__ import main
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.edits.chunks import Chunk, ChunkStore
from ldke_pl.edits.files import CONFIG, DELTAS, read_config, read_tensors, write_files
from ldke_pl.edits.stored import changing, read_stored
from ldke_pl.upkeep.fold import _save, folded

Settings = dict[str, Any]


def config(folder: Path) -> Settings:
    found: Settings = json.loads((folder / CONFIG).read_text())
    return found


def altered(tools: Tools, change: Callable[[Settings], object]) -> Path:
    """The artefact with its configuration changed."""
    folder = tools.edits
    values = config(folder)
    change(values)
    (folder / CONFIG).write_text(json.dumps(values))
    return folder


def of_config(tools: Tools, change: Callable[[Settings], object]) -> str:
    return raised(lambda: read_config(altered(tools, change)))


def of_edit(tools: Tools, change: Callable[[Settings], object]) -> str:
    return raised(lambda: load_artefact(altered(tools, change), tools.backbone))


def of_tensors(tools: Tools, change: Callable[[str, dict[str, torch.Tensor]], object]) -> str:
    """What loading says after the tensors were changed, with a checksum that fits them."""
    folder = tools.edits
    tensors = load_file(folder / DELTAS)
    layer = next(iter(tensors)).rpartition("|")[0]
    change(layer, tensors)
    write_files(folder, read_config(folder), {DELTAS: tensors})
    return raised(lambda: load_artefact(folder, tools.backbone))


def told(*arguments: object) -> str:
    """What a command of ``python -m ldke_pl.edits`` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([str(argument) for argument in arguments])
    return out.getvalue()


@produces("<folder>/edit_config.json cannot be read: <reason>")
def no_artefact(tools: Tools) -> str:
    return raised(lambda: read_config(tools.folder))


@produces("<folder>/edit_config.json cannot be read: it has version <n>, this program reads <n>")
def other_version(tools: Tools) -> str:
    return of_config(tools, lambda c: c.update(version=99))


@produces("<folder>/edit_config.json cannot be read: it lacks <keys>")
def lacking_key(tools: Tools) -> str:
    return of_config(tools, lambda c: c["base"].pop("dtype"))


@produces("<folder>/edit_config.json cannot be read: <keys> is of another type than save() writes")
def other_type(tools: Tools) -> str:
    return of_config(tools, lambda c: c.update(edits={}))


@produces("<file>.safetensors cannot be read: <reason>")
def no_tensors(tools: Tools) -> str:
    path = tools.file(DELTAS, "no tensors")
    digest = hashlib.sha256(b"no tensors").hexdigest()
    return raised(lambda: read_tensors(path, {DELTAS: digest}))


@produces("<file>.safetensors cannot be read: there is no such file")
def lost_tensors(tools: Tools) -> str:
    return raised(lambda: read_tensors(tools.folder / DELTAS, {}))


@produces("<file>.safetensors cannot be read: its content is not what was written")
def altered_tensors(tools: Tools) -> str:
    (tools.edits / DELTAS).write_bytes(b"cut")
    return raised(lambda: load_artefact(tools.edits, tools.backbone))


@produces("Edit number <n> in <file> has no usable <keys>.")
def lacking_field(tools: Tools) -> str:
    return raised(lambda: read_stored(altered(tools, lambda c: c["edits"][1].pop("prompt"))))


@produces("rolled_back in <file> cannot be used.")
def bad_memory(tools: Tools) -> str:
    return raised(lambda: read_stored(altered(tools, lambda c: c.update(rolled_back=[1]))))


@produces("Edit <id> in <folder> is damaged: <reason>")
def damaged_edit(tools: Tools) -> str:
    return of_edit(tools, lambda c: c["edits"][0].update(key=["nowhere"]))


@produces('Edit <id> in <folder> is damaged: "sites <names>"')
def unknown_sites(tools: Tools) -> str:
    return of_edit(tools, lambda c: c["edits"][0].update(sites=["decoder.99"]))


@produces("Edit <id> in <folder> is damaged: 'its deltas'")
def no_deltas(tools: Tools) -> str:
    return of_edit(tools, lambda c: c["edits"][0].update(edit_id="third"))


@produces("Edit <id> in <folder> is damaged: <layer> holds values that are not numbers")
def no_numbers(tools: Tools) -> str:
    return of_tensors(tools, lambda layer, tensors: tensors[f"{layer}|0"].fill_(torch.nan))


@produces("Edit <id> in <folder> is damaged: <layer> has the parts <names>, which are no delta")
def bad_parts(tools: Tools) -> str:
    def lose_the_first(layer: str, tensors: dict[str, torch.Tensor]) -> None:
        del tensors[f"{layer}|0"]

    loading = of_tensors(tools, lose_the_first)
    assert loading == raised(lambda: main(["list", str(tools.edits)]))
    return loading


@produces("Edit <id> in <folder> is damaged: <layer> has a part of shape <shape>, which is no matrix")
def no_matrix(tools: Tools) -> str:
    return of_tensors(tools, lambda layer, tensors: tensors.update({f"{layer}|0": torch.zeros(3)}))


@produces("Edit <id> in <folder> is damaged: <layer> has a value of shape <shape>, not <shape>")
def bad_value(tools: Tools) -> str:
    def replace_all(layer: str, tensors: dict[str, torch.Tensor]) -> None:
        del tensors[f"{layer}|0"], tensors[f"{layer}|1"]
        tensors[f"{layer}|value"] = torch.zeros(1, 3)

    return of_tensors(tools, replace_all)


@produces("Edit <id> in <folder> is damaged: <layer> has shapes <shapes>, which do not fit a layer of <shape>")
def bad_shape(tools: Tools) -> str:
    return of_tensors(tools, lambda layer, tensors: tensors.update({f"{layer}|1": torch.zeros(3, 2)}))


@produces("The edits in <folder> were made on <model>; <model> differs from it in <what>.")
def other_base(tools: Tools) -> str:
    return of_edit(tools, lambda c: c["base"].update(fingerprint="0"))


@produces("There is no edit <id>.")
def unknown_edit(tools: Tools) -> str:
    edited = EditedModel.load(tools.edits)
    return raised(lambda: edited.rollback("nobody"))


@produces("<folder> holds no edit <id>.")
def unknown_stored_edit(tools: Tools) -> str:
    return raised(lambda: main(["show", str(tools.edits), "nobody"]))


@produces("Edits cannot be written to <folder>: <reason>")
def unwritable(tools: Tools) -> str:
    file = tools.file("file", "no folder")
    artefact = raised(lambda: save_artefact(file / "edits", tools.backbone, Artefact([], {}, {})))
    chunk = raised(lambda: ChunkStore(file, tools.backbone).write(0, Chunk([], 0.0, 0.0)))
    assert chunk.startswith(f"Edits cannot be written to {file}")
    return artefact


@produces("Another process is changing <folder>.")
def changed_meanwhile(tools: Tools) -> str:
    with FileLock(tools.edits / ".lock"):
        return raised(lambda: changing(tools.edits).__enter__())


@produces("<folder> cannot be written: <reason>")
def unwritable_lock(tools: Tools) -> str:
    (tools.edits / ".lock").mkdir()
    return raised(lambda: changing(tools.edits).__enter__())


@produces("<folder> has no edit_config.json.")
def nothing_to_verify(tools: Tools) -> str:
    return raised(lambda: main(["verify", str(tools.folder)]))


@produces("<folder> is not empty.")
def taken_folder(tools: Tools) -> str:
    tools.file("file", "")
    return raised(lambda: main(["merge", str(tools.edits), str(tools.edits), str(tools.folder)]))


@produces("The edits in <folder> have another router than those in <folder>.")
def other_router(tools: Tools) -> str:
    copy = Path(shutil.copytree(tools.edits, tools.folder / "copy"))
    altered(tools, lambda c: c["router"].update(threshold=0.9))
    return raised(lambda: main(["merge", str(tools.edits), str(copy), str(tools.folder / "out")]))


def loaded(tools: Tools) -> Edit:
    return load_artefact(tools.edits, tools.backbone).edits[0]


@produces("Edit <id> changes no weights.")
def nothing_to_fold(tools: Tools) -> str:
    return raised(lambda: folded(tools.backbone, replace(loaded(tools), deltas={})))


@produces("Edit <id> writes to <layer>, a <class> that takes no product of matrices as its weight.")
def no_plain_layer(tools: Tools) -> str:
    edit = loaded(tools)
    (layer,) = edit.deltas
    slot = tools.backbone.slot(layer)
    tools.patch.setattr(type(tools.backbone), "slot", lambda *_: replace(slot, after=True))
    return raised(lambda: folded(tools.backbone, edit))


@produces("Edit <id> changes the output of <layer> in a way that no weight of it can hold.")
def replaced_output(tools: Tools) -> str:
    edit = loaded(tools)
    (layer,) = edit.deltas
    value = Delta((), torch.zeros(1, tools.backbone.width), replaces=True)
    return raised(lambda: folded(tools.backbone, replace(edit, deltas={layer: value})))


@produces("The folded model cannot be written to <folder>: <reason>")
def unwritable_model(tools: Tools) -> str:
    return raised(lambda: _save(tools.backbone, tools.file("file", "no folder") / "out"))


@produces("The base model <name> has another <what> than the edits were made on.")
def base_that_differs(tools: Tools) -> str:
    return told("verify", altered(tools, lambda c: c["base"].update(fingerprint="0")))


@produces("<n> edits have the id <id>.")
def id_twice(tools: Tools) -> str:
    return told("verify", altered(tools, lambda c: c["edits"].append(c["edits"][0])))


@produces("<n> edits supersede <id>.")
def superseded_twice(tools: Tools) -> str:
    def change(values: Settings) -> None:
        values["edits"] += [values["edits"][1] | {"edit_id": "third"}]
        for later in values["edits"][1:]:
            later["supersedes"] = "first"

    return told("verify", altered(tools, change))


@produces("<id> is superseded, but is not there.")
def superseded_nobody(tools: Tools) -> str:
    return told("verify", altered(tools, lambda c: c["edits"][0].update(supersedes="nobody")))


@produces("Tensors belong to <id>, which is not there.")
def strangers(tools: Tools) -> str:
    return told("verify", altered(tools, lambda c: c["edits"].pop()))


def at_hub(tools: Tools, *arguments: object, set_up: Callable[[Hub], object] = lambda hub: None) -> str:
    """What a command stops with at a hub that was set up so."""
    with serving(tools.patch, tools.folder / "cache") as hub:
        set_up(hub)
        return raised(lambda: main([str(argument) for argument in arguments]))


@produces("<folder> cannot be copied to <folder>: <reason>")
def unreadable_folder(tools: Tools) -> str:
    (tools.edits / DELTAS).unlink()
    (tools.edits / DELTAS).mkdir()
    return raised(lambda: main(["push", str(tools.edits), "edits"]))


@produces("<folder or repository> is no whole set of edits: <problems>")
def no_whole_set(tools: Tools) -> str:
    pulled = at_hub(tools, "pull", "bo/edits", tools.folder / "out", set_up=lambda hub: hub.add("bo/edits", {}))
    assert pulled.startswith("bo/edits is no whole set of edits: ")
    return raised(lambda: main(["push", str(tools.folder), "edits"]))


@produces("<repository> is no name of a repository.")
def no_repository_name(tools: Tools) -> str:
    return raised(lambda: main(["push", str(tools.edits), "my edits"]))


@produces("<repository> is public: everyone could read the edits.")
def public_repository(tools: Tools) -> str:
    return at_hub(tools, "push", tools.edits, "ada/edits", set_up=lambda hub: hub.add("ada/edits", {}))


@produces("<repository> holds something else than edits.")
def other_repository(tools: Tools) -> str:
    held = {"config.json": b"{}"}
    return at_hub(tools, "push", tools.edits, "ada/m", set_up=lambda hub: hub.add("ada/m", held, private=True))


@produces("There is no repository <name>, or it is hidden from you.")
def no_repository(tools: Tools) -> str:
    return at_hub(tools, "pull", "bo/edits", tools.folder / "out")


@produces("<repository> has no revision <name>.")
def no_revision(tools: Tools) -> str:
    arguments = ("pull", "bo/edits", tools.folder / "out", "revision=gone")
    return at_hub(tools, *arguments, set_up=lambda hub: hub.add("bo/edits", {}))


@produces("The hub denies access to <repository>: <reason>")
def denied(tools: Tools) -> str:
    return at_hub(tools, "push", tools.edits, "bo/edits")


@produces("The hub refuses <repository> with status <n>: <reason>")
def refused(tools: Tools) -> str:
    failing = {"models/bo": (500, "a fault")}
    return at_hub(tools, "pull", "bo/edits", tools.folder / "out", set_up=lambda hub: hub.failing.update(failing))


@produces("The hub gives no answer for <repository>: <reason>")
def offline(tools: Tools) -> str:
    return raised(lambda: main(["pull", "bo/edits", str(tools.folder / "out")]))
