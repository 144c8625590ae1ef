"""Benchmarks: ``python -m ldke_pl.bench NAME|all [--json]``.

Each prints a line per comparison: the median ratio, its target and whether it is met; with ``--json``, one JSON object
a line: ``{"name", "ratio", "target", "pass", "runs"}``. Exit status: 0; 1 where a target is missed; 2 for a fault.
"""

import inspect
import sys
from collections.abc import Sequence

from ldke_pl.bench import editing, evaluation, large, lifelong, localization, routing, storage
from ldke_pl.bench.timing import Benchmark, Result
from ldke_pl.cli import exit_status
from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.errors import ConfigError

BENCHMARKS: dict[str, Benchmark] = {
    "batched": editing.batched,
    "peer_loop": editing.against_peer_loop,
    "prefix": editing.prefix,
    "localization": localization.localization,
    "evaluation": evaluation.evaluation,
    "generation": routing.generation,
    "decision": routing.decision,
    "lifelong": lifelong.lifelong,
    "storage": storage.storage,
    "large": large.large,
    "large_peer_loop": large.large_against_peers,
}

MISSED = 1
"""Exit status where a target is missed."""


def main(argv: Sequence[str]) -> int:
    """Run the benchmarks that ``argv`` names.

    Raises:
        ConfigError: there is no such benchmark.
    """
    names = [a for a in argv if a != "--json"]
    if not names or {"-h", "--help"} & {*names}:
        print(_usage())
        return 0
    unknown = next((n for n in names if n not in BENCHMARKS and n != "all"), None)
    if unknown is not None:
        raise ConfigError(f'There is no benchmark "{unknown}".', did_you_mean(unknown, [*BENCHMARKS, "all"]))
    missed = 0
    for name in BENCHMARKS if "all" in names else names:
        for result in BENCHMARKS[name]():
            missed += result.passed is False
            print(result.line() if "--json" in argv else _told(result), flush=True)
    return MISSED if missed else 0


def _told(result: Result) -> str:
    if result.target is None:
        return f"{result.name}: {result.ratio:.3g}"
    bound = "at most" if result.at_most else "at least"
    return f"{result.name}: {result.ratio:.3g} ({'met' if result.passed else 'MISSED'}: {bound} {result.target:g})"


def _usage() -> str:
    lines = [f"  {name}: {(inspect.getdoc(run) or '').splitlines()[0]}" for name, run in BENCHMARKS.items()]
    return "\n".join([__doc__ or "", "Benchmarks:", *lines])


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
