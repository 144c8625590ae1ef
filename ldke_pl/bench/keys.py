"""Keys of made-up edits, for indices that are larger than the number of edits at hand."""

from collections.abc import Iterator

import torch

from ldke_pl.bench.subjects import atlas_cases
from ldke_pl.router import Key, Router

CHUNK = 10_000
NOISE = 0.7
"""How far a made-up key lies from a real one: as noise of this share of its length, part by part."""


def made_up(router: Router, first: int, end: int) -> Iterator[dict[str, Key]]:
    """Names and keys from number ``first`` to ``end``, in chunks: each a real key of another case, with noise."""
    real = router.keys([case.request for case in atlas_cases()[1:65]]) if first < end else []
    generator = torch.Generator().manual_seed(end)
    for start in range(first, end, CHUNK):
        numbers = range(start, min(start + CHUNK, end))
        yield {f"made up {i}": _noisy(real[i % len(real)], generator) for i in numbers}


def _noisy(key: Key, generator: torch.Generator) -> Key:
    found = {}
    for name, value in key.items():
        there = value.float().norm(dim=-1, keepdim=True)
        noise = torch.randn(value.shape, generator=generator) / value.shape[-1] ** 0.5
        moved = torch.nn.functional.normalize(value.float() + NOISE * noise, dim=-1) * there
        found[name] = value if name in ("seen", "gate") else moved.to(value.dtype)
    return found
