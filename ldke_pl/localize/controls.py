"""Localizers that do not look at the fact: what Fast Localization has to beat."""

import random
from collections.abc import Callable, Sequence

from ldke_pl.backbone import CONNECTOR
from ldke_pl.data import EditRequest

Chosen = list[tuple[str, ...]]


def middle(sites: Sequence[str], seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """The middle decoder layer."""
    decoder = [s for s in sites if s != CONNECTOR]
    return [(decoder[len(decoder) // 2],)] * len(requests)


def last(sites: Sequence[str], seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """The last decoder layer."""
    return [(sites[-1],)] * len(requests)


def all_sites(sites: Sequence[str], seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """Every site that the request can be written at."""
    return [tuple(s for s in sites if s != CONNECTOR or r.image is not None) for r in requests]


def uniform(sites: Sequence[str], seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """One site drawn per request; the draw depends on the request's text, not on its place in a batch."""
    return [(_draw(sites, seed, r),) for r in requests]


def _draw(sites: Sequence[str], seed: int, request: EditRequest) -> str:
    possible = [s for s in sites if s != CONNECTOR or request.image is not None]
    return random.Random(f"{seed}|{request.prompt}|{request.target}").choice(possible)


CONTROLS: dict[str, Callable[[Sequence[str], int, Sequence[EditRequest]], Chosen]] = {
    "middle": middle,
    "last": last,
    "random": uniform,
    "all": all_sites,
}
