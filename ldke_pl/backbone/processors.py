"""Processors: a family's own class, without the part for videos, which nothing here shows a model."""

from functools import cache
from types import FunctionType
from typing import Any

from transformers import AutoConfig, AutoProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def load_processor(source: str, **options: Any) -> ProcessorMixin:
    """The processor of a model folder or hub id, with the chat template that is stored with it.

    Where torchvision is missing, or the folder has nothing on videos, it is one that takes no videos.

    Args:
        options: of ``from_pretrained``: ``revision``, ``trust_remote_code``.

    Raises:
        OSError, ValueError, ImportError: as transformers raises them.
    """
    processor = _load(source, **options)
    if processor.chat_template is None:  # BLIP-2's class drops what it is given
        processor.chat_template = type(processor).get_processor_dict(source, **options)[0].get("chat_template")
    return processor


def _load(source: str, **options: Any) -> ProcessorMixin:
    try:
        found: ProcessorMixin = AutoProcessor.from_pretrained(source, **options)
    except (OSError, ImportError):
        kind: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(source, **options)), None)
        if kind is None or "video_processor" not in kind.get_attributes():
            raise
        found = without_videos(kind).from_pretrained(source, **options)
    return found


@cache
def without_videos(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The processor class ``kind`` less its video processor, which transformers cannot make without torchvision.

    The class keeps its name, so that what it saves is an ordinary processor folder.
    """
    kept = [name for name in kind.get_attributes() if name != "video_processor"]
    own: dict[str, Any] = {"get_attributes": classmethod(lambda _: kept), "__init__": _without_need(kind.__init__)}
    own["apply_chat_template"] = ProcessorMixin.apply_chat_template  # SmolVLM's asks the video processor for defaults
    return type(kind.__name__, (kind,), own)


def _without_need(init: Any) -> Any:
    """A constructor that can do without ``video_processor``, which SmolVLM's wants, and that is a function like it.

    ``from_pretrained`` reads the arguments off its code, so that a wrapper would not do.
    """
    names, defaults = init.__code__.co_varnames[: init.__code__.co_argcount], init.__defaults__ or ()
    if "video_processor" not in names[: len(names) - len(defaults)]:
        return init
    defaults = (None,) * (len(names) - len(defaults) - names.index("video_processor")) + defaults
    return FunctionType(init.__code__, init.__globals__, init.__name__, defaults, init.__closure__)
