"""Change an artefact in its place: switch an edit off and on, or take it back. The base model is not needed."""

from collections.abc import Sequence
from pathlib import Path

from ldke_pl.edits.stored import changing, read_stored
from ldke_pl.upkeep.arguments import parse


def disable(argv: Sequence[str]) -> int:
    """DIR ID: keep an edit, but route no query to it; every load of the artefact heeds that.

    An earlier edit of the same fact, which this one has superseded, stays superseded.
    """
    return _set(argv, True)


def enable(argv: Sequence[str]) -> int:
    """DIR ID: route queries to a disabled edit again; one that is superseded stays so."""
    return _set(argv, False)


def rollback(argv: Sequence[str]) -> int:
    """DIR ID: take an edit out for good; the edit that it had superseded is in force again.

    Its deltas and its key are deleted. Its id, prompt and target are kept, for the list to show.
    """
    folder, edit_id = parse(argv, "DIR ID").given
    with changing(Path(folder)) as stored:
        back = stored.roll_back(edit_id)
    print(f"{edit_id}: rolled back")
    if back:
        print(f"{back}: {read_stored(Path(folder)).states().get(back, 'not there')}")
    return 0


def _set(argv: Sequence[str], disabled: bool) -> int:
    folder, edit_id = parse(argv, "DIR ID").given
    with changing(Path(folder)) as stored:
        stored.set_disabled(edit_id, disabled)
    print(f"{edit_id}: {read_stored(Path(folder)).states()[edit_id]}")
    return 0
