"""Join sets of edits of one base model. Ours."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from ldke_pl.edits import Edit
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.edits.stored import read_stored
from ldke_pl.errors import ArtefactError
from ldke_pl.metrics.functional import normalise_answer
from ldke_pl.upkeep.arguments import BASE, parse
from ldke_pl.upkeep.loading import load_base

SAME = 0.02
"""Greatest distance of what a router saw of one picture at two times, in units of its length; rounding stays below."""


def merge(argv: Sequence[str]) -> int:
    """DIR DIR ... OUT [base=MODEL]: join artefacts of the same base model and router into a new folder.

    Of two edits that ask the same question about the same picture, or about none, the later supersedes the earlier; the
    order is that of the folders. Another wording or another picture of the same thing is not recognised. Ids that are
    taken get a number. An edit that several folders hold is kept once, enabled or disabled as in the last of them.
    base says where the base model is, if not where the first artefact says.
    """
    told = parse(argv, "DIR DIR OUT", (BASE,), more=True)
    *folders, out = map(Path, told.given)
    require_free(out)
    stored = [read_stored(folder) for folder in folders]
    backbone = load_base(stored[0], told.options.get(BASE))
    artefacts = [load_artefact(folder, backbone) for folder in folders]
    for folder, artefact in zip(folders, artefacts, strict=True):
        if not _same_router(artefact, artefacts[0]):
            raise ArtefactError(
                f"The edits in {folder} have another router than those in {folders[0]}.",
                "make them anew with one router: a router cannot read another's keys",
            )
    joined = merged(artefacts)
    save_artefact(out, backbone, joined)
    superseded = {e.supersedes for e in joined.edits} - {""}
    print(f"{out}: {len(joined.edits)} edits of {len(folders)} artefacts, {len(superseded)} of them superseded")
    return 0


def require_free(folder: Path) -> None:
    """Refuse a place to write that holds something already.

    Raises:
        ArtefactError: it does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtefactError(f"{folder} is not empty.", "name a new folder, or empty this one")


def merged(artefacts: Sequence[Artefact]) -> Artefact:
    """The edits of all, which have one router, in order."""
    joined: dict[str, Edit] = {}
    for artefact in artefacts:
        _join(joined, artefact.edits)
    gone = [e for artefact in artefacts for e in artefact.rolled_back if e["edit_id"] not in joined]
    first = artefacts[0]
    calibration = next((a.calibration for a in artefacts if a.calibration), {})
    return Artefact(_of_one_length(list(joined.values())), first.router, first.router_state, gone, calibration)


def _join(joined: dict[str, Edit], edits: Sequence[Edit]) -> None:
    """Add the edits of one artefact."""
    earlier = _in_force(joined.values())
    names: dict[str, str] = {}
    for edit in edits:
        names[edit.edit_id] = _name(joined, edit, {*names.values()})
    for edit in edits:
        name = names[edit.edit_id]
        known = joined.get(name)
        joined[name] = replace(known, disabled=edit.disabled) if known else replace(edit, edit_id=name, supersedes="")
    for edit in edits:
        _supersede(joined, names[edit.edit_id], names.get(edit.supersedes, ""))
    by_question: dict[str, list[str]] = {}
    for edit in earlier:
        by_question.setdefault(normalise_answer(edit.prompt), []).append(edit.edit_id)
    for edit in _in_force(edits):
        for name in by_question.get(normalise_answer(edit.prompt), []):
            if same_picture(edit.key, joined[name].key):
                _supersede(joined, names[edit.edit_id], name)


def same_picture(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two keys are of the same picture, or both of none; unknown keys are of different ones."""
    if "seen" not in one or "seen" not in other or bool(one["seen"].any()) != bool(other["seen"].any()):
        return False
    a, b = one["image"].float(), other["image"].float()
    return not one["seen"].any() or bool((a - b).norm() <= SAME * torch.maximum(a.norm(), b.norm()))


def _in_force(edits: Iterable[Edit]) -> list[Edit]:
    found = list(edits)
    superseded = {e.supersedes for e in found}
    return [e for e in found if e.edit_id not in superseded and not e.disabled]


def _name(joined: Mapping[str, Edit], edit: Edit, taken: Container[str]) -> str:
    """The edit's id; with a number where another edit has it."""
    name, number = edit.edit_id, 1
    while name in taken or (name in joined and not _same_edit(joined[name], edit)):
        number += 1
        name = f"{edit.edit_id}-{number}"
    return name


def _same_edit(one: Edit, other: Edit) -> bool:
    told = (one.prompt, one.target, one.context, one.blind) == (other.prompt, other.target, other.context, other.blind)
    return (
        told
        and one.deltas.keys() == other.deltas.keys()
        and all(
            len(delta.tensors()) == len(other.deltas[name].tensors())
            and all(torch.equal(a, b) for a, b in zip(delta.tensors(), other.deltas[name].tensors(), strict=True))
            for name, delta in one.deltas.items()
        )
    )


def _supersede(joined: dict[str, Edit], later: str, earlier: str) -> None:
    """Put ``earlier`` behind all that ``later`` supersedes already, unless one of them supersedes the other."""
    if not earlier or later in _chain(joined, earlier) or earlier in _chain(joined, later):
        return
    if any(e.supersedes == earlier for e in joined.values()):
        return  # it is superseded by another
    last = _chain(joined, later)[-1]
    joined[last] = replace(joined[last], supersedes=earlier)


def _chain(joined: Mapping[str, Edit], name: str) -> list[str]:
    """An edit, the one that it supersedes, and so on."""
    found = [name]
    while (before := joined[found[-1]].supersedes) in joined and before not in found:
        found.append(before)
    return found


def _of_one_length(edits: list[Edit]) -> list[Edit]:
    """Keys' tokens, (tokens, width), are kept as long as the longest of their artefact: filled up with zeros."""
    parts = {n for e in edits for n in e.key if n.endswith("_tokens")}
    longest = {n: max(len(e.key[n]) for e in edits if n in e.key) for n in parts}

    def filled(name: str, value: Tensor) -> Tensor:
        return pad(value, (0, 0, 0, longest[name] - len(value))) if name in longest else value

    return [replace(e, key={n: filled(n, v) for n, v in e.key.items()}) for e in edits]


def _same_router(one: Artefact, other: Artefact) -> bool:
    states = (one.router_state, other.router_state)
    same = states[0].keys() == states[1].keys() and all(torch.equal(t, states[1][n]) for n, t in states[0].items())
    return same and one.router == other.router
