"""Localized and disentangled knowledge editing for multimodal language models.

>>> from ldke_pl import EditedModel, EditRequest
>>> edited = EditedModel.from_pretrained("llava-hf/llava-1.5-7b-hf")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldke_pl.data.records import EditRequest
    from ldke_pl.edited import EditedModel

__version__ = "0.1.0"
__all__ = ["EditRequest", "EditedModel", "__version__"]


def __getattr__(name: str) -> object:
    """Import the public classes on first use: ``ldke_pl.config`` must not cost the import of torch."""
    if name == "EditedModel":
        from ldke_pl.edited import EditedModel

        return EditedModel
    if name == "EditRequest":
        from ldke_pl.data.records import EditRequest

        return EditRequest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
