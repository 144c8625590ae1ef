"""A closed-form control: the connector's output is replaced by the token embeddings of the target. Ours.

If this row scores well, the test bed rewards writing a name over the picture and proves nothing about editing. It is
the one editor that reads the embedding table, and it exists to be beaten.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.base import Sites
from ldke_pl.edits import Delta, Edit, request_id
from ldke_pl.errors import EditError, ModelError


class NameOverwrite:
    """Picture position t outputs the embedding of the target's token t modulo its length, whatever the picture."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del config, sites
        self.backbone = backbone
        self.name, slot = list(backbone.sites[CONNECTOR].slots.items())[-1]
        if not isinstance(slot.module, nn.Linear) or not hasattr(backbone.model.config, "image_seq_length"):
            raise ModelError(
                f"name_overwrite cannot be made for a {type(backbone.model).__name__}.",
                "use it on a model whose connector ends in a linear layer and gives each picture as many tokens",
            )
        self.linear = slot.module

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        return [self._edit(request, seed) for request in requests]

    def _edit(self, request: EditRequest, seed: int) -> Edit:
        if request.image is None:
            raise EditError("name_overwrite replaces a picture, but the request has none.", "use another editor")
        delta = Delta((-self.linear.weight.detach().float().cpu(),), self._spelled(request.target))
        return Edit(request_id(request, seed), request.prompt, request.target, (CONNECTOR,), {self.name: delta})

    def _spelled(self, target: str) -> Tensor:
        """The bias that leaves the target's embeddings at the picture's positions, (picture tokens, width)."""
        prompts, model = self.backbone.prompts, self.backbone.model
        ids = torch.tensor(prompts.answer_ids(target)[:-1])
        count = int(model.config.image_seq_length)
        table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
        embeddings = table[ids.repeat(count // len(ids) + 1)[:count]]
        bias = self.linear.bias.detach() if self.linear.bias is not None else embeddings.new_zeros(())
        return (embeddings - bias).float().cpu()
