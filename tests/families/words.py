"""A small tokenizer, trained on a few sentences, with the special tokens that a family's processor asks for."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "What is shown here? Which thing is this? Name what you see. What colour is it? Who made it? Is it old or new?",
    "It is a red kite. It is a blue boat. This is a green tower. The answer is known. Please answer this question.",
    "Which river flows by? What is its capital? Describe what you see. A system prompt says little. Thanks, one more.",
)
BASE = ("<pad>", "<s>", "</s>", "<unk>")


@cache
def _trained(specials: tuple[str, ...], opening: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*BASE, *specials], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if opening:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def build_tokenizer(*, opening: bool, extra: tuple[str, ...] = (), **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer.

    Args:
        opening: whether it puts its ``<s>`` before every text, as Llama's does; a chat template may do so instead.
        extra: further special tokens.
        named: special tokens that the processor looks up by name, such as ``image_token="<image>"``.
    """
    specials = tuple(dict.fromkeys([*named.values(), *extra]))
    return PreTrainedTokenizerFast(
        tokenizer_object=_trained(specials, opening), bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", extra_special_tokens=named, additional_special_tokens=list(extra),
    )  # fmt: skip
