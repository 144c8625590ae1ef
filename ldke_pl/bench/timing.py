"""Timing two things side by side, so that what else the machine does falls on both."""

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True)
class Result:
    """One line of a benchmark.

    Args:
        name: what was compared.
        ratio: median of ``runs``; what it is a ratio of, or its unit, the benchmark says.
        target: what it has to reach, or with ``at_most``, must not exceed; None where it is only reported.
        runs: the single measurements.
    """

    name: str
    runs: Sequence[float]
    target: float | None = None
    at_most: bool = False

    @property
    def ratio(self) -> float:
        return statistics.median(self.runs)

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def line(self) -> str:
        """One JSON object."""
        runs = [float(f"{run:.4g}") for run in self.runs]
        found = {"name": self.name, "ratio": float(f"{self.ratio:.4g}"), "target": self.target, "at_most": self.at_most}
        return json.dumps(found | {"pass": self.passed, "runs": runs})


Benchmark = Callable[[], Iterator[Result]]


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def side_by_side(one: Callable[[], object], other: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Time of ``one`` in times of ``other``, run by run, both once before to warm up."""
    one(), other()
    return [seconds(one) / seconds(other) for _ in range(runs)]
