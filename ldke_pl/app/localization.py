"""The choice of an edit's sites, with what every site scored, for somebody who watches. Ours."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest
from ldke_pl.localize import Calibration, Localizer, site_scores


@dataclass(frozen=True)
class Localized:
    """Where one edit is written.

    Args:
        scores: site -> score, in the order of the model; -inf where the edit cannot be written.
        name: what the score is.
        chosen: the sites that are written to.
        kind: the kind of edit whose usual site was chosen; "" where the scores decided.
    """

    scores: Mapping[str, float]
    name: str
    chosen: tuple[str, ...]
    kind: str


class Localization:
    """A localizer that also scores every site, whether or not it goes by that.

    Args:
        localizer: chooses the sites.
        calibration: what its scores are standardised by.
    """

    def __init__(self, backbone: Backbone, localizer: Localizer, calibration: Calibration) -> None:
        self.backbone, self.localizer, self.calibration = backbone, localizer, calibration
        self.score = "cosine" if calibration.readout is None else "readout"
        self._tell: Callable[[Localized], object] | None = None

    def __call__(self, requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
        """See :data:`ldke_pl.localize.Localizer`."""
        chosen = self.localizer(requests)
        if self._tell:
            scores = site_scores(self.backbone, self.score, self.calibration, requests)
            for request, row, sites in zip(requests, scores.tolist(), chosen, strict=True):
                kind = request.group if request.group in self.calibration.best_fixed else ""
                self._tell(Localized(dict(zip(self.backbone.sites, row, strict=True)), self.score, sites, kind))
        return chosen

    @contextmanager
    def told(self, to: Callable[[Localized], object]) -> Iterator[None]:
        """Score sites inside, and tell ``to`` of every choice."""
        self._tell = to
        try:
            yield
        finally:
            self._tell = None
