"""What the page draws: scores of sites edit by edit, and what the router found of relevant and irrelevant queries.

A drawing is the ``d`` of a few SVG paths, made of numbers alone: a thousand edits cost no more elements than ten.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ldke_pl.metrics.grouping import split
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import PROTOCOLS, ordered_modes

SHADES = 5
BINS = 40
WIDTH, HALF = 400, 60
"""Of a drawing of the router, and the height of each of its halves, in units of its own."""


@dataclass(frozen=True)
class SiteLine:
    """One site of a heat map.

    Args:
        shades: a path for each of :data:`SHADES`, palest first, over the edits whose score of this site is that high.
        chosen: a path over the edits that were written here.
        mean: score over all edits; None without scores, or where none can be written here.
        first: for how many edits it has the best score.
        written: how many edits were written here.
    """

    site: str
    shades: tuple[str, ...]
    chosen: str
    mean: float | None
    first: int
    written: int


@dataclass(frozen=True)
class HeatMap:
    """Edits from left to right, group by group; sites from top to bottom.

    Args:
        localizer: the one that chose.
        score: the one that is shown, "" for none.
        width: of a line's paths; they are 1 high.
        groups: name to number of edits, in the order of the page.
    """

    localizer: str
    score: str
    width: int
    groups: Mapping[str, int]
    lines: tuple[SiteLine, ...]

    @property
    def count(self) -> int:
        """Edits that are shown."""
        return sum(self.groups.values())


@dataclass(frozen=True)
class Half:
    """Queries of one sort: relevant or irrelevant ones.

    Args:
        bars: a path.
        n, reached: how many there are, and how many of them reach the threshold.
    """

    bars: str
    n: int
    reached: int


@dataclass(frozen=True)
class RouterChart:
    """Relevance of queries to the edit that each is most relevant to, and the threshold, in one mode."""

    methods: tuple[str, ...]
    mode: str
    threshold: float
    relevant: Half
    irrelevant: Half


def heat_map(found: Mapping[str, Any] | None) -> HeatMap | None:
    """Draw what ``metrics.json`` holds under ``localization``; None where it holds nothing."""
    if not found or not found["edits"]:
        return None
    groups = split(found["edits"], lambda edit: edit["group"])
    gap = max(1, len(found["edits"]) // 80)
    edits: list[Mapping[str, Any]] = []
    places: list[int] = []
    for number, members in enumerate(groups.values()):
        places += range(len(edits) + number * gap, len(edits) + number * gap + len(members))
        edits += members
    shares = [_shares(edit["scores"]) for edit in edits]
    lines = [_site_line(found, index, edits, places, shares) for index in range(len(found["sites"]))]
    sizes = {name or "edits": len(members) for name, members in groups.items()}
    return HeatMap(found["localizer"], found["score"], places[-1] + 1, sizes, tuple(lines))


def router_charts(rows: Iterable[ProbeResult]) -> list[RouterChart]:
    """Draw one chart per mode and method; methods that the same router serves alike share theirs."""
    judged = split((r for r in rows if r.relevance is not None and math.isfinite(r.relevance)), lambda r: r.protocol)
    shown = next((judged[name] for name in PROTOCOLS if name in judged), [])
    by_mode = split(shown, lambda row: row.mode)
    charts = []
    for mode in ordered_modes(by_mode):
        methods: dict[tuple[float, Half, Half], list[str]] = {}
        for method, members in split(by_mode[mode], lambda row: row.method).items():
            methods.setdefault(_drawn(members), []).append(method)
        charts += [RouterChart(tuple(names), mode, *drawn) for drawn, names in methods.items()]
    return charts


def _shares(scores: Sequence[float | None]) -> list[float | None]:
    """Scores of one edit between its worst site, 0, and its best, 1: sites of one edit are what is compared."""
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return [None if score is None else (score - low) / (high - low) if high > low else 1.0 for score in scores]


def _site_line(
    found: Mapping[str, Any],
    index: int,
    edits: Sequence[Mapping[str, Any]],
    places: Sequence[int],
    shares: Sequence[Sequence[float | None]],
) -> SiteLine:
    site = found["sites"][index]
    values = [row[index] if row else None for row in shares]
    shades: list[list[int]] = [[] for _ in range(SHADES)]
    for place, value in zip(places, values, strict=True):
        if value is not None:
            shades[min(SHADES - 1, int(value * SHADES))].append(place)
    scores = [edit["scores"][index] for edit in edits if edit["scores"]]
    known = [score for score in scores if score is not None]
    written = [place for place, edit in zip(places, edits, strict=True) if site in edit["chosen"]]
    return SiteLine(
        site,
        tuple(_runs(shade, 0, 1) for shade in shades),
        _runs(written, 0.35, 0.3),
        sum(known) / len(known) if known else None,
        sum(value == 1 for value in values),
        len(written),
    )


def _runs(places: Sequence[int], top: float, height: float) -> str:
    """Boxes one unit wide at rising ``places``, those side by side as one."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    return "".join(f"M{first} {top:g}h{end - first}v{height:g}h-{end - first}z" for first, end in runs)


def _drawn(rows: Sequence[ProbeResult]) -> tuple[float, Half, Half]:
    parts = [[row for row in rows if row.relevant is relevant] for relevant in (True, False)]
    bins = [Counter(_bin(row.relevance or 0.0) for row in part) for part in parts]
    most = max(chain.from_iterable(counts.values() for counts in bins))
    threshold = rows[0].threshold or 0.0
    relevant, irrelevant = (
        Half(_bars(counts, most, sign), len(part), sum((row.relevance or 0.0) >= threshold for row in part))
        for part, counts, sign in zip(parts, bins, (-1, 1), strict=True)
    )
    return threshold, relevant, irrelevant


def _bin(relevance: float) -> int:
    return min(BINS - 1, max(0, int(relevance * BINS)))


def _bars(counts: Mapping[int, int], most: int, sign: int) -> str:
    """Bars from the middle up (-1) or down (1), as high as the logarithm of their count: single strays are seen."""
    wide = WIDTH // BINS
    heights = {place: HALF * math.log1p(count) / math.log1p(most) * sign for place, count in sorted(counts.items())}
    return "".join(f"M{place * wide} {HALF}v{h:.1f}h{wide - 1}v{-h:.1f}z" for place, h in heights.items())
