"""MSCKE: SERAC with a scope classifier that sees the picture as well (Zeng et al., 2024, arXiv 2411.12790).

A query is in the scope of an edit if picture and question text are both close to the edit's own. Deviations: pooled
picture and text states of the base's own lowest layers, in place of CLIP's features; each modality has a trained linear
map of its own and the two are fused by concatenation; a question without picture has zeros in its place. Memory,
counterfactual model and training are those of :mod:`ldke_pl.editors.serac` with its deviations, an answer from text
alone included; pairs that only pictures tell apart are trained on.
"""

from ldke_pl.editors.serac import SERAC


class MSCKE(SERAC):
    """SERAC whose scope classifier compares pictures and texts."""

    modalities = ("text", "image")
