"""Localizers that do not look at the fact: what Fast Localization has to beat."""

import random
from collections.abc import Callable, Mapping, Sequence

from ldke_pl.backbone import CONNECTOR, Site
from ldke_pl.data import EditRequest

Chosen = list[tuple[str, ...]]
Sites = Mapping[str, Site]


def middle(sites: Sites, seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """The middle decoder layer."""
    decoder = [s for s in sites if s != CONNECTOR]
    return [(_nearest(sites, decoder, len(decoder) // 2, r),) for r in requests]


def last(sites: Sites, seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """The last decoder layer."""
    decoder = [s for s in sites if s != CONNECTOR]
    return [(_nearest(sites, decoder, len(decoder) - 1, r),) for r in requests]


def all_sites(sites: Sites, seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """Every site that the request can be written at."""
    return [tuple(possible(sites, r)) for r in requests]


def uniform(sites: Sites, seed: int, requests: Sequence[EditRequest]) -> Chosen:
    """One site drawn per request; the draw depends on the request's text, not on its place in a batch."""
    return [(_draw(sites, seed, r),) for r in requests]


def possible(sites: Sites, request: EditRequest) -> list[str]:
    """The sites that a request can be written at."""
    return [name for name, site in sites.items() if request.image is not None or not site.pictured]


def _nearest(sites: Sites, decoder: Sequence[str], wanted: int, request: EditRequest) -> str:
    """The possible decoder site nearest to number ``wanted``, the lower of two."""
    there = {decoder.index(name) for name in possible(sites, request) if name in decoder}
    return decoder[min(there, key=lambda number: (abs(number - wanted), number))]


def _draw(sites: Sites, seed: int, request: EditRequest) -> str:
    return random.Random(f"{seed}|{request.prompt}|{request.target}").choice(possible(sites, request))


CONTROLS: dict[str, Callable[[Sites, int, Sequence[EditRequest]], Chosen]] = {
    "middle": middle,
    "last": last,
    "random": uniform,
    "all": all_sites,
}
