"""Sites: the named places of an MLLM where an edit may be written, found from the model's structure alone. Ours.

A decoder site is the projection that leads from a layer's MLP back into the residual stream (the place that ROME,
MEMIT and FT-L write to as well). The connector site is every linear map of what stands between the vision encoder and
the decoder, wherever the model keeps it: beside the encoder (LLaVA), inside it (the mergers of Qwen-VL), or as a bare
matrix (Gemma 3). Where no linear layer can be written to, or a norm follows it, the output of the module is.
"""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from ldke_pl.errors import ModelError

CONNECTOR = "connector"


@dataclass(frozen=True)
class Slot:
    """One linear map that a delta is added to.

    Args:
        module: its module.
        in_features, out_features: what a delta maps from and to.
        after: the delta reads the module's output in place of its input, where the module is no plain linear layer.
    """

    module: nn.Module
    in_features: int
    out_features: int
    after: bool = False


@dataclass(frozen=True)
class Site:
    """A place to write.

    Args:
        name: ``connector`` or ``decoder.<layer>``.
        slots: qualified module name -> linear map; an edit holds one low-rank update for each.
        output: the module whose output the localizer looks at: the connector, or the decoder layer.
        pictured: only questions with a picture come by here: the connector, and layers of cross-attention.
    """

    name: str
    slots: dict[str, Slot]
    output: nn.Module
    pictured: bool = False


def slot_of(linear: nn.Module) -> Slot:
    """A plain linear layer as a place to write."""
    return Slot(linear, int(linear.in_features), int(linear.out_features))  # type: ignore[arg-type]


def find_sites(model: PreTrainedModel) -> dict[str, Site]:
    """All sites of ``model``, the connector first, then the decoder layers from the bottom up.

    Raises:
        ModelError: no stack of decoder layers, or no connector, can be told from the structure.
    """
    names = {id(module): name for name, module in model.named_modules()}
    sites = {CONNECTOR: Site(CONNECTOR, _connector_slots(model, names), connectors(model)[0], pictured=True)}
    crossing = cross_attention_layers(model)
    for number, layer in enumerate(decoder_layers(model)):
        slot = _mlp_output(layer, _width(model))
        name = f"decoder.{number}"
        sites[name] = Site(name, {names[id(slot.module)]: slot}, layer, number in crossing)
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


def cross_attention_layers(model: PreTrainedModel) -> list[int]:
    """Numbers of the decoder layers that look at pictures by cross-attention (Llama 3.2 Vision); most have none."""
    return list(getattr(model.config.get_text_config(), "cross_attention_layers", None) or [])


def vision_encoder(model: PreTrainedModel) -> nn.Module:
    """The vision encoder; in some families the connector is a part of it."""
    encoder: nn.Module = model.get_encoder(modality="image")
    return encoder


def connectors(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that bring pictures to the decoder's width, the main one first; several where layers have their own.

    The last such part beside the vision encoder and the decoder; where there is none, those inside the encoder.

    Raises:
        ModelError: there is none.
    """
    layers, vision, head = decoder_layers(model), vision_encoder(model), model.get_output_embeddings()
    inside = {id(m) for m in model.get_decoder().modules()}
    body = [m for m in model.base_model.children() if id(m) not in inside and m is not vision and m is not head]
    beside = [m for m in body if _maps_to(m, _width(model)) and not any(n is layers for n in m.modules())]
    if beside:
        return beside[-1:]
    within = [m for m in vision.children() if vision is not model.base_model and _maps_to(m, _width(model))]
    found = [p for m in within for p in (m if isinstance(m, nn.ModuleList) else [m])]
    if found:
        return found
    raise ModelError(
        f"No connector between vision encoder and decoder was found in {type(model).__name__}.",
        "the model must have a module beside or inside its vision encoder that maps to the decoder's width",
    )


def _maps_to(module: nn.Module, width: int) -> bool:
    """Whether the last linear map of a module, or its only matrix, has ``width`` outputs."""
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    if linears:
        return linears[-1].out_features == width
    return any(p.ndim == 2 and p.shape[1] == width for p in module.parameters(recurse=False))


def _connector_slots(model: PreTrainedModel, names: dict[int, str]) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    for module in connectors(model):
        linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
        slots |= {names[id(m)]: slot_of(m) for m in linears}
        if not linears:
            slots[names[id(module)]] = Slot(module, _width(model), _width(model), after=True)
    return slots


def _width(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().hidden_size)


def _mlp_output(layer: nn.Module, width: int) -> Slot:
    """The last linear layer that maps a wider (or narrower) space back to the residual stream.

    Gemma normalises what that layer gives, so that no update of it could grow: there, the norm's output is written to.
    """
    norm = getattr(layer, "post_feedforward_layernorm", None)
    if norm is not None:
        return Slot(norm, width, width, after=True)
    linears = [m for m in layer.modules() if isinstance(m, nn.Linear) and m.out_features == width]
    resized = [m for m in linears if m.in_features != width]
    if not linears:
        raise ModelError(
            f"A {type(layer).__name__} has no linear layer with {width} outputs to write to.",
            "quantised or fused layers cannot be edited: load the model with plain linear layers",
        )
    return slot_of((resized or linears)[-1])
