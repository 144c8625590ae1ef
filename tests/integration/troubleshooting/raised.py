"""Every message that the code can stop with, as a skeleton in which "…" stands for what is filled in.

Read off the source: the first argument of our errors, and the reasons that are put into a longer message (a fault of a
setting, of a row, of a shard or an artefact's part).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
GAP = "…"

ERRORS = {"ConfigError", "DataError", "ModelError", "EditError", "ArtefactError"}
REASONS = {"fault": 1, "Problem": 3, "Unreadable": 0, "NotPossibleError": 0}
"""Calls that note a reason, and which of their arguments it is."""

INNER = {"ValueError", "KeyError", "TypeError", "OSError"}
WRAPPED = (
    "data/readers/fields.py", "data/shards/index.py", "edits/", "metrics/results.py", "report/runs.py",
    "router/store.py", "sweep/search.py",
)  # fmt: skip
"""Where errors of Python's own kinds are raised to be put into one of ours; elsewhere they tell programmers."""

SAID = {
    ("config/fields.py", "faults"),
    ("config/loader.py", "_unknown"),
    ("config/loader.py", "_mistyped"),
    ("config/schema.py", "check"),
    ("data/shards/index.py", "shard_fault"),
    ("upkeep/verify.py", "problems"),
    ("upkeep/verify.py", "_inconsistent"),
    ("upkeep/verify.py", "_unfit"),
}
"""Functions that yield or return reasons, or lines of their own."""

MADE_OF_PARTS = {
    ("data/readers/__init__.py", "_bad_rows"): "… of … rows of … cannot be read (… problems):…",
    ("data/readers/missing.py", "apply_missing_images"): "… image files are missing under …, named by … of … cases:…",
    ("conformance/checks.py", "_require"): "failed: …",
    ("runtime/making.py", "_told_by_fork"): "",  # besides its own, it passes on the message of another process
}
"""Errors whose message is put together before it is raised."""


@dataclass(frozen=True)
class Said:
    """A message or a reason.

    Args:
        place: file and line.
        skeleton: its text.
        whole: whether it is a message by itself, and not the end of another one.
    """

    place: str
    skeleton: str
    whole: bool


def said() -> Iterator[Said]:
    """Everything that the package can stop with."""
    for path in sorted((ROOT / "ldke_pl").rglob("*.py")):
        name = path.relative_to(ROOT / "ldke_pl").as_posix()
        for function, node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
            for text, whole in _texts(name, function, node):
                if any(char.isalpha() for char in text):
                    yield Said(f"{name}:{getattr(node, 'lineno', 0)}", text, whole)


def _nodes(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield everything with the function that it stands in."""
    for child in ast.iter_child_nodes(tree):
        yield function, child
        yield from _nodes(child, child.name if isinstance(child, ast.FunctionDef) else function)


def _texts(name: str, function: str, node: ast.AST) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Call) and (name, function) != ("data/stored.py", "damaged"):
        yield from _of_call(name, function, node)
    elif isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and (name, function) in SAID and node.value:
        shard = function == "shard_fault"
        for text in skeletons(node.value):
            yield (f"Shard {GAP} {text}." if shard and text else text), shard or name == "upkeep/verify.py"


def _of_call(name: str, function: str, node: ast.Call) -> Iterator[tuple[str, bool]]:
    called = ast.unparse(node.func).rsplit(".", 1)[-1]
    if called in ERRORS and node.args:
        for text in skeletons(node.args[0]):
            yield (MADE_OF_PARTS.get((name, function), GAP) if text == GAP else text), True
    elif called == "damaged":
        yield from ((f"Shard {GAP} {text}.", True) for text in skeletons(node.args[1]) if text != GAP)
    elif called in REASONS and len(node.args) > REASONS[called]:
        yield from ((text, False) for text in skeletons(node.args[REASONS[called]]))
    elif ast.unparse(node.func) == "faults.append":
        yield from ((text.removeprefix(f"{GAP}: "), False) for text in skeletons(node.args[0]))
    elif called in INNER and name.startswith(WRAPPED) and node.args:
        yield from ((text, False) for text in skeletons(node.args[0]))


def skeletons(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be, with "…" for what only running tells."""
    match node:
        case ast.Constant():
            yield str(node.value)
        case ast.JoinedStr():
            yield "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
        case ast.IfExp():
            yield from skeletons(node.body)
            yield from skeletons(node.orelse)
        case ast.Tuple():
            yield from skeletons(node.elts[-1])
        case ast.GeneratorExp():
            yield from skeletons(node.elt)
        case _:
            yield GAP
