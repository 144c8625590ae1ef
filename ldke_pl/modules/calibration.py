"""Calibration of a trained router on validation edits: how sure it has to be of the thing, and of the question. Ours.

False alarms are of two kinds. That a question about something else is taken for one about the edit's thing happens
the more often, the more things have edits; that another question about the same thing is taken for a related one does
not. So the two are weighed apart, and the former is counted as in an index of many things: what one other thing costs
is measured on validation things, which the router has never seen, and what many cost follows from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from ldke_pl.router.similarities import both

TRUSTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Values that are tried for how much more the question stream is trusted than as it was trained."""

THRESHOLDS = torch.linspace(0.01, 0.99, 99)

NEAR = 3
"""The quality of a threshold is the mean of those up to so many steps from it."""


@dataclass(frozen=True)
class Judgements:
    """What the two streams say of validation probes and edits.

    Args:
        thing, question: logits of every probe against every edit, (probes, edits).
        own: edit that each probe belongs to, (probes,) long.
        relevant: whether it should go there, (probes,) bool.
        kinds: probe kind per probe.
        edit_entity: number of what each edit is about, (edits,) long.
        probe_entity: number of what each probe is about, -1 for unknown, (probes,) long.
    """

    thing: Tensor
    question: Tensor
    own: Tensor
    relevant: Tensor
    kinds: Sequence[str]
    edit_entity: Tensor
    probe_entity: Tensor


def calibrated(judgements: Judgements, things: int) -> tuple[float, float]:
    """The threshold, and the trust in the question stream, near which most probes are routed right.

    Args:
        things: how many other things the edits of an index are about.

    Returns:
        The middle one of the trusts that do equally well, and of the thresholds that do so with it.
    """
    quality = torch.stack([expected_quality(judgements, trust, things) for trust in TRUSTS])
    # One alarm more or less makes a step in the quality, on whose edge no threshold should be.
    quality = avg_pool1d(quality, 2 * NEAR + 1, stride=1, padding=NEAR, count_include_pad=False)
    trust = _middle(quality.amax(1))
    return round(float(THRESHOLDS[_middle(quality[trust])]), 2), TRUSTS[trust]


def _middle(quality: Tensor) -> int:
    """Position of the middle one of the best."""
    best = (quality > quality.max() - 1e-6).nonzero().squeeze(1)
    return int(best[len(best) // 2])


def expected_quality(judgements: Judgements, trust: float, things: int) -> Tensor:
    """Share of probes that are routed right in an index of many things, kinds counted alike, (thresholds,)."""
    j = judgements
    logits = both(j.thing, j.question + trust)
    names = {kind: i for i, kind in enumerate(dict.fromkeys(j.kinds))}
    kind = torch.tensor([names[k] for k in j.kinds])
    bars = THRESHOLDS.logit()
    passed = logits[torch.arange(len(j.own)), j.own] >= bars[:, None]
    alone = _by_kind((passed == j.relevant).float(), kind)
    strongest, is_other = _by_thing(logits, j)
    alarms = ((strongest >= bars[:, None, None]) & is_other).sum(2)
    chances = _by_kind(is_other.sum(1).float()[None], kind).clamp_min(1e-9)
    spared = (1 - _by_kind(alarms.float(), kind) / chances) ** things
    local = _by_kind((~j.relevant).float()[None], kind) > 0
    return torch.where(local, alone * spared, alone).mean(1)


def _by_thing(logits: Tensor, j: Judgements) -> tuple[Tensor, Tensor]:
    """The strongest edit of each thing, and whether that thing is another than a probe asks about, (probes, things)."""
    entities = torch.unique(j.edit_entity)
    strongest = torch.stack([logits[:, j.edit_entity == entity].amax(1) for entity in entities], 1)
    own = j.edit_entity[j.own][:, None]
    return strongest, (entities != own) & (entities != j.probe_entity[:, None])


def _by_kind(values: Tensor, kind: Tensor) -> Tensor:
    """Means of (thresholds, probes) by kind, (thresholds, kinds)."""
    sums = values.new_zeros(len(values), int(kind.max()) + 1).index_add(1, kind, values)
    return sums / torch.bincount(kind)
