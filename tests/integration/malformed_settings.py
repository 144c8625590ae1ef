"""Malformed arguments, saved configurations and sweep files."""

import json
from typing import Any

from throwing import Draw, Thrown

from ldke_pl.config import CONF_DIR, EditConfig
from ldke_pl.config.fields import Leaf, leaves

EDITORS = {"editor": ["ldke", "no_edit"]}
KNOWN: list[Leaf] = [*leaves(EditConfig, EDITORS)]
GROUPS = sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "sweep")


NO_CHOICES = ["nowhere", "[]", "[a,a]", "3", "true", "[[x]]", "null"]
NO_YAML = ["[", "{", "${nowhere}", "${", "{a: b", "[1, 2", '"x']
NO_SETTINGS = ["--help-me", "-x", "run", "=3", "editor", "config", "--run.seeds=1", "a b", "!", "==="]
NO_CONFIGS = ["nowhere.yaml", "/", ".", "conf", "README.md", "data/atlas/model/config.json"]


def bad_value(leaf: Leaf, draw: Draw) -> str | None:
    """A text that ``leaf`` does not take; None where there is none."""
    kinds = str(leaf.hint)
    options: list[str] = []
    if leaf.rules.choices:
        options += ["nonsense", "[nonsense]"]
    if leaf.rules.nonempty:
        options += ["[]"] if "list" in kinds else ["''"]
    if "int" in kinds and "list" not in kinds:
        options += ["x", "1.5", "[1]", "{a: 1}", "1e400", "nan"]
    if "float" in kinds and "list" not in kinds:
        options += ["x", "[1]", "{a: 1}"] + (["nan", "inf", "-.inf"] if leaf.rules.bounds else [])
    if "list[int]" in kinds:
        options += ["[x]", "[1.5]", "3", "[[1]]", "[1,1]" if leaf.key.startswith("run.") else "[-5]"]
    if "list" in kinds:
        options += ["{a: 1}"]
    if "bool" in kinds:
        options += ["3", "perhaps", "[true]"]
    if leaf.rules.bounds and "list" not in kinds:
        low = leaf.rules.ge if leaf.rules.ge is not None else leaf.rules.gt
        options += [str((low if low is not None else 0) - 1)]
    if not leaf.is_optional:
        options += ["null"]
    return draw.choice(options) if options else None


def bad_override(draw: Draw) -> Thrown:
    """Arguments of ``edit.py`` or ``train.py``, one in a line, of which one cannot be used."""
    match draw.randrange(6):
        case 0:
            leaf = draw.choice(KNOWN)
            letters = list(leaf.key)
            letters.insert(draw.randrange(len(letters)), draw.choice("qxz"))
            told = f"{''.join(letters)}=1"
        case 1:
            told = f"{draw.choice(GROUPS)}={draw.choice(NO_CHOICES)}"
        case 2:
            told = f"{draw.choice(KNOWN).key}={draw.choice(NO_YAML)}"
        case 3:
            told = draw.choice(NO_SETTINGS)
        case 4:
            told = f"config={draw.choice(NO_CONFIGS)}"
        case _:
            while (value := bad_value(leaf := draw.choice(KNOWN), draw)) is None:
                pass
            told = f"{leaf.key}={value}"
    return Thrown(f"setting {told}", lambda folder: (folder / "arguments").write_text(told))


def bad_config(draw: Draw) -> Thrown:
    """A saved configuration that no command may take."""
    lines = [
        "editor: [ldke]", "editor: {ldke: 3}", "editor: {mine: {cls: 3, lr: x}}", "run: 3", "run: {seeds: {}}",
        "model: [1]", "modle: {name: x}", "data: {format: [x]}", "router: {layers: {a: 1}}", "- 1", "a: [", "'",
        "defaults: 3", "defaults: {editor: {a: 1}}", "defaults: {model: [a, b]}", "? [a]\n: b", "a: &x [*x]", "%x",
        "run: {seeds: [1, [2]]}", "trainer: null", "1: 2", "model: {name: null}", "\t", "editor: null", "{a: b",
        "!!x y", "data: {limit: -3}", "logger: {name: stone}", "run: {protocols: []}", "editor: {a: {}, b: {}}",
        "router: {kind: 3}",
    ]  # fmt: skip
    content = "\n".join(draw.sample(lines, draw.randrange(1, 3))).encode()
    if draw.random() < 0.2:
        content += bytes([draw.randrange(0x80, 0xC0)])
    return Thrown(f"config {content!r}", lambda folder: (folder / "saved.yaml").write_bytes(content))


def bad_sweep(draw: Draw) -> Thrown:
    """A sweep file that no sweep may begin with."""
    good: dict[str, Any] = {
        "program": "edit.py", "method": "grid", "metric": {"name": "ldke/average", "goal": "maximize"},
        "parameters": {"editor.ldke.rank": {"values": [1, 2]}},
    }  # fmt: skip
    key = draw.choice(["program", "method", "metric", "parameters"])
    wrong: dict[str, list[Any]] = {
        "program": [None, 3, [], {}],
        "method": [None, 3, "guess", ["grid"]],
        "metric": [None, "x", [], {}, 3, {"name": None}, {"name": ["a"]}],
        "parameters": [
            None, [], "x", 3, {"a": None}, {"a": 3}, {"a": {}}, {"a": {"min": 1}}, {"a": {"values": 3}},
            {"a": {"values": []}}, {"a": {"min": 0, "max": 1}}, {"a": {"min": "x", "max": "y"}},
            {"a": {"values": None}},
        ],
    }  # fmt: skip
    if draw.random() < 0.3:
        changed: Any = draw.choice([None, 3, [], "text", {k: v for k, v in good.items() if k != key}])
    else:
        changed = good | {key: draw.choice(wrong[key])}
    text = json.dumps(changed)  # JSON is YAML
    return Thrown(f"sweep {text}", lambda folder: (folder / "sweep.yaml").write_text(text))
