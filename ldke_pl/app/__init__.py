"""The live page, ``python -m ldke_pl.app``: what it does (:class:`Session`), and how that looks in a browser."""

from ldke_pl.app.session import Session

__all__ = ["Session"]
