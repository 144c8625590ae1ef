"""From site scores to chosen sites: standardise per site, keep what reaches tau times the best. Ours.

Raw scores are structurally biased (norms fall with depth, and at the last layer pictures have no gradient), so a
score is compared with what the same site scored on validation edits before sites are compared with each other.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.config import LocalizerConfig, named
from ldke_pl.data import EditRequest
from ldke_pl.errors import ArtefactError, ConfigError, EditError
from ldke_pl.localize.controls import CONTROLS, possible
from ldke_pl.localize.gradients import SCORES, gradient_scores
from ldke_pl.localize.readout import Readout

log = logging.getLogger(__name__)

Localizer = Callable[[Sequence[EditRequest]], list[tuple[str, ...]]]
"""Requests in, the sites to write each one at out."""

CHOICES = ("readout", *SCORES, *CONTROLS, "fixed", "best_fixed_per_kind")

FILE = "localizer.json"
"""Where a calibration is kept, in the folder of a router."""

ANEW = "restore the file from a copy; that of a router is made anew by ldke_pl.calibrate"
"""What to do about a damaged one, there or with saved edits."""


@dataclass
class Calibration:
    """What validation edits told about a model's sites.

    Args:
        standard: score name -> site -> (mean, standard deviation) over validation edits.
        best_fixed: kind of edit -> the site whose edits had the best routed quality on validation.
        readout: the fitted readout, or None.
    """

    standard: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    best_fixed: dict[str, str] = field(default_factory=dict)
    readout: Readout | None = None

    @classmethod
    def load(cls, router: Path | None) -> "Calibration":
        """Read what :meth:`save` wrote; without a router, or such a file in its folder, nothing is known.

        Raises:
            ArtefactError: the file is damaged.
        """
        path = router / FILE if router else None
        if not path or not path.exists():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise ArtefactError(f"{path} cannot be read: {fault}", ANEW) from fault
        return cls.of(values, path)

    @classmethod
    def of(cls, values: Mapping[str, Any], path: Path) -> "Calibration":
        """From what :meth:`plain` makes, which stands in the file ``path``.

        Raises:
            ArtefactError: they are of another form.
        """
        try:
            readout = Readout(**values["readout"]) if values.get("readout") else None
            return cls(dict(values["standard"]), dict(values["best_fixed"]), readout)
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise ArtefactError(f"{path} cannot be read: {fault}", ANEW) from fault

    def plain(self) -> dict[str, Any]:
        """Values that JSON has; none if nothing is known."""
        return asdict(self) if self != Calibration() else {}

    def save(self, router: Path) -> None:
        """Write it into a router's folder."""
        router.mkdir(parents=True, exist_ok=True)
        (router / FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def build_localizer(backbone: Backbone, config: LocalizerConfig, calibration: Calibration, seed: int = 0) -> Localizer:
    """The localizer that ``config`` describes: one of ``CHOICES``, or what a function of one's own makes.

    Raises:
        ConfigError: there is no such localizer or site, or it needs a calibration that the model does not have.
    """
    name, names = config.name, list(backbone.sites)
    if name == "readout" and calibration.readout is None:
        log.warning("This model has no fitted readout (python -m ldke_pl.calibrate fits one): cosine is used instead.")
        name = "cosine"
    if name == "readout" or name in SCORES:
        return partial(_by_score, backbone, replace(config, name=name), calibration)
    if name in CONTROLS:
        return partial(CONTROLS[name], backbone.sites, seed)
    if name == "fixed" and config.site in names:
        return partial(_fixed, config.site)
    if name == "best_fixed_per_kind":
        other = build_localizer(backbone, replace(config, name="readout"), calibration, seed)
        return partial(_per_kind, calibration.best_fixed, other)
    if name == "fixed":
        raise ConfigError(f"localizer.site is {config.site!r}, which is no site.", f"choose one of {', '.join(names)}")
    if "." in name:
        return _of_ones_own(name)(backbone, config, calibration, seed)
    raise ConfigError(f"There is no localizer {name!r}.", f"choose one of {', '.join(CHOICES)}")


def _of_ones_own(path: str) -> Callable[[Backbone, LocalizerConfig, Calibration, int], Localizer]:
    try:
        found: Callable[[Backbone, LocalizerConfig, Calibration, int], Localizer] = named(path)
    except (ImportError, AttributeError, ValueError) as fault:
        raise ConfigError(
            f"There is no localizer {path!r} ({fault}).", "give the dotted path of a function, or a name without dots"
        ) from fault
    return found


def standardised(raw: Tensor, sites: Sequence[str], standard: dict[str, tuple[float, float]]) -> Tensor:
    """Scores comparable over sites, in (0, 1): the share of validation edits that scored less, assuming a normal.

    Args:
        raw: (edits, sites).
        standard: mean and standard deviation per site; empty to use those of this batch.
    """
    if standard:
        moments = torch.tensor([standard[s] for s in sites])
        mean, deviation = moments[:, 0], moments[:, 1]
    else:
        mean, deviation = raw.mean(0), raw.std(0, unbiased=False)
    share: Tensor = torch.special.ndtr((raw - mean) / deviation.clamp_min(1e-12))
    return share


def select_sites(scores: Tensor, sites: Sequence[str], tau: float, max_sites: int) -> list[tuple[str, ...]]:
    """Sites with score >= tau * max, at most ``max_sites`` of them, best first; -inf is never selected.

    Args:
        scores: (edits, sites).
    """
    chosen = []
    for row, ranked in zip(scores, rank_sites(scores, sites), strict=True):
        # Below zero a share of the best would lie above it.
        least = tau * row.max() if row.max() > 0 else row.max()
        reaching = {site for site, value in zip(sites, row, strict=True) if value >= least}
        chosen.append(tuple(site for site in ranked[:max_sites] if site in reaching))
    return chosen


def rank_sites(scores: Tensor, sites: Sequence[str]) -> list[tuple[str, ...]]:
    """Every edit's sites, best first and the first of equals first; -inf is left out.

    Args:
        scores: (edits, sites).
    """
    orders = scores.argsort(dim=1, descending=True, stable=True).tolist()
    return [tuple(sites[i] for i in order if row[i] > -torch.inf) for row, order in zip(scores, orders, strict=True)]


def site_scores(backbone: Backbone, name: str, calibration: Calibration, requests: Sequence[EditRequest]) -> Tensor:
    """What ``readout`` or one of ``SCORES`` makes of every site, (edits, sites); -inf where an edit cannot be written.

    Raises:
        EditError: a score is not a number.
    """
    sites = list(backbone.sites)
    found = gradient_scores(backbone, requests)
    if not all(bool(values.isfinite().all()) for values in found.values()):
        raise EditError(
            f"The localizer's scores are not numbers, in a batch of edits from {requests[0].prompt!r} on.",
            "check the model's weights for values that are not numbers, or load it in another model.dtype",
        )
    if name == "readout" and calibration.readout is not None:
        scores = calibration.readout.predict(found)
    else:
        scores = standardised(found[name], sites, calibration.standard.get(name, {}))
    reached = [[site in possible(backbone.sites, r) for site in sites] for r in requests]
    return scores.masked_fill(~torch.tensor(reached), -torch.inf)


def _by_score(
    backbone: Backbone, config: LocalizerConfig, calibration: Calibration, requests: Sequence[EditRequest]
) -> list[tuple[str, ...]]:
    scores = site_scores(backbone, config.name, calibration, requests)
    return select_sites(scores, list(backbone.sites), config.tau, config.max_sites)


def _fixed(site: str, requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
    return [(site,)] * len(requests)


def _per_kind(best: dict[str, str], other: Localizer, requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
    """The best site of the request's kind; ``other`` decides where the kind is unknown or was not calibrated."""
    unknown = [r for r in requests if r.group not in best]
    found = iter(other(unknown) if unknown else [])
    return [(best[r.group],) if r.group in best else next(found) for r in requests]
