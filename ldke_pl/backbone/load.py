"""Load an MLLM and everything that editing needs to know about it."""

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
    TorchAoConfig,
)
from transformers.utils import logging as transformers_logging

from ldke_pl.backbone.processors import load_processor
from ldke_pl.backbone.prompts import Prompts
from ldke_pl.backbone.sites import Site, Slot, decoder_layers, find_sites, slot_of
from ldke_pl.config import ModelConfig
from ldke_pl.errors import ModelError

log = logging.getLogger(__name__)

ATLAS_FOLDER = Path(__file__).parents[2] / "data" / "atlas"
ATLAS = ATLAS_FOLDER / "model"
"""The committed Atlas MLLM: what ``model.name=atlas`` means."""

ATLAS_ROUTER = ATLAS_FOLDER / "router"
"""The committed router that was trained for it."""


@dataclass
class Backbone:
    """The unedited model, frozen and in eval mode, with its sites and its way of reading questions.

    Args:
        name: hub id or folder it came from.
        revision: revision asked for, or None.
        layers: the decoder's layers, bottom first.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    name: str
    revision: str | None = None
    layers: nn.ModuleList = field(init=False)
    sites: dict[str, Site] = field(init=False)
    prompts: Prompts = field(init=False)

    def __post_init__(self) -> None:
        if any(type(module).__name__ == "Linear8bitLt" for module in self.model.modules()):
            raise ModelError(
                f"{self.name!r} is in bitsandbytes' 8 bits, which quantise a batch's activations together: a row that "
                "goes to the base would not get the base's answer.",
                "load it with model.quantization=torchao-int8, or in half precision",
            )
        self.model.eval()
        self.model.requires_grad_(False)
        self.layers = decoder_layers(self.model)
        self.sites = find_sites(self.model)
        self.prompts = Prompts(self.processor, self.model.config)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def width(self) -> int:
        """Size of the decoder's hidden states."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def large(self) -> bool:
        """Whether memory, rather than time, is likely to be short: over a billion parameters."""
        return sum(p.numel() for p in self.model.parameters()) > 1e9

    def slot(self, name: str) -> Slot:
        """The linear map of that qualified name: of a site, or any other linear layer of the decoder."""
        for site in self.sites.values():
            if name in site.slots:
                return site.slots[name]
        return slot_of(self.model.get_submodule(name))

    def __call__(self, **inputs: Any) -> Any:
        """One forward pass."""
        return self._reader(self.model.forward, inputs)(**inputs)

    def generate(self, **inputs: Any) -> Any:
        """Transformers' own ``generate``."""
        return self._reader(self.model.generate, inputs).generate(**inputs)  # type: ignore[arg-type]

    def _reader(self, method: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
        """The model; its decoder alone for a text where the model insists on a picture (BLIP-2, InstructBLIP)."""
        pixels = inspect.signature(method).parameters.get("pixel_values")
        insists = pixels is not None and pixels.default is inspect.Parameter.empty
        return self.model.language_model if insists and inputs.get("pixel_values") is None else self.model

    def fingerprint(self, top: int, *, rounded: bool = False) -> str:
        """Hash of every weight below and including decoder layer ``top``: vision encoder, connector, embeddings.

        An edit and its router depend on nothing above it, so a base that differs only there still matches.

        Args:
            rounded: hash weights as bfloat16 has them, so that a model matches itself in another dtype.
        """
        above = {id(p) for layer in self.layers[top + 1 :] for p in layer.parameters()}
        digest = hashlib.sha256()
        for name, parameter in sorted(self.model.named_parameters()):
            if id(parameter) not in above:
                digest.update(name.encode())
                values = parameter.detach()
                if hasattr(values, "dequantize") and type(values) is not torch.Tensor:
                    values = values.dequantize()
                values = values.bfloat16() if rounded else values
                digest.update(values.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]

    def matches(self, fingerprint: str | None, top: int) -> bool:
        """Whether what was trained on the model of a rounded fingerprint fits this one; exact ones are of before."""
        return fingerprint == self.fingerprint(top, rounded=True) or fingerprint == self.fingerprint(top)


def load_backbone(config: ModelConfig, device: torch.device | None = None) -> Backbone:
    """Load ``config.name``: ``atlas``, a folder, or a hub id.

    Args:
        device: where to put it, unless ``config.device_map`` or the library that quantises it decides; None for the
            CPU.

    Raises:
        ModelError: there is no such model, it cannot be read, or weights are missing.
    """
    source = str(ATLAS) if config.name == "atlas" else config.name
    with quiet():
        try:
            found: Any = AutoModelForImageTextToText.from_pretrained(
                source,
                output_loading_info=True,
                dtype=config.dtype,
                revision=config.revision,
                attn_implementation=config.attn_implementation,
                device_map=config.device_map,
                trust_remote_code=config.trust_remote_code,
                **_few_bits(config.quantization),
            )
            processor = load_processor(source, revision=config.revision, trust_remote_code=config.trust_remote_code)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as fault:
            raise ModelError(
                f"The model {config.name!r} cannot be loaded: {str(fault).splitlines()[0]}",
                "set model.name to 'atlas', to a folder written by save_pretrained, or to a hub id",
            ) from fault
    model, report = found
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"The model {config.name!r} lacks {len(missing)} of its weights, the first of them {missing[0]}.",
            "set model.name to a complete model: weights drawn at random would be edited as if they were its own",
        )
    if device is not None and config.device_map is None and config.quantization != "bitsandbytes-4bit":
        model.to(device)
    return Backbone(model, processor, config.name, config.revision)


def _few_bits(quantization: str | None) -> dict[str, Any]:
    """What ``from_pretrained`` takes to load a base in few bits.

    Raises:
        ImportError: the package for it is not installed.
    """
    if quantization is None:
        return {}
    if quantization == "torchao-int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True)}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and notes on optional packages off the terminal while loading and saving."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
