"""Localized and disentangled knowledge editing for multimodal language models.

>>> from ldke_pl import EditedModel, EditRequest
>>> from ldke_pl import Question
>>> edited = EditedModel.from_pretrained("atlas")  # or a hub id, or a folder
>>> _ = edited.edit([EditRequest(None, "What is the capital of Badadi?", "Rivuton")])
>>> edited.answers([Question(None, "The government of Badadi sits in which city?")])
['Rivuton']
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldke_pl.data.records import EditRequest, Question
    from ldke_pl.edited import EditedModel
    from ldke_pl.errors import LDKEError

__version__ = "0.1.0"
__all__ = ["EditRequest", "EditedModel", "LDKEError", "Question", "__version__"]

_PLACES = {
    "EditRequest": "ldke_pl.data.records",
    "EditedModel": "ldke_pl.edited",
    "LDKEError": "ldke_pl.errors",
    "Question": "ldke_pl.data.records",
}


def __getattr__(name: str) -> object:
    """Import the public classes on first use: ``ldke_pl.config`` must not cost the import of torch."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
