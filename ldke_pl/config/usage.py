"""The text of ``--help``: groups with their choices, and every key with its type, default, unit and range."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ldke_pl.config.fields import Leaf, type_name
from ldke_pl.config.sources import Group


def usage(
    program: str,
    main: str,
    groups: Mapping[str, Group],
    picks: Mapping[str, Sequence[str]],
    leaves: Iterable[Leaf],
    values: Mapping[str, Any],
) -> str:
    """Write the help of ``python <program>``.

    Args:
        program: how the program is called after ``python``.
        main: name of the main file.
        groups: sections and their choices.
        picks: the default choices, marked ``*``.
        leaves: every settable value.
        values: the default of every leaf by its key.
    """
    lines = [
        f"usage: python {program} [group=choice ...] [section.key=value ...] [config=saved.yaml]",
        "",
        f"Groups (* is the default; a choice is a file conf/<group>/<choice>.yaml, the default is in {main}):",
        *_group_lines(groups, picks),
        "",
        "Keys, with type, default and meaning:",
    ]
    for leaf in leaves:
        limits = [leaf.rules.bounds, "one of " + ", ".join(leaf.rules.choices) if leaf.rules.choices else ""]
        limit = "".join(f" [{text}]" for text in limits if text)
        lines += [
            f"  {leaf.key}: {type_name(leaf.hint)} = {_shown(values[leaf.key])}",
            f"      {leaf.rules.help}{limit}",
        ]
    return "\n".join(lines)


def _group_lines(groups: Mapping[str, Group], picks: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for key, group in groups.items():
        names = ", ".join(f"*{name}" if name in picks[key] else name for name in group.choices)
        several = f"; several at once as {key}=[a,b]" if group.multiple else ""
        if names:
            yield f"  {key}: {names}{several}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
