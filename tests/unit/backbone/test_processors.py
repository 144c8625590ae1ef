"""Loading processors: the chat template that a folder holds is the one that is used."""

from pathlib import Path

import pytest
from families.models import FAMILIES

from ldke_pl.backbone.processors import load_processor

TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize("template", [TEMPLATE, None])
@pytest.mark.parametrize("family", ["blip_2", "llava", "smolvlm"])
def test_stored_chat_template_is_used(family: str, template: str | None, tmp_path: Path) -> None:
    model, processor = FAMILIES[family]()
    processor.chat_template = template
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert load_processor(str(tmp_path)).chat_template == template
