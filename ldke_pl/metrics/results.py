"""One row per case and probe: what ``results.csv`` holds and every table is computed from."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

BASE = "base"
"""The route of a query that goes to the untouched model."""


@dataclass(frozen=True)
class ProbeResult:
    """The outcome of one probe of one edit under one protocol.

    Args:
        method: name of the editor ("ldke", "no_edit", ...).
        mode: "single" (this edit alone) or "joint" (the contradiction-free set applied together),
            "sequence_10" (the first ten of that set made one after another), or "index_1000" (that set in an index
            of a thousand keys, the others of edits that no probe is about).
        protocol: "generate", "masked" or "vlkeb" (DESIGN section 8).
        seed: seed of the edit.
        case_id, group, entity: as in :class:`~ldke_pl.data.records.EditCase`.
        edit_relation: relation the edit changes; "" where the data does not say.
        kind: value of :class:`~ldke_pl.data.records.ProbeKind`.
        relation: relation the probe asks about; "" where the data does not say.
        image: path of the probe's picture, "" for a text-only question.
        prompt: the question.
        expected: the right answer after the edit; for locality the answer before the edit.
        before: answer of the unedited model ("" under teacher forcing).
        after: answer of the edited model, routed.
        after_unrouted: answer with the router forced on.
        score: routed score in [0, 1].
        score_unrouted: the same with the router forced on.
        score_no_edit: the same probe scored on the unedited model.
        ceiling: score of the unedited model where it already knows, or None.
        relevant: whether the query should be routed to this edit.
        route: edit id the query was routed to, or ``base``.
        edit_id: id of the edit under test.
        sites: chosen sites, joined with "+".
        relevance: what the router found the query to be to the edit that it is most relevant to; None where nothing
            decides, and in rows of before.
        threshold: what the relevance was compared with.
    """

    method: str
    mode: str
    protocol: str
    seed: int
    case_id: str
    group: str
    entity: str
    edit_relation: str
    kind: str
    relation: str
    image: str
    prompt: str
    expected: str
    before: str
    after: str
    after_unrouted: str
    score: float
    score_unrouted: float
    score_no_edit: float
    ceiling: float | None
    relevant: bool
    route: str
    edit_id: str
    sites: str
    relevance: float | None = None
    threshold: float | None = None

    @property
    def routed_here(self) -> bool:
        """Whether the query was routed to the edit under test."""
        return self.route == self.edit_id


COLUMNS = [f.name for f in fields(ProbeResult)]
"""Of ``results.csv``, in this order."""

ADDED = ("relevance", "threshold")
"""Columns that files of before lack."""


def write_results(path: Path, rows: Iterable[ProbeResult]) -> None:
    """Write ``rows`` as CSV with a header; an existing file is replaced."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_results(path: Path) -> Iterator[ProbeResult]:
    """Read what :func:`write_results` wrote, row by row.

    Raises:
        ValueError: it has other columns, or a value is of another type.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        found = [*(reader.fieldnames or ())]
        if found not in (COLUMNS, [name for name in COLUMNS if name not in ADDED]):
            raise ValueError(f"{path.name} has other columns than edit.py writes")
        for row in reader:
            yield _parse(row)


def _parse(row: dict[str, str]) -> ProbeResult:
    values: dict[str, object] = dict(row)
    values["seed"] = int(row["seed"])
    values["relevant"] = row["relevant"] == "True"
    for name in ("ceiling", "relevance", "threshold"):
        values[name] = float(row[name]) if row.get(name) else None
    for name in ("score", "score_unrouted", "score_no_edit"):
        values[name] = float(row[name])
    return ProbeResult(**values)  # type: ignore[arg-type]
