"""LoRA (Hu et al. 2022): low-rank adapters on the query and value projections of every decoder layer.

EasyEdit: rank 8, alpha 32, no stop on the loss. Deviations: the project's Adam in place of EasyEdit's optimiser, and no
dropout; no factor alpha / rank, which Adam's learning rate absorbs (``lr`` is that of peft times alpha / rank, for the
factor that starts at zero); the other factor is drawn from a normal distribution; stop at ``stop_loss``. Where queries,
keys and values are one linear layer, that layer is adapted. Each edit has its own adapters, so that edits stay apart.
Applied together, edits are one set of adapters, for which the same steps are passes over all of them. In sequence, one
set is tuned on one edit after another, with a fresh optimiser each.
"""

from collections.abc import Iterator, Sequence

from torch import nn
from transformers import PreTrainedModel

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.sites import Slot, decoder_layers, slot_of
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.base import Sites
from ldke_pl.editors.finetune import copied
from ldke_pl.editors.ldke import finished
from ldke_pl.editors.optimise import optimise
from ldke_pl.editors.shared import optimise_in_sequence, optimise_shared
from ldke_pl.edits import Edit
from ldke_pl.errors import ModelError

PROJECTIONS = ("q_proj", "v_proj")
"""What transformers calls the two projections wherever they are layers of their own."""


class LoRA:
    """Low-rank deltas at the query and value projections of all decoder layers.

    Raises:
        ModelError: the decoder has no such layers.
    """

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del sites
        self.backbone, self.config = backbone, config
        self.slots = query_value_slots(backbone.model)
        self.sites = tuple(f"decoder.{number}" for number in range(len(backbone.layers)))

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            chunk = requests[start : start + self.config.batch_size]
            problems = optimise(self.backbone, chunk, [self.slots] * len(chunk), self.config, seed=seed)
            edits += [finished(problem, self.sites) for problem in problems]
        return edits

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """See :class:`ldke_pl.editors.base.JointEditor`."""
        shared = optimise_shared(self.backbone, requests, self.slots, self.config, seed=seed, full_rank=False)
        return [finished(shared, self.sites)] * len(requests)

    def edit_in_sequence(
        self, requests: Sequence[EditRequest], sizes: Sequence[int], *, seed: int = 0
    ) -> Iterator[list[Edit]]:
        """See :class:`ldke_pl.editors.base.SequentialEditor`."""
        told = requests[: sizes[-1]]
        after = optimise_in_sequence(self.backbone, told, self.slots, self.config, seed=seed, full_rank=False)
        for n, problem in enumerate(after, 1):
            if n in sizes:
                yield [copied(finished(problem, self.sites))] * n


def query_value_slots(model: PreTrainedModel) -> dict[str, Slot]:
    """The query and value projections of every decoder layer, or its fused projection, by qualified name.

    Raises:
        ModelError: no layer has any.
    """
    names = {id(module): name for name, module in model.named_modules()}
    linears = [m for layer in decoder_layers(model) for m in _projections(layer, model)]
    if not linears:
        raise ModelError(
            f"The decoder of {type(model).__name__} has no query and value projections to adapt.",
            "choose another editor, such as ft_l or ldke, which write to the output of an MLP",
        )
    return {names[id(m)]: slot_of(m) for m in linears}


def _projections(layer: nn.Module, model: PreTrainedModel) -> list[nn.Linear]:
    linears = {n.rpartition(".")[2]: m for n, m in layer.named_modules() if isinstance(m, nn.Linear)}
    apart = [linears[name] for name in PROJECTIONS if name in linears]
    if apart:
        return apart
    # Attention comes first in a layer, so that an MLP which happens to be as wide is not taken for it.
    fused = [m for m in linears.values() if (m.in_features, m.out_features) == _fused_shape(model)]
    return fused[:1]


def _fused_shape(model: PreTrainedModel) -> tuple[int, int]:
    """Inputs and outputs of one linear layer for queries, keys and values."""
    config = model.config.get_text_config()
    heads = int(config.num_attention_heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return int(config.hidden_size), (heads + 2 * key_heads) * size
