"""Editing methods, one file each, behind one Protocol: from requests to edits, the base weights untouched."""

from ldke_pl.editors.base import (
    DemonstratedEditor,
    Editor,
    GatedEditor,
    JointEditor,
    SequentialEditor,
    Sites,
    TrainedEditor,
    build_editor,
)

__all__ = [
    "DemonstratedEditor",
    "Editor",
    "GatedEditor",
    "JointEditor",
    "SequentialEditor",
    "Sites",
    "TrainedEditor",
    "build_editor",
]
