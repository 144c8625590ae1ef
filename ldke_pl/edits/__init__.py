"""Edits as data: low-rank deltas per site, applied row by row; and the artefact that stores them."""

from ldke_pl.edits.deltas import BASE_ROW, Delta, Deltas, applied
from ldke_pl.edits.edit import Edit, kept_in, request_id

__all__ = ["BASE_ROW", "Delta", "Deltas", "Edit", "applied", "kept_in", "request_id"]
