"""Tokenizer and processor of the Atlas MLLM: a small byte-level BPE of its own and a CLIP image processor."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from ldke_pl.atlas.corpus import SYSTEM_PROMPTS
from ldke_pl.atlas.render import SIZE
from ldke_pl.atlas.wording import all_words
from ldke_pl.atlas.world import BACKGROUNDS, CHARGES, COLOURS, PATTERNS, SYLLABLES, World

PATCH = 16
SPECIAL = ("<pad>", "<s>", "</s>", "<image>", "<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY = 1024
"""Small enough that the names, unlike the words of the questions, fall into several pieces each."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Train the BPE on the wordings and on every name of the world."""
    bpe = Tokenizer(models.BPE())
    # Every text segment gets a leading space, so a name has the same pieces wherever it stands.
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fixed = [*all_words(), *SYSTEM_PROMPTS, *PATTERNS, *CHARGES, *COLOURS, *BACKGROUNDS]
    # Lone syllables first make the pieces of names syllables ("Bo", "li", "vu").
    bpe.train_from_iterator(fixed * 40 + SYLLABLES * 60 + _names(world), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """The processor that an ordinary LLaVA folder has: 16 image tokens for one ``SIZE`` x ``SIZE`` picture."""
    images = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=CHAT_TEMPLATE,
    )


def _names(world: World) -> list[str]:
    hops = {v for values in world.hops.values() for v in values.values()}
    return [c.name for c in world.countries] + [v for vs in world.values.values() for v in vs] + sorted(hops)
