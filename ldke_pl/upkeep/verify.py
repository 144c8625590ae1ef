"""Is an artefact whole, and does it fit its base model?"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.edits.artefact import by_layer, differing, read_edit
from ldke_pl.edits.files import CONFIG, DELTAS, ROUTER, read_tensors
from ldke_pl.edits.stored import Stored, read_stored
from ldke_pl.errors import ArtefactError, LDKEError, ModelError
from ldke_pl.router.store import rebuild
from ldke_pl.upkeep.arguments import BASE, parse
from ldke_pl.upkeep.loading import load_base

PROBLEMS = 1
"""Exit status of an artefact that has problems."""


def verify(argv: Sequence[str]) -> int:
    """DIR [base=MODEL]: a line for each problem of an artefact.

    Looks at its files and their checksums, the base model and its fingerprint, the shapes of every edit's deltas, the
    router and its keys, and which edit supersedes which. base says where the base model is, if not where the artefact
    says.

    Exit status: 0 without problems; 1 with problems; 2 where DIR is no artefact.
    """
    told = parse(argv, "DIR", (BASE,))
    folder = Path(told.given[0])
    if not (folder / CONFIG).is_file():
        raise ArtefactError(f"{folder} has no {CONFIG}.", "give a folder written by save()")
    found = list(problems(folder, told.options.get(BASE)))
    for problem in found:
        print(problem)
    if not found:
        print(f"{folder}: no problems, {len(read_stored(folder).entries)} edits")
    return PROBLEMS if found else 0


def problems(folder: Path, base: str | None = None) -> Iterator[str]:
    """Everything that is wrong with an artefact.

    Args:
        base: where its base model is; None for where it says.
    """
    try:
        stored, tensors, found = read_files(folder)
    except ArtefactError as fault:
        yield fault.message
        return
    yield from found
    try:
        backbone = load_base(stored, base)
    except ModelError as fault:
        yield fault.message
        return
    for name in differing(backbone, stored.config["base"]):
        yield f"The base model {backbone.name!r} has another {name} than the edits were made on."
    if len(tensors) == 2:
        yield from _unfit(stored, backbone, tensors[DELTAS], tensors[ROUTER])


def read_files(folder: Path) -> tuple[Stored, dict[str, dict[str, Tensor]], list[str]]:
    """What an artefact's files hold, and what is wrong with them by themselves, without a base model.

    Returns:
        The configuration; the tensors of each file that has its checksum, by file name; a line for each problem.

    Raises:
        ArtefactError: the configuration cannot be read.
    """
    stored = read_stored(folder)
    found = list(_inconsistent(stored))
    tensors: dict[str, dict[str, Tensor]] = {}
    for name in (DELTAS, ROUTER):
        try:
            tensors[name] = read_tensors(folder / name, stored.config["sha256"])
        except ArtefactError as fault:
            found.append(fault.message)
    return stored, tensors, found


def _inconsistent(stored: Stored) -> Iterator[str]:
    """What is wrong with the configuration by itself."""
    counts = Counter(e["edit_id"] for e in stored.entries)
    yield from (f"{count} edits have the id {name!r}." for name, count in counts.items() if count > 1)
    later = Counter(e["supersedes"] for e in stored.entries if e["supersedes"])
    yield from (f"{count} edits supersede {name!r}." for name, count in later.items() if count > 1)
    yield from (f"{name!r} is superseded, but is not there." for name in later if name not in counts)


def _unfit(
    stored: Stored, backbone: Backbone, deltas: Mapping[str, Tensor], router: Mapping[str, Tensor]
) -> Iterator[str]:
    """Edits and router that do not fit the model, and tensors that belong to no edit."""
    held = by_layer(dict(deltas))
    for entry in stored.entries:
        try:
            read_edit(entry, held.get(entry["edit_id"], {}), dict(router), backbone, stored.folder)
        except ArtefactError as fault:
            yield fault.message
    keys = {n.split("|")[1] for n in router if n.startswith("key|")}
    strangers = sorted((held.keys() | keys) - {e["edit_id"] for e in stored.entries})
    yield from (f"Tensors belong to {name!r}, which is not there." for name in strangers)
    state = {n.removeprefix("router|"): t for n, t in router.items() if n.startswith("router|")}
    try:
        rebuild(backbone, stored.config["router"], state, stored.folder)
    except LDKEError as fault:
        yield fault.message
