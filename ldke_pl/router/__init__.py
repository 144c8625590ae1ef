"""Routing: which edit, if any, a question belongs to. The Disentanglement Classifier, and a training-free fallback."""

from ldke_pl.router.base import Gate, Key, Router, best
from ldke_pl.router.classifier import ClassifierRouter, PairClassifier
from ldke_pl.router.features import FeatureReader, Features
from ldke_pl.router.index import KeyIndex
from ldke_pl.router.radius import RadiusRouter
from ldke_pl.router.store import load_router, save_router

__all__ = [
    "ClassifierRouter",
    "FeatureReader",
    "Features",
    "Gate",
    "Key",
    "KeyIndex",
    "PairClassifier",
    "RadiusRouter",
    "Router",
    "best",
    "load_router",
    "save_router",
]
