"""Edits on disk: ``edit_config.json``, ``edits.safetensors``, ``router.safetensors``. No pickle. Ours.

The configuration names the base model and a fingerprint of every weight that the edits and their router depend on; a
base that does not match is refused, because deltas on other weights would be other edits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.edits.deltas import Delta
from ldke_pl.edits.edit import Edit
from ldke_pl.edits.entries import check_parts
from ldke_pl.edits.files import DELTAS, ROUTER, VERSION, read_config, read_tensors, write_files
from ldke_pl.errors import ArtefactError

ADDED = ("context", "blind", "disabled", "seed")
"""Fields of an edit that artefacts of before lack; without them they have their defaults."""


@dataclass(frozen=True)
class Artefact:
    """What a folder of edits holds.

    Args:
        edits: in the order in which they were made.
        router: description of the router, as the router package wrote it.
        router_state: the router's weights.
        rolled_back: edits that were taken back, of which id, prompt and target are kept.
        calibration: what localization knows of the base's sites, as plain values; empty if nothing.
    """

    edits: list[Edit]
    router: dict[str, Any]
    router_state: dict[str, Tensor]
    rolled_back: list[dict[str, str]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)


def save_artefact(folder: Path, backbone: Backbone, artefact: Artefact) -> None:
    """Write ``artefact``; what was there before, or all that is new, is whole at any moment.

    Raises:
        ArtefactError: the folder cannot be written, or the disk is full.
    """
    top = _top(backbone, artefact)
    config = {
        "version": VERSION,
        "base": base_identity(backbone, top) | {"top_layer": top},
        "router": artefact.router,
        "edits": [_describe(edit) for edit in artefact.edits],
        "rolled_back": artefact.rolled_back,
        "calibration": artefact.calibration,
    }
    keys = {f"key|{e.edit_id}|{n}": t for e in artefact.edits for n, t in e.key.items()}
    router = keys | {f"router|{n}": t for n, t in artefact.router_state.items()}
    write_files(folder, config, {DELTAS: _delta_tensors(artefact.edits), ROUTER: router})


def load_artefact(folder: Path, backbone: Backbone) -> Artefact:
    """Read a folder written by :func:`save_artefact` for the same base model.

    Raises:
        ArtefactError: the folder is damaged or belongs to another base; says which part.
    """
    config = read_config(folder)
    _check_base(folder, backbone, config["base"])
    sums = config["sha256"]
    deltas, router = by_layer(read_tensors(folder / DELTAS, sums)), read_tensors(folder / ROUTER, sums)
    edits = [read_edit(e, deltas.get(e.get("edit_id", ""), {}), router, backbone, folder) for e in config["edits"]]
    state = {n.removeprefix("router|"): t for n, t in router.items() if n.startswith("router|")}
    return Artefact(edits, config["router"], state, config.get("rolled_back", []), config.get("calibration", {}))


def base_identity(backbone: Backbone, top: int) -> dict[str, str | None]:
    """What a base model must have in common with the one that edits were made on."""
    template = str(backbone.processor.chat_template)
    return {
        "name": backbone.name,
        "revision": backbone.revision,
        "fingerprint": backbone.fingerprint(top),
        "dtype": str(backbone.model.dtype),
        "processor": type(backbone.processor).__name__,
        "chat_template": hashlib.sha256(template.encode()).hexdigest()[:16],
    }


def differing(backbone: Backbone, saved: dict[str, Any]) -> list[str]:
    """In which respects a base model is not the one that an artefact's configuration names under ``base``."""
    found = base_identity(backbone, saved["top_layer"])
    return [k for k in ("fingerprint", "dtype", "processor", "chat_template") if found[k] != saved.get(k)]


def _check_base(folder: Path, backbone: Backbone, saved: dict[str, Any]) -> None:
    if faults := differing(backbone, saved):
        raise ArtefactError(
            f"The edits in {folder} were made on {saved['name']!r}; {backbone.name!r} differs from it in "
            f"{', '.join(faults)}.",
            "load them on the base model that they were made on, in the same dtype",
        )


def _top(backbone: Backbone, artefact: Artefact) -> int:
    """The highest decoder layer that the edits or their router depend on."""
    layers: list[int] = list(artefact.router.get("layers", [0]))
    sites = {s for e in artefact.edits for s in e.sites if s != CONNECTOR}
    return max([int(s.split(".")[1]) for s in sites] + layers)


def _describe(edit: Edit) -> dict[str, Any]:
    names = ("edit_id", "prompt", "target", "sites", "loss", "steps", "supersedes", *ADDED)
    return {n: getattr(edit, n) for n in names} | {"key": sorted(edit.key)}


def _delta_tensors(edits: Sequence[Edit]) -> dict[str, Tensor]:
    tensors = {}
    for edit in edits:
        for name, delta in edit.deltas.items():
            for i, factor in enumerate(delta.factors):
                tensors[f"{edit.edit_id}|{name}|{i}"] = factor
            if delta.bias is not None:
                tensors[f"{edit.edit_id}|{name}|{'value' if delta.replaces else 'bias'}"] = delta.bias
    return tensors


def by_layer(tensors: dict[str, Tensor]) -> dict[str, dict[str, dict[str, Tensor]]]:
    """The inverse of :func:`_delta_tensors`: edit -> linear layer -> part of its delta."""
    found: dict[str, dict[str, dict[str, Tensor]]] = {}
    for path, tensor in tensors.items():
        edit, _, rest = path.partition("|")
        name, _, part = rest.rpartition("|")
        found.setdefault(edit, {}).setdefault(name, {})[part] = tensor
    return found


def read_edit(
    entry: dict[str, Any], held: dict[str, dict[str, Tensor]], keys: dict[str, Tensor], backbone: Backbone, folder: Path
) -> Edit:
    """One edit from its entry in the configuration.

    Args:
        held: linear layer -> part of its delta.
        keys: the tensors of ``router.safetensors``.

    Raises:
        ArtefactError: a part is missing, of another shape, or no number.
    """
    try:
        if not backbone.sites.keys() >= {*entry["sites"]}:
            raise KeyError(f"sites {entry['sites']}")
        if entry["sites"] and not held:
            raise KeyError("its deltas")
        slots = {n: backbone.slot(n) for n in held}
        deltas = {n: _delta(n, held[n], (m.out_features, m.in_features)) for n, m in slots.items()}
        key = {n: keys[f"key|{entry['edit_id']}|{n}"] for n in entry["key"]}
        rest = {n: entry[n] for n in ("edit_id", "prompt", "target", "loss", "steps", "supersedes")}
        told = {n: entry[n] for n in ADDED if n in entry}
        return Edit(**rest, **told, sites=tuple(entry["sites"]), deltas=deltas, key=key)
    except (AttributeError, KeyError, ValueError, TypeError) as fault:
        raise ArtefactError(
            f"Edit {entry.get('edit_id', '?')!r} in {folder} is damaged: {fault}", "restore the folder from a copy"
        ) from fault


def _delta(name: str, parts: dict[str, Tensor], shape: tuple[int, int]) -> Delta:
    check_parts(name, parts)
    if not all(torch.isfinite(part).all() for part in parts.values()):
        raise ValueError(f"{name} holds values that are not numbers")
    if "value" in parts:
        if parts["value"].shape != (1, shape[0]):
            raise ValueError(f"{name} has a value of shape {tuple(parts['value'].shape)}, not {(1, shape[0])}")
        return Delta((), parts["value"], replaces=True)
    factors = [parts["0"], parts["1"]] if "1" in parts else [parts["0"]]
    product = (factors[-1].shape[0], factors[0].shape[1])
    if product != shape or (len(factors) == 2 and factors[1].shape[1] != factors[0].shape[0]):
        raise ValueError(f"{name} has shapes {[tuple(f.shape) for f in factors]}, which do not fit a layer of {shape}")
    return Delta(tuple(factors), parts.get("bias"))
