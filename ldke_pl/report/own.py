"""What became of edits of one's own, edit by edit, for the terminal: every text whole, wrapped and never cut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ldke_pl.data.made import FROM_OTHER, MADE
from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.functional import exact_match
from ldke_pl.metrics.grouping import split
from ldke_pl.metrics.results import BASE, ProbeResult

LISTED = 3
"""Most probes of one edit that are told apart, of each sort; ``results.csv`` has all."""


@dataclass(frozen=True)
class Told:
    """What became of one edit.

    Args:
        own: its own question about its own picture.
        same: what must give the target, or follows from it: rephrasings, other pictures, related questions.
        others: what must stay as it was.
    """

    own: ProbeResult
    same: Sequence[ProbeResult]
    others: Sequence[ProbeResult]

    @property
    def took(self) -> bool:
        """Whether the edited model gives the target."""
        return self.own.score == 1

    @property
    def side_effects(self) -> list[ProbeResult]:
        """What changed and must not have."""
        return [row for row in self.others if row.score < 1]

    @property
    def missed(self) -> list[ProbeResult]:
        """What is not answered as the edit has it."""
        return [row for row in self.same if row.score < 1]


def told(rows: Sequence[ProbeResult], method: str) -> list[Told]:
    """Each edit of a method, in order of appearance: those of the first seed, all in force together if they can be.

    Args:
        rows: content of ``results.csv``; answers are those of the protocol ``generate``.
    """
    found = split((r for r in rows if (r.method, r.protocol) == (method, "generate")), lambda row: (row.seed, row.mode))
    seed = next((seed for seed, _ in found), 0)
    chosen = found.get((seed, "joint"), found.get((seed, "single"), []))
    return [_told(members) for members in split(chosen, lambda row: row.case_id).values()]


def _told(rows: Sequence[ProbeResult]) -> Told:
    own = next(row for row in rows if row.kind == ProbeKind.RELIABILITY)
    same = [row for row in rows if row.relevant and row is not own]
    return Told(own, same, [row for row in rows if not row.relevant])


def print_edits(edits: Sequence[Told], console: Console) -> None:
    """Print a block for each edit."""
    requests = {edit.own.edit_id: edit.own.prompt for edit in edits}
    for number, edit in enumerate(edits, 1):
        state = ("took", "bold green") if edit.took else ("did not take", "bold red")
        alone = " alone" if edit.own.mode == "single" else ""
        heading = Text(f"edit {number} of {len(edits)}: {clean(edit.own.case_id)}, {edit.own.method}{alone}: ", "bold")
        console.print(heading.append(*state))
        block = Table.grid(padding=(0, 2))
        block.add_column(no_wrap=True, style="dim")
        block.add_column(overflow="fold")
        for name, value in _lines(edit, requests):
            block.add_row(f"  {name}", Text(value))
        console.print(block)
        console.print()


def _lines(edit: Told, requests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and value of every line; a line that goes on the one before has no name."""
    own = edit.own
    yield "question", clean(own.prompt)
    if own.image:
        yield "picture", clean(own.image)
    yield "before", _answer(own.before)
    yield "after", _answer(own.after)
    yield "target", clean(own.expected)
    yield "sites", own.sites.replace("+", ", ") or "none"
    yield "routed to", _route(own, requests)
    right = len(edit.same) - len(edit.missed)
    yield "spread", f"{right} of {len(edit.same)} variations and related questions answered as wanted"
    for row in edit.missed[:LISTED]:
        yield "", f"{_asked(row)}: {_answer(row.after)}, wanted {clean(row.expected)}"
    yield from _more(edit.missed)
    yield "side effects", f"{len(edit.side_effects)} of {len(edit.others)} other questions changed their answer"
    for row in edit.side_effects[:LISTED]:
        same = row.relation == FROM_OTHER and exact_match(row.after, own.expected)
        hint = " (the target: perhaps it asks the same)" if same else ""
        yield "", f"{_asked(row)}: {_answer(row.before)} -> {_answer(row.after)}{hint}"
    yield from _more(edit.side_effects)


def _more(rows: Sequence[ProbeResult]) -> Iterator[tuple[str, str]]:
    if len(rows) > LISTED:
        yield "", f"and {len(rows) - LISTED} more in results.csv"


def _route(own: ProbeResult, requests: Mapping[str, str]) -> str:
    if not own.edit_id:
        return "nothing: this method makes no edit"
    if own.routed_here:
        return f"this edit, {own.edit_id}"
    under = f"; under this edit, {own.edit_id}, the answer would be {_answer(own.after_unrouted)}"
    if own.route == BASE:
        return f"base{under}"
    return f"another edit, {own.route} ({clean(requests.get(own.route, ''))}){under}"


def _asked(row: ProbeResult) -> str:
    """A probe's question, with its picture where that is not the edit's own, and whether it is ours."""
    elsewhere = row.kind in (ProbeKind.IMAGE_GENERALITY, ProbeKind.IMAGE_LOCALITY)
    place = f" ({clean(row.image)})" if elsewhere else "" if row.image else " (no picture)"
    made = f" [{row.relation}]" if row.relation.startswith(MADE) else ""
    return f'"{clean(row.prompt)}"{place}{made}'


def _answer(text: str) -> str:
    return clean(text) or "(no answer)"


def clean(text: str) -> str:
    """A text on one line, without the characters that steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
