"""One function per family: its own configuration, model and processor classes, tiny and random."""

from collections.abc import Callable
from typing import Any

import transformers as tf
from families import templates
from families.words import build_tokenizer
from transformers import PreTrainedModel, ProcessorMixin

from ldke_pl.backbone.processors import without_videos

Family = tuple[PreTrainedModel, ProcessorMixin]

WIDTH, LAYERS = 32, 4
CHATML = ("<|im_start|>", "<|im_end|>")
PAD = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _decoder(tokenizer: Any, **more: Any) -> dict[str, Any]:
    sizes = {
        "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 512, **PAD,
    }  # fmt: skip
    return sizes | more


def _tower(**more: Any) -> dict[str, Any]:
    sizes = {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 7,
    }  # fmt: skip
    return sizes | more


def _clip_images(size: int = 28) -> Any:
    return tf.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def llava() -> Family:
    tokenizer = build_tokenizer(opening=True, image_token="<image>")
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**_tower()), text_config=tf.LlamaConfig(**_decoder(tokenizer)),
        image_token_index=tokenizer.image_token_id, vision_feature_layer=-2, image_seq_length=16,
    )  # fmt: skip
    processor = tf.LlavaProcessor(
        _clip_images(), tokenizer, patch_size=7, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=templates.LLAVA,
    )  # fmt: skip
    return tf.LlavaForConditionalGeneration(config), processor


PINPOINTS = [[28, 56], [56, 28], [56, 56]]


def llava_next() -> Family:
    tokenizer = build_tokenizer(opening=False, image_token="<image>")
    config = tf.LlavaNextConfig(
        vision_config=tf.CLIPVisionConfig(**_tower()), text_config=tf.MistralConfig(**_decoder(tokenizer)),
        image_token_index=tokenizer.image_token_id, image_grid_pinpoints=PINPOINTS, image_seq_length=16,
    )  # fmt: skip
    images = tf.LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS
    )
    processor = tf.LlavaNextProcessor(
        images, tokenizer, patch_size=7, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=templates.MISTRAL.replace("[IMG]", "<image>\n"),
    )  # fmt: skip
    return tf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Family:
    tokenizer = build_tokenizer(opening=False, extra=CHATML, image_token="<image>", video_token="<video>")
    config = tf.LlavaOnevisionConfig(
        vision_config=tf.SiglipVisionConfig(**_tower()), text_config=tf.Qwen2Config(**_decoder(tokenizer)),
        image_token_index=tokenizer.image_token_id, video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    images = tf.LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS)
    processor = without_videos(tf.LlavaOnevisionProcessor)(
        images, tokenizer, num_image_tokens=16, vision_feature_select_strategy="full",
        chat_template=templates.ONEVISION,
    )  # fmt: skip
    return tf.LlavaOnevisionForConditionalGeneration(config), processor


def _blip_parts(tokenizer: Any, **qformer: Any) -> dict[str, Any]:
    query = {
        "hidden_size": 20, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
        "encoder_hidden_size": 24, "vocab_size": len(tokenizer), "cross_attention_frequency": 1,
    }  # fmt: skip
    vision = _tower(initializer_range=0.02)
    return {"vision_config": vision, "qformer_config": query | qformer, "num_query_tokens": 4}


def blip_2() -> Family:
    tokenizer = build_tokenizer(opening=True)
    images = tf.BlipImageProcessorPil(size={"height": 28, "width": 28})
    processor = tf.Blip2Processor(images, tokenizer, num_query_tokens=4)
    text = tf.OPTConfig(
        hidden_size=WIDTH, ffn_dim=48, num_hidden_layers=LAYERS, num_attention_heads=4, vocab_size=len(tokenizer),
        word_embed_proj_dim=WIDTH, max_position_embeddings=512, **PAD,
    )  # fmt: skip
    config = tf.Blip2Config(
        **_blip_parts(tokenizer), text_config=text.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return tf.Blip2ForConditionalGeneration(config), processor


def instructblip() -> Family:
    tokenizer = build_tokenizer(opening=True)
    images = tf.BlipImageProcessorPil(size={"height": 28, "width": 28})
    processor = tf.InstructBlipProcessor(images, tokenizer, build_tokenizer(opening=False), num_query_tokens=4)
    text = tf.LlamaConfig(**_decoder(tokenizer))
    config = tf.InstructBlipConfig(
        **_blip_parts(tokenizer), text_config=text.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return tf.InstructBlipForConditionalGeneration(config), processor


def _qwen_tokenizer() -> Any:
    return build_tokenizer(
        opening=False, extra=CHATML, image_token="<|image_pad|>", video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>", vision_end_token="<|vision_end|>",
    )  # fmt: skip


def _qwen(name: str, vision: dict[str, Any], patch: int) -> Family:
    tokenizer = _qwen_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], "mrope_interleaved": True}
    if name != "Qwen3VL":
        del rope["mrope_interleaved"]
    text = _decoder(tokenizer, rope_parameters=rope)
    text |= {"head_dim": 8} if name == "Qwen3VL" else {}
    config = getattr(tf, f"{name}Config")(
        vision_config=vision | {"patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2},
        text_config=text, image_token_id=tokenizer.image_token_id, video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.vision_start_token_id, vision_end_token_id=tokenizer.vision_end_token_id,
    )  # fmt: skip
    images = tf.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * 4 * patch * patch, "longest_edge": 8 * 8 * patch * patch}, patch_size=patch,
        merge_size=2, temporal_patch_size=2,
    )  # fmt: skip
    processor = without_videos(getattr(tf, f"{name}Processor"))(images, tokenizer, chat_template=templates.CHATML)
    return getattr(tf, f"{name}ForConditionalGeneration")(config), processor


def qwen2_vl() -> Family:
    return _qwen("Qwen2VL", {"depth": 2, "embed_dim": 24, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2}, 7)


def qwen2_5_vl() -> Family:
    vision = {
        "depth": 2, "hidden_size": 24, "intermediate_size": 40, "num_heads": 2, "out_hidden_size": WIDTH,
        "window_size": 28, "fullatt_block_indexes": [1],
    }  # fmt: skip
    return _qwen("Qwen2_5_VL", vision, 7)


def qwen3_vl() -> Family:
    vision = {
        "depth": 3, "hidden_size": 24, "intermediate_size": 40, "num_heads": 2, "out_hidden_size": WIDTH,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    return _qwen("Qwen3VL", vision, 8)


def internvl() -> Family:
    tokenizer = build_tokenizer(
        opening=False, extra=CHATML, start_image_token="<img>", end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    vision = tf.InternVLVisionConfig(**_tower(image_size=[28, 28], patch_size=[7, 7]))
    config = tf.InternVLConfig(
        vision_config=vision, text_config=tf.Qwen2Config(**_decoder(tokenizer)), image_seq_length=4,
        image_token_id=tokenizer.context_image_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    images = tf.GotOcr2ImageProcessorPil(
        size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=3
    )
    processor = without_videos(tf.InternVLProcessor)(
        images, tokenizer, image_seq_length=4, chat_template=templates.INTERN
    )
    return tf.InternVLForConditionalGeneration(config), processor


def paligemma() -> Family:
    tokenizer = build_tokenizer(opening=True, image_token="<image>")
    images = tf.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 16
    processor = tf.PaliGemmaProcessor(images, tokenizer)
    text = tf.Gemma2Config(**_decoder(tokenizer, head_dim=8, sliding_window=64, query_pre_attn_scalar=8))
    config = tf.PaliGemmaConfig(
        vision_config=tf.SiglipVisionConfig(**_tower(vision_use_head=False)), text_config=text,
        image_token_index=tokenizer.image_token_id, projection_dim=WIDTH, hidden_size=WIDTH,
        vocab_size=len(tokenizer),
    )  # fmt: skip
    return tf.PaliGemmaForConditionalGeneration(config), processor


def gemma3() -> Family:
    tokenizer = build_tokenizer(
        opening=False, extra=("<start_of_turn>", "<end_of_turn>"), image_token="<image_soft_token>",
        boi_token="<start_of_image>", eoi_token="<end_of_image>",
    )  # fmt: skip
    text = tf.Gemma3TextConfig(**_decoder(tokenizer, head_dim=8, sliding_window=64, query_pre_attn_scalar=8))
    config = tf.Gemma3Config(
        vision_config=tf.SiglipVisionConfig(**_tower(vision_use_head=False)), text_config=text, mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id, eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )  # fmt: skip
    model = tf.Gemma3ForConditionalGeneration(config)
    images = tf.Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    processor = tf.Gemma3Processor(images, tokenizer, image_seq_length=4, chat_template=templates.GEMMA)
    return model, processor


def _tiled_tokenizer() -> Any:
    tiles = [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)]
    return build_tokenizer(
        opening=False, extra=(*tiles, "<|begin_of_text|>"), image_token="<image>",
        fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )  # fmt: skip


def _tiled(name: str) -> Family:
    tokenizer = _tiled_tokenizer()
    config = getattr(tf, f"{name}Config")(
        vision_config=getattr(tf, f"{name}VisionConfig")(**_tower()), text_config=tf.LlamaConfig(**_decoder(tokenizer)),
        image_token_id=tokenizer.image_token_id, scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    sizes: dict[str, Any] = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}
    images = getattr(tf, f"{name}ImageProcessorPil")(**sizes)
    processor = without_videos(getattr(tf, f"{name}Processor"))(
        images, tokenizer, image_seq_len=4, chat_template=templates.IDEFICS
    )
    return getattr(tf, f"{name}ForConditionalGeneration")(config), processor


def idefics3() -> Family:
    return _tiled("Idefics3")


def smolvlm() -> Family:
    return _tiled("SmolVLM")


def mllama() -> Family:
    tokenizer = build_tokenizer(
        opening=False, extra=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
        image_token="<|image|>",
    )  # fmt: skip
    vision = tf.MllamaVisionConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_global_layers=1, attention_heads=2,
        vision_output_dim=48, image_size=28, patch_size=7, max_num_tiles=2, intermediate_layers_indices=[0],
        supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]],
    )  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    text = tf.MllamaTextConfig(**_decoder(tokenizer, cross_attention_layers=[1], rope_parameters=rope))
    config = tf.MllamaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id)
    model = tf.MllamaForConditionalGeneration(config)
    for name, gate in model.named_parameters():
        if "_gate" in name:  # closed at first, so that nothing of a picture would come through
            gate.data.fill_(1.0)
    images = tf.MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=2)
    processor = tf.MllamaProcessor(images, tokenizer, chat_template=templates.LLAMA)
    return model, processor


def pixtral() -> Family:
    tokenizer = build_tokenizer(
        opening=False, extra=("[INST]", "[/INST]", "[SYSTEM]", "[IMG_BREAK]", "[IMG_END]"), image_token="[IMG]"
    )
    vision = tf.PixtralVisionConfig(**_tower(image_size=56, num_attention_heads=2))
    config = tf.LlavaConfig(
        vision_config=vision, text_config=tf.MistralConfig(**_decoder(tokenizer)), vision_feature_layer=-1,
        image_token_index=tokenizer.image_token_id, vision_feature_select_strategy="full",
    )  # fmt: skip
    images = tf.PixtralImageProcessorPil(size={"longest_edge": 56}, patch_size={"height": 7, "width": 7})
    processor = tf.PixtralProcessor(images, tokenizer, patch_size=7, chat_template=templates.MISTRAL)
    return tf.LlavaForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], Family]] = {
    f.__name__: f
    for f in (
        llava, llava_next, llava_onevision, blip_2, instructblip, qwen2_vl, qwen2_5_vl, qwen3_vl, internvl, paligemma,
        gemma3, idefics3, smolvlm, mllama, pixtral,
    )
}  # fmt: skip
