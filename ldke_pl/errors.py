"""One family of errors: each says what is wrong and what to do about it.

``train.py`` and ``edit.py`` print an :class:`LDKEError` as one message and exit with status 2; anything
else that reaches a user as a traceback is a bug of ours.
"""


class LDKEError(Exception):
    """What went wrong, and a ``hint`` that says what to do.

    >>> print(LDKEError("The file cup.jpg is empty.", "copy it again"))
    The file cup.jpg is empty.
      hint: copy it again

    Args:
        message: one or more complete sentences, naming the file, key or case at fault.
        hint: what the user can do about it; may be empty where the message already says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(LDKEError):
    """A key, value or name in the configuration cannot be used."""


class DataError(LDKEError):
    """A data file, row or image cannot be read."""


class ModelError(LDKEError):
    """A model folder cannot be loaded, or lacks the structure that editing needs."""


class EditError(LDKEError):
    """An edit cannot be made: bad request, a target that does not fit, a loss that is not a number."""


class ArtefactError(LDKEError):
    """A saved set of edits is damaged or belongs to another base model."""
