"""Editing methods, one file each, behind one Protocol: from requests to edits, the base weights untouched."""

from ldke_pl.editors.base import Editor, JointEditor, Sites, build_editor

__all__ = ["Editor", "JointEditor", "Sites", "build_editor"]
