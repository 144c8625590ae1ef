"""What an artefact's configuration says of its edits, checked for types before anything relies on it."""

from collections.abc import Mapping, Sequence
from types import NoneType

from torch import Tensor

REMEMBERED = ("edit_id", "prompt", "target")
"""What is kept of an edit that was rolled back."""

FIELDS: dict[str, tuple[type, ...]] = {
    "edit_id": (str,), "prompt": (str,), "target": (str,), "sites": (list,), "supersedes": (str,), "key": (list,),
    "loss": (int, float),
}  # fmt: skip
"""What every entry has, and of which type."""

OPTIONAL: dict[str, tuple[type, ...]] = {
    "steps": (int,), "context": (str,), "blind": (bool,), "disabled": (bool,), "seed": (int, NoneType),
}  # fmt: skip
"""What an entry may have."""

PARTS = ({"0"}, {"0", "1"}, {"0", "bias"}, {"0", "1", "bias"}, {"value"})
"""The tensors that a delta can be stored as."""


def unusable(entry: object) -> list[str]:
    """The fields of an entry that are missing or of another type; all that it must have where it is no object."""
    fields = entry if isinstance(entry, dict) else {}
    wrong = [name for name, kinds in FIELDS.items() if name not in fields or not _is(fields[name], kinds)]
    wrong += [name for name, kinds in OPTIONAL.items() if name in fields and not _is(fields[name], kinds)]
    lists = [name for name in ("sites", "key") if name not in wrong]
    return wrong + [name for name in lists if not all(isinstance(item, str) for item in fields[name])]


def is_remembered(gone: object) -> bool:
    """Whether this is what is kept of an edit that was rolled back."""
    return isinstance(gone, dict) and all(isinstance(gone.get(name), str) for name in REMEMBERED)


def check_parts(layer: str, parts: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are no delta of a linear layer.

    Raises:
        ValueError: a part is missing, unknown, or no matrix.
    """
    if {*parts} not in PARTS:
        raise ValueError(f"{layer} has the parts {', '.join(sorted(parts))}, which are no delta")
    if shapes := [tuple(part.shape) for part in parts.values() if part.ndim != 2]:
        raise ValueError(f"{layer} has a part of shape {shapes[0]}, which is no matrix")


def _is(value: object, kinds: Sequence[type]) -> bool:
    return isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool))
