"""What is in an artefact, and what is in one and not in another; read without the base model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ldke_pl.edits.stored import Entry, Stored, read_stored
from ldke_pl.upkeep.arguments import parse

DIFFERENT = 1
"""Exit status of two artefacts that are not the same."""

SHORT = 48
"""Longest text in a table, in characters."""

Parts = Mapping[str, Mapping[str, Tensor]]
"""Linear layer -> part of its delta."""


def list_edits(argv: Sequence[str]) -> int:
    """DIR: a line for each edit.

    Columns: id, state, whether it has a picture ("?" where no key says so), sites, rank, prompt, target. States: in
    force; disabled; superseded, by a later edit of the same fact; rolled back, of which id, prompt and target are kept.
    """
    stored = read_stored(Path(parse(argv, "DIR").given[0]))
    deltas, keys, states = stored.deltas(), stored.keys(), stored.states()
    rows = [["id", "state", "picture", "sites", "rank", "prompt", "target"]]
    for entry in stored.entries:
        name = entry["edit_id"]
        sites = ",".join(entry["sites"]) or "-"
        told = [pictured(keys.get(name, {})), sites, rank(deltas.get(name, {})), entry["prompt"], entry["target"]]
        rows.append([name, states[name], *told])
    rows += [[e["edit_id"], "rolled back", "-", "-", "-", e["prompt"], e["target"]] for e in stored.rolled_back]
    for line in _columns(rows):
        print(line)
    return 0


def show(argv: Sequence[str]) -> int:
    """DIR ID: everything about one edit.

    Norms are Frobenius norms of the product that is added to a weight. The loss is the objective when the edit
    stopped, nats per answer token. Bytes are those of the deltas, and of the key that the router knows the edit by.
    """
    given = parse(argv, "DIR ID").given
    stored = read_stored(Path(given[0]))
    entry = stored.entry(given[1])
    for name, value in _facts(stored, entry):
        print(f"{name + ':':16}{value}")
    return 0


def diff(argv: Sequence[str]) -> int:
    """A B: edits that only one of two artefacts has, and those that differ.

    "-" stands before an edit of A alone, "+" before one of B alone, "~" before one of both with what differs in it.

    Exit status: 0 where they hold the same; 1 where they do not; 2 for a bad argument or a damaged artefact.
    """
    first, second = (_described(read_stored(Path(folder))) for folder in parse(argv, "A B").given)
    lines = [f"- {edit['told']}" for name, edit in first.items() if name not in second]
    lines += [f"+ {edit['told']}" for name, edit in second.items() if name not in first]
    for name in (n for n in first if n in second):
        differing = _differing(first[name], second[name])
        lines += [f"~ {first[name]['told']}: {', '.join(differing)}"] if differing else []
    print("\n".join(lines) or "the same edits")
    return DIFFERENT if lines else 0


def _described(stored: Stored) -> dict[str, dict[str, object]]:
    """Edit -> what it is compared by, and how it is told."""
    deltas, keys, states = stored.deltas(), stored.keys(), stored.states()
    found = {}
    for entry in stored.entries:
        name = entry["edit_id"]
        key = {part: _unpadded(part, tensor) for part, tensor in keys.get(name, {}).items()}
        tensors = {"deltas": _flat(deltas.get(name, {})), "key": key}
        fields = {field: value for field, value in entry.items() if field not in ("disabled", "seed", "key")}
        found[name] = fields | {"state": states[name], "told": _told(entry)} | tensors
    return found


def _unpadded(part: str, tensor: Tensor) -> Tensor:
    """A key's tokens, (tokens, width), without the zeros that bring them to the length of their artefact's longest."""
    if not part.endswith("_tokens"):
        return tensor
    there = tensor.any(-1).nonzero()
    return tensor[: int(there[-1]) + 1 if len(there) else 0]


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """In which fields two edits of one id differ."""
    names = dict.fromkeys([*one, *other])
    return [n for n in names if n != "told" and not _same(one.get(n), other.get(n))]


def _same(one: object, other: object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one == other
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def pictured(key: Mapping[str, Tensor]) -> str:
    """Whether an edit is about a picture: "yes" or "no" as its key says, "?" where it has none."""
    return "?" if "seen" not in key else "yes" if bool(key["seen"].any()) else "no"


def rank(deltas: Parts) -> str:
    """Ranks of an edit's deltas: a number, "full" for a full update, "value" for one that replaces an output."""
    found = {_rank(parts) for parts in deltas.values()}
    return ",".join(sorted(found)) or "-"


def _rank(parts: Mapping[str, Tensor]) -> str:
    if "value" in parts:
        return "value"
    return str(len(parts["0"])) if "1" in parts else "full"


def _facts(stored: Stored, entry: Entry) -> Iterator[tuple[str, object]]:
    name = entry["edit_id"]
    deltas, key = stored.deltas().get(name, {}), stored.keys().get(name, {})
    yield "id", name
    yield "state", stored.states()[name]
    yield "prompt", entry["prompt"]
    yield "target", entry["target"]
    yield "picture", pictured(key)
    yield "sites", ", ".join(entry["sites"]) or "none"
    yield "rank", rank(deltas)
    for layer, parts in deltas.items():
        yield "delta", f"{layer}, norm {_norm(parts):.4g}, {', '.join(_shapes(parts))}"
    yield "loss", f"{entry['loss']:.4g}"
    yield "steps", entry.get("steps", "not kept")
    yield "seed", "not kept" if entry.get("seed") is None else entry["seed"]
    yield "supersedes", entry["supersedes"] or "none"
    yield "superseded by", ", ".join(e["edit_id"] for e in stored.entries if e["supersedes"] == name) or "none"
    if entry.get("context"):
        yield "told", entry["context"]
    yield "bytes", f"{_bytes(_flat(deltas))} of deltas, {_bytes(key)} of key"


def _norm(parts: Mapping[str, Tensor]) -> float:
    factors = [parts[name].float() for name in ("1", "0") if name in parts]
    if not factors:
        return float(parts["value"].float().norm())
    return float(torch.linalg.multi_dot(factors).norm() if len(factors) > 1 else factors[0].norm())


def _shapes(parts: Mapping[str, Tensor]) -> list[str]:
    return [f"{'x'.join(map(str, t.shape))} {str(t.dtype).removeprefix('torch.')}" for t in parts.values()]


def _flat(deltas: Parts) -> dict[str, Tensor]:
    return {f"{layer}|{part}": tensor for layer, parts in deltas.items() for part, tensor in parts.items()}


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _told(entry: Entry) -> str:
    return f"{entry['edit_id']}  {_short(entry['prompt'])} -> {_short(entry['target'])}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 3] + "..."


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with their cells one below the other."""
    shown = [[_short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
