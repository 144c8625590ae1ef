"""What the terminal tables and the HTML page show, picked from ``metrics.json`` (schema 1, DESIGN section 7)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.grouping import ALL, AVERAGE, IntervalDict
from ldke_pl.metrics.summary import INDEX, MODES, PROTOCOLS, SEQUENCE

Metrics = Mapping[str, Any]
"""The whole of ``metrics.json``."""

TABLES = (*MODES, SEQUENCE, INDEX)
"""Modes in the order of tables; those that come in several sizes have one table, and a line for each size."""

SIZED = {SEQUENCE: "edit", INDEX: "key"}
"""What the size of a mode counts."""

NO_EDIT = "no_edit"
HEADLINE = "generate"
"""The protocol of the headline."""

COLUMNS = (*(kind.value for kind in ProbeKind), AVERAGE)
RATES = ("tpr", "fpr", "misroute")
COSTS = ("seconds_per_edit", "seconds_localize", "bytes_per_edit")

HEADINGS = {
    "reliability": "Rel",
    "text_generality": "T-Gen",
    "image_generality": "I-Gen",
    "finegrained_generality": "FG-Gen",
    "text_locality": "T-Loc",
    "image_locality": "I-Loc",
    "finegrained_locality": "FG-Loc",
    "visual_locality": "V-Loc",
    "entity_locality": "E-Loc",
    "portability_1": "Port1",
    "portability_2": "Port2",
    "portability_3": "Port3",
    "portability_4": "Port4",
    AVERAGE: "Avg",
    ALL: "All",
}
"""Column to a heading of at most six characters."""


class Role(StrEnum):
    """What a line of a headline table stands for."""

    FLOOR = "floor"
    CEILING = "ceiling"
    ROUTED = "routed"
    UNROUTED = "unrouted"


@dataclass(frozen=True)
class Line:
    """One line of a headline table: probe kind (or "average") to its interval."""

    method: str
    role: Role
    entries: Mapping[str, IntervalDict]

    @property
    def label(self) -> str:
        """The name shown at the start of the line."""
        if self.role is Role.ROUTED:
            return self.method
        return f"{self.method} (floor)" if self.role is Role.FLOOR else self.role.value


@dataclass(frozen=True)
class Headline:
    """The figures of one protocol, mode and group: the floor first, each method's unrouted line right below it."""

    protocol: str
    mode: str
    group: str
    lines: tuple[Line, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Probe kinds that some line has, in the order of the enum, and "average" last."""
        return tuple(kind for kind in COLUMNS if any(kind in line.entries for line in self.lines))

    @property
    def references(self) -> tuple[Line, ...]:
        """The lines of the unedited model: floor, ceiling."""
        return tuple(line for line in self.lines if line.role in (Role.FLOOR, Role.CEILING))

    @property
    def edited(self) -> tuple[Line, ...]:
        """The lines of the edited models, routed and unrouted."""
        return tuple(line for line in self.lines if line.role in (Role.ROUTED, Role.UNROUTED))

    def count(self, kind: str) -> str:
        """Rows behind a column: "96", or "90-96" where the lines differ. The ceiling is asked of fewer and left out."""
        asked = [line for line in self.lines if line.role is not Role.CEILING]
        counted = [line.entries[kind]["n"] for line in asked if kind in line.entries]
        if not counted:
            return ""
        low, high = min(counted), max(counted)
        return str(low) if low == high else f"{low}-{high}"


@dataclass(frozen=True)
class RouterBlock:
    """The router's rates of one method and mode, over all queries or over one part of them.

    ``rates`` maps rate to column ("all" or a probe kind) to a share in [0, 1]; what does not apply is absent.
    """

    method: str
    mode: str
    part: str
    index_size: int | None
    rates: Mapping[str, Mapping[str, float]]

    @property
    def place(self) -> str:
        """Mode and size of the index: "joint, 300 keys"."""
        keys = {None: "", 1: ", 1 key"}.get(self.index_size, f", {self.index_size} keys")
        return f"{self.mode}{keys}"


@dataclass(frozen=True)
class CostLine:
    """What an edit costs: :data:`COSTS` to a number, in seconds or bytes; unmeasured ones are absent."""

    method: str
    mode: str
    costs: Mapping[str, float]


def headline(metrics: Metrics, *, mode: str, group: str = ALL, protocol: str = HEADLINE) -> Headline:
    """Collect the lines of one table; a method without figures for this mode, group and protocol has none."""
    lines: list[Line] = []
    for method, summary in _summaries(metrics, mode):
        routed = summary.get("protocol", {}).get(protocol, {}).get(group, {})
        if not routed:
            continue
        if method.startswith(NO_EDIT):
            lines.append(Line(method, Role.FLOOR, routed))
            continue
        lines.append(Line(method, Role.ROUTED, routed))
        unrouted = summary.get("unrouted", {}).get(group, {}) if protocol == HEADLINE else {}
        lines += [Line(method, Role.UNROUTED, unrouted)] if unrouted else []
    at = 1 if lines and lines[0].role is Role.FLOOR else 0
    lines[at:at] = _ceiling(metrics, mode, group) if lines and protocol == HEADLINE else []
    return Headline(protocol, mode, group, tuple(lines))


def headlines(metrics: Metrics) -> Iterator[Headline]:
    """Yield every table that has lines: by protocol, ``generate`` first, then mode, then group, "all" first."""
    for protocol in PROTOCOLS:
        for mode in TABLES:
            for group in _groups(metrics, mode, protocol):
                yield headline(metrics, mode=mode, group=group, protocol=protocol)


def router_blocks(metrics: Metrics) -> list[RouterBlock]:
    """Collect the router's rates: one block per method and mode, and one more for relations it never trained on."""
    blocks = []
    for mode in TABLES:
        for method, summary in _summaries(metrics, mode):
            whole = summary.get("router", {})
            held_out = whole.get("held_out_relations", {})
            for part, figures in (("", whole), ("held-out relations", held_out)):
                rates = _rates(figures)
                if any(rates.values()):
                    blocks.append(RouterBlock(method, mode, part, whole.get("index_size"), rates))
    return blocks


def router_columns(blocks: list[RouterBlock]) -> tuple[str, ...]:
    """Return "all" and the probe kinds that some block has."""
    present = {column for block in blocks for by_column in block.rates.values() for column in by_column}
    return tuple(column for column in (ALL, *COLUMNS) if column in present)


def cost_lines(metrics: Metrics) -> list[CostLine]:
    """Collect the measured costs. A cost that was measured over both modes stands beside them and counts for each."""
    lines = []
    for mode in MODES:
        for method, summary in _summaries(metrics, mode):
            both = {**metrics["methods"].get(method, {}), **summary}
            costs = {name: float(both[name]) for name in COSTS if name in both}
            lines += [CostLine(method, mode, costs)] if costs and method != NO_EDIT else []
    return lines


def percent(share: float) -> str:
    """Format a share in [0, 1] as a percentage with one decimal: 0.982 -> "98.2"."""
    return f"{100 * share:.1f}"


def spread(entry: IntervalDict) -> str:
    """Format the wider side of an interval in points: "±0.7"."""
    return f"±{percent(max(entry['hi'] - entry['value'], entry['value'] - entry['lo']))}"


def bounds(entry: IntervalDict) -> str:
    """Format both ends of an interval in percent: "97.5\N{EN DASH}98.9"."""
    return f"{percent(entry['lo'])}\N{EN DASH}{percent(entry['hi'])}"


def seconds(count: float) -> str:
    """Format a time: 0.02134 -> "0.0213 s"; what is too short to matter is not spelled out."""
    return f"{count:.3g} s" if count >= 0.001 else "< 0.001 s"


def size(count: float) -> str:
    """Format a number of bytes with a binary unit: 18432 -> "18.0 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def name(column: str) -> str:
    """Spell a column out: "text_locality" -> "text locality"."""
    return column.replace("_", " ")


def _summaries(metrics: Metrics, mode: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Method and figures of a mode; of one that comes in several sizes, one for each."""
    methods = metrics["methods"]
    for method in sorted(methods, key=lambda method: bool(method != NO_EDIT)):
        if mode in methods[method]:
            yield method, methods[method][mode]
        sizes = [int(m.removeprefix(f"{mode}_")) for m in methods[method] if m.startswith(f"{mode}_")]
        for number in sorted(sizes)[-1 if method == NO_EDIT else 0 :]:
            label = f"{method}, {number} {SIZED[mode]}{'s' * (number > 1)}"
            yield label, methods[method][f"{mode}_{number}"]


def _groups(metrics: Metrics, mode: str, protocol: str) -> list[str]:
    found = {
        group for _, summary in _summaries(metrics, mode) for group in summary.get("protocol", {}).get(protocol, {})
    }
    return sorted(found, key=lambda group: (group != ALL, group))


def _ceiling(metrics: Metrics, mode: str, group: str) -> list[Line]:
    # It is measured on the unedited model, so any method's will do.
    for method, summary in _summaries(metrics, mode):
        entries = summary.get("ceiling", {}).get(group, {})
        if entries:
            return [Line(method, Role.CEILING, entries)]
    return []


def _rates(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    parts = {ALL: figures, **figures.get("by_kind", {})}
    return {rate: {column: part[rate] for column, part in parts.items() if rate in part} for rate in RATES}
