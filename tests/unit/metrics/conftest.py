"""The metric harness (one process, then two over gloo) and a factory of result rows."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes
from torchmetrics import Metric

from ldke_pl.metrics.results import ProbeResult

Expected = float | Mapping[str, float]


def _assert_close(got: Any, expected: Expected) -> None:
    if isinstance(expected, Mapping):
        assert {name: float(value) for name, value in got.items()} == pytest.approx(expected, abs=1e-6, nan_ok=True)
    else:
        assert float(got) == pytest.approx(expected, abs=1e-6)


def _feed(metric: Metric, batches: Sequence[tuple[Any, ...]]) -> Metric:
    for batch in batches:
        metric.update(*batch)
    return metric


def _rank(
    rank: int, store: Path, build: Callable[[], Metric], batches: Sequence[tuple[Any, ...]], expected: Expected
) -> None:
    # A forked child must not use the parent's thread pool, and gloo must not look for a network.
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        _assert_close(_feed(build(), batches[rank::2]).compute(), expected)
    finally:
        dist.destroy_process_group()


@pytest.fixture
def check_metric(tmp_path: Path) -> Callable[..., None]:
    """Check a metric against ``expected`` alone, after a reset, and over two ranks with unequal numbers of rows."""

    def check(build: Callable[[], Metric], batches: Sequence[tuple[Any, ...]], expected: Expected) -> None:
        assert len(batches) % 2 == 1, "an odd number of batches, so that the ranks differ"
        metric = _feed(build(), batches)
        _assert_close(metric.compute(), expected)
        metric.reset()
        _assert_close(_feed(metric, batches).compute(), expected)
        arguments = (tmp_path / "store", build, batches, expected)
        start_processes(_rank, arguments, nprocs=2, start_method="fork")  # type: ignore[no-untyped-call]

    return check


@pytest.fixture(scope="session")
def make_row() -> Callable[..., ProbeResult]:
    """Build a row of results; by default a relevant probe of one edit, routed to it and answered right."""
    defaults: dict[str, Any] = {
        "method": "ldke", "mode": "single", "protocol": "generate", "seed": 0, "case_id": "c0", "group": "",
        "entity": "", "edit_relation": "", "kind": "reliability", "relation": "", "image": "", "prompt": "who?",
        "expected": "y", "before": "x", "after": "y", "after_unrouted": "y", "score": 1.0, "score_unrouted": 1.0,
        "score_no_edit": 0.0, "ceiling": None, "relevant": True, "route": "e0", "edit_id": "e0", "sites": "connector",
    }  # fmt: skip

    def make(**changes: Any) -> ProbeResult:
        return ProbeResult(**{**defaults, **changes})

    return make


@pytest.fixture(autouse=True)
def no_process_group_left() -> Iterator[None]:
    """No test may leave a process group behind in this process."""
    yield
    assert not dist.is_initialized()
