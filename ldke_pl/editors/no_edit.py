"""The floor of every table: nothing is written."""

from collections.abc import Sequence

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.base import Sites
from ldke_pl.edits import Edit


class NoEdit:
    """Returns edits without deltas and without id: there is nothing to route to."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del backbone, config, sites

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        return [Edit("", r.prompt, r.target, (), {}) for r in requests]
