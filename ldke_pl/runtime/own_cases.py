"""Cases of edits of one's own: what no file may say, and the probes that it lacks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.utilities import rank_zero_only
from rich.console import Console

from ldke_pl.data import EditCase, ProbeKind, image_key
from ldke_pl.data.made import MADE, with_made_probes
from ldke_pl.errors import ConfigError, DataError

MADE_KINDS = {
    ProbeKind.IMAGE_GENERALITY: "changed pictures (crop, light, turn, noise)",
    ProbeKind.TEXT_GENERALITY: "changed wordings of the edit's question",
    ProbeKind.FINEGRAINED_LOCALITY: "other questions about the same picture",
    ProbeKind.IMAGE_LOCALITY: "times the edit's question beside a picture of nothing",
    ProbeKind.TEXT_LOCALITY: "questions of general knowledge",
}


def own_cases(cases: list[EditCase], folder: Path, console: Console) -> list[EditCase]:
    """The cases with the probes that they lack, which are made by the first of several processes; says so.

    Args:
        folder: the run folder, below which made pictures are written.

    Raises:
        DataError: two edits ask the same question about the same picture, or a picture cannot be read.
        ConfigError: the pictures cannot be written.
    """
    _check_different(cases)
    if getattr(rank_zero_only, "rank", 0):
        return cases
    try:
        filled = with_made_probes(cases, folder / "made")
    except OSError as fault:
        raise ConfigError(f"Made pictures cannot be written: {fault}", "set run.dir to another folder") from fault
    _say_made(filled, console)
    return filled


def _check_different(cases: Sequence[EditCase]) -> None:
    first: dict[object, str] = {}
    for case in cases:
        request = case.request
        name = first.setdefault((image_key(request.image), request.prompt), case.case_id)
        if name != case.case_id:
            raise DataError(
                f"{name} and {case.case_id} are edits of the same question about the same picture: {request.prompt!r}.",
                "keep one of the two: they cannot both be in force",
            )


def _say_made(cases: Sequence[EditCase], console: Console) -> None:
    made = Counter(p.kind for case in cases for p in case.probes if p.relation.startswith(MADE))
    if not made:
        return
    console.print("The file lacks questions about its edits. These are ours, made by fixed rules:")
    for kind, what in MADE_KINDS.items():
        if made[kind]:
            console.print(f"  {made[kind]:4} {what}: {'must stay' if kind.is_locality else 'must give the target'}")
    console.print("What must stay is compared with the unedited model, right or wrong.")
