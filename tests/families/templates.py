"""Chat templates after those that the families ship, cut down to text and picture parts."""


def turns(user: str, assistant: str, picture: str, *, opening: str = "", system: str = "", end: str = "") -> str:
    """A template of user and assistant turns.

    Args:
        user, assistant: what opens a turn.
        picture: what stands for a picture, before or between texts.
        opening: what the whole conversation begins with.
        system: what opens a system turn; the user's opening if there is none.
        end: what closes a turn.
    """
    roles = f"{{% if m['role'] == 'user' %}}{user}{{% elif m['role'] == 'system' %}}{system or user}"
    parts = (
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        f"{{% if c['type'] == 'image' %}}{picture}{{% else %}}{{{{ c['text'] }}}}{{% endif %}}"
        "{% endfor %}{% endif %}"
    )
    return (
        f"{opening}{{% for m in messages %}}{roles}{{% else %}}{assistant}{{% endif %}}{parts}{end}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{assistant}{{% endif %}}"
    )


CHATML = turns(
    "<|im_start|>user\n", "<|im_start|>assistant\n", "<|vision_start|><|image_pad|><|vision_end|>",
    system="<|im_start|>system\n", end="<|im_end|>\n",
)  # fmt: skip
LLAVA = turns("USER: ", "ASSISTANT:", "<image>\n", system="SYSTEM: ", end=" ")
ONEVISION = turns(
    "<|im_start|>user ", "<|im_start|>assistant\n", "<image>\n", system="<|im_start|>system ", end="<|im_end|>\n"
)
INTERN = turns(
    "<|im_start|>user\n",
    "<|im_start|>assistant\n",
    "<IMG_CONTEXT>\n",
    system="<|im_start|>system\n",
    end="<|im_end|>\n",
)
GEMMA = turns(
    "<start_of_turn>user\n", "<start_of_turn>model\n", "<start_of_image>", opening="<s>", end="<end_of_turn>\n"
)
IDEFICS = turns(
    "User:", "Assistant:", "<image>", opening="<|begin_of_text|>", system="System:", end="<end_of_utterance>\n"
)
LLAMA = turns(
    "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|image|>",
    opening="<s>", system="<|start_header_id|>system<|end_header_id|>\n\n", end="<|eot_id|>",
)  # fmt: skip
MISTRAL = turns("[INST]", "[/INST]", "[IMG]", opening="<s>", system="[SYSTEM]")
