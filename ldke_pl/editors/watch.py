"""Watching edits while they are optimised. Ours.

A watcher is told and is not asked: it changes nothing about an edit, unless it raises, which ends the edit. It belongs
to the thread that it was set in, so that edits made elsewhere are not told to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """Where the optimisation of one edit is.

    Args:
        edit_id: as the editor names the edit.
        steps: taken so far.
        loss: objective before the next step, as :class:`~ldke_pl.editors.optimise.Problem` has it.
    """

    edit_id: str
    steps: int
    loss: float


Watcher = Callable[[Step], object]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watcher() -> Watcher | None:
    """Who is watching the edits of this thread, if anybody."""
    return _watcher.get()


@contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """Tell ``by`` of every step of the edits that are optimised inside; who watched before does so again after."""
    token = _watcher.set(by)
    try:
        yield
    finally:
        _watcher.reset(token)
