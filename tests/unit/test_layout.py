"""House rules that a reader of one file cannot see broken: the order of imports, hooks, loading, sizes."""

import ast
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

HookWatch = Callable[[], AbstractContextManager[list[str]]]

ROOT = Path(__file__).parents[2]
PACKAGE = "ldke_pl"

ORDER = (
    {"errors"},
    {"config", "cli"},
    {"data", "atlas", "atlas.world", "atlas.render", "atlas.wording", "atlas.cases"},
    {"backbone"},
    {"edits"},
    {"localize", "router"},
    {"editors"},
    {"edited"},
    {"conformance"},
    {"metrics"},
    {"modules"},
    {"report"},
    {"runtime"},
    {
        "atlas.pretrain",
        "atlas.blip2",
        "atlas.pretrain_blip2",
        "atlas.pretrain_qwen2_vl",
        "atlas.qwen2_vl",
        "atlas.tower",
        "atlas.training",
        "atlas.corpus",
        "atlas.tokenizer",
        "atlas.card",
        "atlas.picture",
        "calibrate",
        "localizer_study",
        "sweep",
        "bench",
        "app",
        "upkeep",
    },
    {"train", "edit", "__main__"},
)
"""Units from low to high. A unit imports lower ones only; units of one level leave each other alone, except within
Atlas. Atlas is listed by file, everything else by its first name in the package."""

LEVEL = {unit: level for level, units in enumerate(ORDER) for unit in units}
WITHOUT_ATLAS = {"editors", "localize", "router"}
HOOKS = {"register_forward_hook", "register_forward_pre_hook"}
HOOK_FILE = "ldke_pl/backbone/hooks.py"
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FILE_LINES, FUNCTION_LINES = 400, 60


def unit_of(module: str) -> str:
    """``ldke_pl.router.index`` -> ``router``; ``ldke_pl.atlas.world`` -> ``atlas.world``; ``edit`` -> ``edit``.

    What ``python -m`` runs stands with ``edit`` at the end of the order, in whatever package it is.
    """
    parts = module.split(".")
    if parts[-1] == "__main__":
        return "__main__"
    inner = parts[1:] if parts[0] == PACKAGE else parts
    return ".".join(inner[:2] if inner[:1] == ["atlas"] else inner[:1])


def module_of(path: str) -> str:
    """``ldke_pl/router/__init__.py`` -> ``ldke_pl.router``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Yield ``(line, module)`` of every import, in functions too; ``from a import b`` names ``a.b``."""
    package = module_of(path).split(".") + (["__init__"] if path.endswith("__init__.py") else [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: -node.level]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def import_faults(tree: ast.Module, path: str) -> Iterator[str]:
    """Yield the imports that break the order. The package's own ``__init__`` imports lazily and may name anything."""
    own = unit_of(module_of(path))
    if path == f"{PACKAGE}/__init__.py":
        tree = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
        faults = [name for _, name in imported(tree, path) if name.startswith(PACKAGE)]
        public = ("data.records.EditRequest", "data.records.Question", "edited.EditedModel", "errors.LDKEError")
        lazy = {f"{PACKAGE}.{name}" for name in public}
        yield from (f"{path}: imports {name} at once" for name in faults if name not in lazy)
        return
    if own not in LEVEL:
        yield f"{path}: {own} has no place in the order"
        return
    for line, name in imported(tree, path):
        other = unit_of(name)
        if not name.startswith(f"{PACKAGE}.") or name == f"{PACKAGE}.__version__" or other == own:
            continue
        same_package = own.split(".")[0] == other.split(".")[0]
        if other not in LEVEL:
            yield f"{path}:{line}: {name} has no place in the order"
        elif LEVEL[other] > LEVEL[own] or (LEVEL[other] == LEVEL[own] and not same_package):
            yield f"{path}:{line}: {own} must not import {other}"
        elif own in WITHOUT_ATLAS and other.startswith("atlas"):
            yield f"{path}:{line}: {own} must not know Atlas"


def call_faults(tree: ast.AST, path: str) -> Iterator[str]:
    """Yield uses of pickle, loads that could run code, and hooks registered outside the one file for them."""
    for line, name in imported(tree, path):
        if name.split(".")[0] in PICKLES:
            yield f"{path}:{line}: {name} can run code when loading"
        if name == "torch.load":
            yield f"{path}:{line}: call torch.load by its full name, so that it can be checked"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in HOOKS and path != HOOK_FILE:
            yield f"{path}:{node.lineno}: {node.attr} outside {HOOK_FILE}"
        if isinstance(node, ast.Call):
            given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
            called = ast.unparse(node.func)
            if called == "torch.load" and given.get("weights_only") is not True:
                yield f"{path}:{node.lineno}: torch.load without weights_only=True"
            if given.get("weights_only") is False or given.get("allow_pickle") is True:
                yield f"{path}:{node.lineno}: {called} can run code when loading"


def size_faults(tree: ast.AST, path: str, source: str) -> Iterator[str]:
    """Yield files and functions that are too long."""
    if source.count("\n") > FILE_LINES:
        yield f"{path}: {source.count(chr(10))} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines"


def faults(path: str, source: str) -> list[str]:
    """Everything wrong with ``source``, were it at ``path``."""
    tree = ast.parse(source)
    return [*import_faults(tree, path), *call_faults(tree, path), *size_faults(tree, path, source)]


SOURCES = sorted([*(ROOT / PACKAGE).rglob("*.py"), *(path for path in ROOT.glob("*.py") if path.stem in LEVEL)])


def test_sources_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in SOURCES}
    assert {"ldke_pl/__init__.py", "ldke_pl/errors.py", "ldke_pl/config/loader.py"} <= names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_keeps_the_rules(path: Path) -> None:
    assert faults(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) == []


GOOD = [
    ("edit.py", "from ldke_pl.app import main"),
    ("ldke_pl/__init__.py", "def __getattr__(name):\n    from ldke_pl.edited import EditedModel"),
    ("ldke_pl/router/index.py", "import torch\nfrom ldke_pl.router.features import pool\nfrom . import radius"),
    ("ldke_pl/atlas/render.py", "from ldke_pl.atlas.world import Emblem"),
    ("ldke_pl/atlas/pretrain.py", "from ldke_pl.atlas import world\nfrom ldke_pl.backbone.load import load"),
    ("ldke_pl/edits/io.py", "from ldke_pl import __version__\nfrom ldke_pl.errors import ArtefactError"),
    ("ldke_pl/backbone/hooks.py", "module.register_forward_hook(f, prepend=True)"),
    ("ldke_pl/modules/x.py", "import torch\ntorch.load(path, weights_only=True)"),
]


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_checker_accepts(path: str, source: str) -> None:
    assert faults(path, source) == []


LONG = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
BAD = [
    ("ldke_pl/errors.py", "import ldke_pl.config", "must not import config"),
    ("ldke_pl/config/loader.py", "from ldke_pl.data.records import Probe", "must not import data"),
    ("ldke_pl/edits/bank.py", "def f():\n    from ldke_pl.editors import ldke", "must not import editors"),
    ("ldke_pl/backbone/load.py", "from ldke_pl import runtime", "must not import runtime"),
    ("ldke_pl/backbone/load.py", "from .. import metrics", "must not import metrics"),
    ("ldke_pl/backbone/__init__.py", "from ..metrics import functional", "must not import metrics"),
    ("ldke_pl/localize/cosine.py", "from ldke_pl.router.index import Index", "must not import router"),
    ("ldke_pl/router/index.py", "import ldke_pl.localize.cosine", "must not import localize"),
    ("ldke_pl/data/collate.py", "from ldke_pl.atlas.world import World", "must not import atlas.world"),
    ("ldke_pl/atlas/world.py", "from ldke_pl.atlas import corpus", "must not import atlas.corpus"),
    ("ldke_pl/editors/ldke.py", "from ldke_pl.metrics.functional import exact", "must not import metrics"),
    ("ldke_pl/editors/ldke.py", "from ldke_pl.atlas.world import World", "must not know Atlas"),
    ("ldke_pl/localize/cosine.py", "import ldke_pl.atlas", "must not know Atlas"),
    ("ldke_pl/router/features.py", "from ldke_pl.atlas import render", "must not know Atlas"),
    ("ldke_pl/app.py", "from edit import main\nfrom ldke_pl import EditedModel", "no place in the order"),
    ("ldke_pl/misc.py", "", "no place in the order"),
    ("ldke_pl/atlas/extra.py", "", "no place in the order"),
    ("ldke_pl/__init__.py", "from ldke_pl.runtime import run", "at once"),
    ("ldke_pl/edits/io.py", "import pickle", "can run code"),
    ("ldke_pl/edits/io.py", "from dill import loads", "can run code"),
    ("ldke_pl/edits/io.py", "from torch import load", "full name"),
    ("ldke_pl/edits/io.py", "torch.load(p)", "without weights_only"),
    ("ldke_pl/edits/io.py", "torch.load(p, weights_only=flag)", "without weights_only"),
    ("ldke_pl/modules/x.py", "M.load_from_checkpoint(p, weights_only=False)", "can run code"),
    ("ldke_pl/data/shards.py", "np.load(p, allow_pickle=True)", "can run code"),
    ("ldke_pl/editors/ldke.py", "m.register_forward_hook(f)", "outside ldke_pl/backbone/hooks.py"),
    ("ldke_pl/backbone/sites.py", "r = m.register_forward_pre_hook", "outside ldke_pl/backbone/hooks.py"),
    ("ldke_pl/edited.py", LONG, "f has 61 lines"),
    ("ldke_pl/edited.py", "class A:\n    async " + LONG.replace("\n", "\n    ").strip(), "f has 61 lines"),
    ("ldke_pl/edited.py", "x = 1\n" * (FILE_LINES + 1), "401 lines"),
]


@pytest.mark.parametrize(("path", "source", "message"), BAD)
def test_checker_rejects(path: str, source: str, message: str) -> None:
    found = faults(path, source)
    assert len(found) == 1
    assert message in found[0]


def test_limits_are_inclusive() -> None:
    longest = "def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1)
    assert faults("ldke_pl/edited.py", longest) == []
    assert faults("ldke_pl/edited.py", "x = 1\n" * FILE_LINES) == []


def test_suite_sees_a_hook_left_behind(hook_watch: HookWatch) -> None:
    kept = nn.Linear(1, 1)
    with hook_watch() as left:
        handle = kept.register_forward_hook(lambda *_: None)
    handle.remove()
    assert len(left) == 1
    assert left[0].startswith(f"Linear ({__file__}:")


def test_suite_sees_a_global_hook(hook_watch: HookWatch) -> None:
    with hook_watch() as left:
        handle = register_module_forward_hook(lambda *_: None)
    handle.remove()
    assert left == ["_global_forward_hooks"]


def test_suite_accepts_hooks_that_are_gone(hook_watch: HookWatch) -> None:
    kept = nn.Linear(1, 1)
    with hook_watch() as left:
        kept.register_forward_pre_hook(lambda *_: None).remove()
        nn.Linear(1, 1).register_forward_hook(lambda *_: None)
    assert left == []
