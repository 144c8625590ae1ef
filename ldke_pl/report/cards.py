"""Which edits the page shows, and what went wrong with each: failures first, then an even sample of the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.grouping import split
from ldke_pl.metrics.results import BASE, ProbeResult
from ldke_pl.metrics.routing import has_edit
from ldke_pl.metrics.summary import PROTOCOLS

ORDER = {kind.value: index for index, kind in enumerate(ProbeKind)}
OUTCOMES = ("failed", "wrong answer", "missed", "misrouted", "leaked", "passed")
"""What can be said of a probe in a word or two, for filters; see :func:`outcomes`."""


@dataclass(frozen=True)
class Card:
    """One edit by one method in one mode: its request and its probes, failed ones apart.

    Args:
        request: the ``reliability`` row, which carries the edit's picture, prompt and target; None where rows of the
            case were left out.
        failed: probes for which :func:`fault` names something, in the order of the probe kinds.
        passed: the others, in the same order.
    """

    request: ProbeResult | None
    failed: tuple[ProbeResult, ...]
    passed: tuple[ProbeResult, ...]

    @property
    def rows(self) -> tuple[ProbeResult, ...]:
        """Every probe, failed ones first."""
        return self.failed + self.passed

    @property
    def any(self) -> ProbeResult:
        """A row to read method, mode, seed, case, group and sites from."""
        return self.request or self.rows[0]


@dataclass(frozen=True)
class Choice:
    """The cards of one page, and how many edits there were to choose from."""

    failed: tuple[Card, ...]
    sample: tuple[Card, ...]
    n_failed: int
    n_edits: int


def route_fault(row: ProbeResult) -> str:
    """Say what is wrong with where the query was sent, or return "", as where nothing decides that."""
    if row.threshold is None:
        return ""
    if row.relevant:
        if row.routed_here:
            return ""
        return "missed: went to the base" if row.route == BASE else "misrouted: went to another edit"
    if row.route == BASE:
        return ""
    return "leaked: went to this edit" if row.routed_here else "leaked: went to another edit"


def fault(row: ProbeResult) -> str:
    """Name the failure of a probe: a routed score below 1, a wrong route, both; "" for neither."""
    answer = "" if row.score >= 1 else "wrong answer" if row.score <= 0 else f"score {row.score:.2f}"
    return "; ".join(part for part in (answer, route_fault(row)) if part)


def outcomes(row: ProbeResult) -> tuple[str, ...]:
    """All of :data:`OUTCOMES` that a probe has: "passed" alone, or "failed" and the ways in which it did."""
    if not fault(row):
        return ("passed",)
    answer = ("wrong answer",) if row.score < 1 else ()
    route = (route_fault(row).partition(":")[0],) if route_fault(row) else ()
    return ("failed", *answer, *route)


def cards(rows: Iterable[ProbeResult]) -> list[Card]:
    """Group the rows of the headline protocol by edit, in order of appearance.

    Rows without an edit (``no_edit``) make no card. Where nothing was generated, the first other protocol counts.
    """
    by_protocol = split((row for row in rows if has_edit(row)), lambda row: row.protocol)
    shown = next((by_protocol[name] for name in PROTOCOLS if name in by_protocol), [])
    edits = split(shown, lambda row: (row.method, row.mode, row.seed, row.case_id))
    return [_card(sorted(members, key=lambda row: ORDER[row.kind])) for members in edits.values()]


def choose(found: Sequence[Card], *, failures: int, sample: int) -> Choice:
    """Choose the cards to show.

    Args:
        found: all of them.
        failures: how many edits with a failed probe at most, shared evenly over methods and modes, those with the
            most failed probes first.
        sample: how many of the edits not shown as failures at most, shared evenly over groups, then methods and modes.
    """
    failing = split((card for card in found if card.failed), _run)
    worst = [sorted(members, key=lambda card: -len(card.failed)) for members in failing.values()]
    shown = list(chain.from_iterable(part[:share] for part, share in _shares(worst, failures)))
    seen = {id(card) for card in shown}
    groups = split((card for card in found if id(card) not in seen), lambda card: card.any.group)
    sampled = chain.from_iterable(_sample(part, share) for part, share in _shares(list(groups.values()), sample))
    return Choice(tuple(shown), tuple(sampled), sum(map(len, worst)), len(found))


def _card(rows: Sequence[ProbeResult]) -> Card:
    request = next((row for row in rows if row.kind == ProbeKind.RELIABILITY.value), None)
    failed = tuple(row for row in rows if fault(row))
    return Card(request, failed, tuple(row for row in rows if not fault(row)))


def _run(card: Card) -> tuple[str, str]:
    return card.any.method, card.any.mode


def _shares(parts: Sequence[Sequence[Card]], limit: int) -> list[tuple[Sequence[Card], int]]:
    """Deal ``limit`` places out to the parts one by one, none getting more than it has cards."""
    shares = [0] * len(parts)
    left = min(limit, sum(map(len, parts)))
    while left > 0:
        for index, part in enumerate(parts):
            if left > 0 and shares[index] < len(part):
                shares[index] += 1
                left -= 1
    return list(zip(parts, shares, strict=True))


def _sample(group: Sequence[Card], limit: int) -> list[Card]:
    """Pick ``limit`` cards of a group: as many of each method and mode, from all over the data."""
    parts = _shares(list(split(group, _run).values()), limit)
    return [part[index * len(part) // share] for part, share in parts for index in range(share)]
