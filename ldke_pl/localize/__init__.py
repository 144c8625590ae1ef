"""Fast Localization: where a fact lives, scored for a batch of edits at once; and the controls it has to beat."""

from ldke_pl.localize.base import Calibration, Localizer, build_localizer, rank_sites, select_sites, site_scores

__all__ = ["Calibration", "Localizer", "build_localizer", "rank_sites", "select_sites", "site_scores"]
