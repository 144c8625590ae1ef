"""Sites: the named places of an MLLM where an edit may be written, found from the model's structure alone. Ours.

A decoder site is the projection that leads from a layer's MLP back into the residual stream (the place that ROME,
MEMIT and FT-L write to as well). The connector site is every linear map of the module between the vision encoder and
the decoder.
"""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from ldke_pl.errors import ModelError

CONNECTOR = "connector"


@dataclass(frozen=True)
class Site:
    """A place to write.

    Args:
        name: ``connector`` or ``decoder.<layer>``.
        linears: qualified module name -> linear layer; an edit holds one low-rank update for each.
        output: the module whose output the localizer looks at: the connector, or the decoder layer.
    """

    name: str
    linears: dict[str, nn.Linear]
    output: nn.Module


def find_sites(model: PreTrainedModel) -> dict[str, Site]:
    """All sites of ``model``, the connector first, then the decoder layers from the bottom up.

    Raises:
        ModelError: no stack of decoder layers, or no connector, can be told from the structure.
    """
    names = {id(module): name for name, module in model.named_modules()}
    layers = decoder_layers(model)
    sites = {CONNECTOR: _connector(model, layers, names)}
    for number, layer in enumerate(layers):
        linear = _mlp_output(layer, _width(model))
        name = f"decoder.{number}"
        sites[name] = Site(name, {names[id(linear)]: linear}, layer)
    return sites


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's stack of layers: the longest list of modules in it.

    Raises:
        ModelError: the decoder has no such list.
    """
    stacks = [m for m in model.get_decoder().modules() if isinstance(m, nn.ModuleList)]
    if not stacks:
        raise ModelError(
            f"No stack of decoder layers was found in {type(model).__name__}.",
            "use a transformers image-text-to-text model whose get_decoder() holds a ModuleList of layers",
        )
    return max(stacks, key=len)


def _width(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().hidden_size)


def _mlp_output(layer: nn.Module, width: int) -> nn.Linear:
    """The last linear layer that maps a wider (or narrower) space back to the residual stream."""
    linears = [m for m in layer.modules() if isinstance(m, nn.Linear) and m.out_features == width]
    resized = [m for m in linears if m.in_features != width]
    if not linears:
        raise ModelError(
            f"A {type(layer).__name__} has no linear layer with {width} outputs to write to.",
            "quantised or fused layers cannot be edited: load the model with plain linear layers",
        )
    return (resized or linears)[-1]


def _connector(model: PreTrainedModel, layers: nn.ModuleList, names: dict[int, str]) -> Site:
    """The module beside the decoder and the vision encoder that produces vectors of the decoder's width."""
    inside_decoder = {id(m) for m in model.get_decoder().modules()} | {id(m) for m in layers.modules()}
    vision = model.get_encoder(modality="image")
    outside = [m for m in _children(model) if id(m) not in inside_decoder and m is not vision]
    for module in outside:
        linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
        if linears and linears[-1].out_features == _width(model) and not _holds(module, layers):
            return Site(CONNECTOR, {names[id(m)]: m for m in linears}, module)
    raise ModelError(
        f"No connector between vision encoder and decoder was found in {type(model).__name__}.",
        "the model must have a module beside its vision encoder that maps to the decoder's width",
    )


def _children(model: PreTrainedModel) -> list[nn.Module]:
    """The direct parts of the model's body; the head that maps to the vocabulary is none of them."""
    head = model.get_output_embeddings()
    return [m for m in model.base_model.children() if m is not head]


def _holds(module: nn.Module, layers: nn.ModuleList) -> bool:
    return any(m is layers for m in module.modules())
