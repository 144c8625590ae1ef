"""The page that a hub shows of a saved set of edits. Ours."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from ldke_pl.edits.stored import Stored

MARKUP = re.compile(r"[\\`*_\[\]<>|~$&]")
"""What Markdown or a table of it would read as more than a character."""

SHOWN = 200
"""Most edits in the table; a page of thousands is slow to open, and the files hold them all."""


def card(stored: Stored, repo: str, revision: str | None) -> str:
    """The content of ``README.md``.

    Args:
        repo: where the edits are put, as OWNER/NAME.
        revision: the branch, None for the usual one.
    """
    return "\n".join(_lines(stored, repo, revision))


def is_repo_id(name: str) -> bool:
    """Whether a hub could have a repository OWNER/NAME or NAME of that name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _lines(stored: Stored, repo: str, revision: str | None) -> Iterator[str]:
    base: dict[str, Any] = stored.config["base"]
    on_hub = "/" in base["name"] and is_repo_id(base["name"]) and not Path(base["name"]).exists()
    about: dict[str, Any] = {"base_model": base["name"]} if on_hub else {}
    about |= {"library_name": "ldke-pl", "tags": ["knowledge-editing"]}
    yield f"---\n{yaml.safe_dump(about, sort_keys=False)}---\n"
    yield f"# Edits of {plain(base['name'])}\n"
    yield "A saved set of edits: facts that a multimodal language model was made to answer by. It holds the edits and"
    yield "the router that chooses among them, not the base model.\n"
    yield f"- base model: {plain(base['name'])}"
    yield f"- revision: {plain(base['revision'] or 'not given')}"
    yield f"- dtype: {plain(base['dtype'].removeprefix('torch.'))}\n"
    yield "## Edits\n"
    yield from _table(stored)
    at = f" revision={revision}" if revision else ""
    yield "\n## Use\n"
    yield f"```\npython -m ldke_pl.edits pull {repo} DIR{at}\npython -m ldke_pl.edits verify DIR\n```\n"
    yield '```python\nfrom ldke_pl import EditedModel\n\nedited = EditedModel.load("DIR")\n```\n'
    yield 'Where the base model lies elsewhere: `verify DIR base=MODEL`, and `EditedModel.load("DIR", "MODEL")`.\n'


def _table(stored: Stored) -> Iterator[str]:
    states = stored.states()
    rows = [(e, states[e["edit_id"]]) for e in stored.entries] + [(e, "rolled back") for e in stored.rolled_back]
    yield "| id | state | prompt → target |\n| --- | --- | --- |"
    for entry, state in rows[:SHOWN]:
        yield f"| {plain(entry['edit_id'])} | {state} | {plain(entry['prompt'])} → {plain(entry['target'])} |"
    if len(rows) > SHOWN:
        yield f"\nThese are {SHOWN} of {len(rows)}; `python -m ldke_pl.edits list DIR` shows all."


def plain(text: str) -> str:
    """A text in one line that Markdown shows as it stands."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
