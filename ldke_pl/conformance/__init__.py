"""Does editing work on this model? The same checks for our tests' tiny models and for a user's own."""

from ldke_pl.conformance.checks import CHECKS
from ldke_pl.conformance.subject import NotPossibleError, Subject

__all__ = ["CHECKS", "NotPossibleError", "Subject"]
