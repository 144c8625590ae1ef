"""Parts of one's own, named in a setting by the dotted path of a class or function."""

import importlib
from typing import Any


def named(path: str) -> Any:
    """What ``path``, as in ``mine.Mine``, names.

    Raises:
        ImportError, AttributeError, ValueError: there is no such module, it has no such name, or there is no dot.
    """
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
