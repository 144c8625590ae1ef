"""Write one edit into a copy of the weights, for programs that know transformers models and nothing of edits. Ours."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.load import quiet
from ldke_pl.data import EditCase
from ldke_pl.edits import Delta, Edit
from ldke_pl.edits.artefact import load_artefact
from ldke_pl.edits.stored import read_stored
from ldke_pl.errors import ArtefactError, ConfigError, DataError, EditError
from ldke_pl.metrics.functional import exact_match
from ldke_pl.upkeep.arguments import BASE, parse
from ldke_pl.upkeep.loading import answers, load_base
from ldke_pl.upkeep.merge import require_free
from ldke_pl.upkeep.questions import Questions, data_of, gather

PROBES = 64
"""Locality probes asked by default."""


def fold(argv: Sequence[str]) -> int:
    """DIR ID OUT [picture=FILE] [probes=N] [base=MODEL]: write one edit into a copy of the weights, without router.

    OUT is an ordinary transformers folder. Every question meets the edit there. How many answers that changes is
    measured on the questions of the artefact's other edits and on up to N locality probes (64) of the data that they
    were made of: that of the run whose folder DIR lies in, or Atlas. Without the data, only edits without a picture can
    be asked about; picture is the edit's own, for its own question. base says where the base model is, if not where the
    artefact says.
    """
    told = parse(argv, "DIR ID OUT", ("picture", "probes", BASE))
    folder, name, out = Path(told.given[0]), told.given[1], Path(told.given[2])
    most = told.number("probes", PROBES)
    stored = read_stored(folder)
    stored.entry(name)
    require_free(out)
    backbone = load_base(stored, told.options.get(BASE))
    edits = load_artefact(folder, backbone).edits
    edit = next(e for e in edits if e.edit_id == name)
    weights = folded(backbone, edit)
    _warn("the router is left out; every question meets the edit, whatever it is about")
    cases = _cases(folder, stored.config["base"]["name"])
    asked = gather(edit, edits, cases, most, told.options.get("picture"))
    before = answers(backbone, asked.others)
    write(backbone, weights)
    _tell(asked, before, answers(backbone, asked.others))
    if asked.own:
        print(f"its own question: {answers(backbone, [asked.own])[0]!r}, wanted {edit.target!r}")
    _save(backbone, out)
    print(f"{out}: {edit.prompt} -> {edit.target}, in the weights")
    return 0


def folded(backbone: Backbone, edit: Edit) -> dict[str, Tensor]:
    """Name -> new value of every parameter that an edit changes; computed in fp32, in the parameter's dtype.

    Raises:
        EditError: it is no change of the weights of plain linear layers.
    """
    if edit.context or edit.blind or not edit.deltas:
        raise EditError(f"Edit {edit.edit_id!r} changes no weights.", "fold an edit of a method that writes deltas")
    found: dict[str, Tensor] = {}
    for name, delta in edit.deltas.items():
        slot = backbone.slot(name)
        if slot.after or type(slot.module) is not nn.Linear or not slot.module.weight.is_floating_point():
            raise EditError(
                f"Edit {edit.edit_id!r} writes to {name}, a {type(slot.module).__name__} that takes no product of "
                "matrices as its weight.",
                "fold an edit at plain linear layers of a model that is not quantised",
            )
        found |= _layer(name, delta, slot.module, edit.edit_id)
    return found


def write(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Put parameters in the place of those that have their names."""
    with torch.no_grad():
        for name, value in weights.items():
            backbone.model.get_parameter(name).copy_(value)


def _layer(name: str, delta: Delta, linear: nn.Linear, edit_id: str) -> dict[str, Tensor]:
    if delta.replaces or (delta.bias is not None and (linear.bias is None or len(delta.bias) != 1)):
        raise EditError(
            f"Edit {edit_id!r} changes the output of {name} in a way that no weight of it can hold.",
            "serve it with its router, or fold an edit of another method",
        )
    factors = [factor.to(linear.weight.device).float() for factor in reversed(delta.factors)]
    product = torch.linalg.multi_dot(factors) if len(factors) > 1 else factors[0]
    found = {f"{name}.weight": (linear.weight.float() + product).to(linear.weight.dtype)}
    if delta.bias is not None:
        bias = linear.bias
        found[f"{name}.bias"] = (bias.float() + delta.bias[0].to(bias.device).float()).to(bias.dtype)
    return found


def _cases(folder: Path, base: str) -> list[EditCase]:
    try:
        return data_of(folder, base)
    except (DataError, ConfigError) as fault:
        _warn(f"the data of the edits cannot be read, and is not asked about: {fault.message}")
        return []


def _tell(asked: Questions, before: Sequence[str], after: Sequence[str]) -> None:
    """Say how many answers changed, in all and by where the questions come from."""
    changed = [not exact_match(new, old) for old, new in zip(before, after, strict=True)]
    count = len(asked.requests)
    parts = [
        f"{sum(part)} of {len(part)} {what}"
        for part, what in ((changed[:count], "questions of other edits"), (changed[count:], "locality probes"))
        if part
    ]
    if changed:
        print(f"{sum(changed)} of {len(changed)} answers changed: {', '.join(parts)}")
    else:
        _warn("there is no other question at hand: what it costs to leave the router out is not measured")
    if asked.lost:
        _warn(f"{asked.lost} other edits were not asked about, for want of their pictures")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _save(backbone: Backbone, out: Path) -> None:
    """Write model and processor; the folder appears as a whole."""
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with quiet():
            backbone.model.save_pretrained(partial)
            backbone.processor.save_pretrained(partial)
        partial.rename(out)
    except OSError as fault:
        hint = "make room, or write somewhere else"
        raise ArtefactError(f"The folded model cannot be written to {out}: {fault}", hint) from fault
