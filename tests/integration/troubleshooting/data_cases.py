"""Messages about annotation files, their rows, and pictures."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from producing import Tools, produces, raised

from ldke_pl.atlas.picture import main as draw
from ldke_pl.data import load_image, parse_cases, read_cases
from ldke_pl.data.__main__ import main
from ldke_pl.data.images import image_file
from ldke_pl.data.readers import check_root

DIGITS = "1" * 5000
GOOD: dict[str, Any] = {"prompt": "Who?", "target": "Ada"}
MCMKE = {"ie_edit_input_idx": 0, "ie_cloze": "It is", "locality_test": []}

FILES: dict[str, tuple[str, str, str | bytes]] = {
    "Annotation file <file> cannot be read: <reason>.": ("plain", "a.json", f"[{DIGITS}]"),
    "Annotation file <file> is not UTF-8 text (byte <n>).": ("plain", "a.json", b"[\xff]"),
    "Annotation file <file> is truncated: it ends too early, in <line>.": ("plain", "a.json", '[{"prompt": "Wh'),
    "Annotation file <file> is not JSON: <reason> (<place>).": ("plain", "a.json", "[1, x]"),
    "Annotation file <file> holds more than one JSON value (<place>).": ("plain", "a.json", "{}\n{}"),
    "Annotation file <file> holds <type>, not a list of rows.": ("plain", "a.json", "{}"),
    "Annotation file <file> has no rows.": ("plain", "a.json", "[]"),
    "<file> has no rows.": ("plain", "a.csv", "prompt,target\n"),
    "<file> is no CSV table: <reason> (line <n>).": ("plain", "a.csv", 'prompt,target\n"a"b,c\n'),
    "The first line of <file> does not name the columns: <faults>": ("plain", "a.csv", "prompt,answer\na,b\n"),
    '<file> holds no list of "<key>".': ("okedit", "OpenEnded_mscoco_val2014_questions.json", "{}"),
    "<file> holds no edits of MC-MKE, and no edit file for it lies beside it.": ("mcmke", "a.jsonl", "{}"),
    "<n> of <n> rows of <file> cannot be read (<n> problems): <rows>": ("plain", "a.json", "[{}]"),
}
"""Entry -> format, name and content of a file that produces it."""

ROWS: dict[str, tuple[str, str, str]] = {
    "row <n>: is <type>, not an object": ("plain", "a.json", "[1]"),
    'row <n>, key "<key>": is missing': ("plain", "a.json", "[{}]"),
    'row <n>, key "<key>": is null': ("plain", "a.json", '[{"prompt": null}]'),
    'row <n>, key "<key>": is empty': ("plain", "a.json", '[{"prompt": " "}]'),
    'row <n>, key "<key>": is <type>, not a text': ("plain", "a.json", '[{"prompt": ["a"]}]'),
    'row <n>, key "<key>": is <type>, not a list': ("plain", "a.json", '[{"probes": {"a": 1}}]'),
    'row <n>, key "<key>": is <type>, not true or false': ("atlas", "a.json", '[{"joint": "yes"}]'),
    'row <n>, key "<key>": is not a known key. <choices>': ("plain", "a.json", '[{"promt": "a"}]'),
    'row <n>, key "<key>": contains half of a surrogate pair, which no file or tokenizer can hold': (
        "plain", "a.json", r'[{"prompt": "\ud83d"}]',
    ),
    'row <n>, key "<key>": is an absolute path; paths are relative to the image root (<path>)': (
        "plain", "a.json", '[{"image": "/a.png"}]',
    ),
    'row <n>, key "<key>": contains ".."; a path may not leave the image root (<path>)': (
        "plain", "a.json", '[{"image": "../a.png"}]',
    ),
    'row <n>, key "<key>": contains a null character (<path>)': ("plain", "a.json", r'[{"image": "a\u0000.png"}]'),
    'row <n>, key "<key>": leaves the image root through a symbolic link (<path>)': (
        "plain", "a.json", '[{"image": "link/a.png"}]',
    ),
    'row <n>, key "<key>": is null or empty, but <kind> is scored against it': (
        "plain", "a.json", '[{"probes": [{"kind": "reliability", "expected": null}]}]',
    ),
    'row <n>, key "<key>": holds the edit\'s own question about its own picture, which is what changes': (
        "plain", "a.json", '[{"prompt": "Who?", "must_not_change": ["Who?"]}]',
    ),
    'row <n>, key "<key>": "<name>" is not a probe kind. <choices>': (
        "plain", "a.json", '[{"probes": [{"kind": "locality"}]}]',
    ),
    'row <n>, key "<key>": "<name>" is not a number of hops. <choices>': (
        "vlkeb", "a.json", '[{"port_new": [{"port_type": "five"}]}]',
    ),
    'row <n>, key "<key>": "<id>" is also the id of row <n>': ("plain", "a.json", '[{"id": "x"}, {"id": "x"}]'),
    'row <n>, key "<key>": has no question in <file>': (
        "okedit", "mscoco_val2014_annotations.json", '{"annotations": [{"question_id": 1}]}',
    ),
    "row <n>: is not JSON: <reason> (column <n>)": ("plain", "a.jsonl", "{"),
    "row <n>: cannot be read: <reason>": ("plain", "a.jsonl", DIGITS),
    'row <n>, key "<key>": is not JSON: <reason>': ("plain", "a.csv", 'prompt,target,rephrases\na,b,"[x"\n'),
    "row <n>: has more values than the first line has columns; put texts with commas in quotes": (
        "plain", "a.csv", "prompt,target\na,b,c\n",
    ),
}  # fmt: skip
"""Entry -> format, name and content of a file with such a row."""

COMMANDS = {
    "data.path is not given.": ["inspect"],
    "data.train and data.eval must both be given.": ["leakage", "data.train=a.json"],
    "data.path and shards.folder must both be given.": ["shard", "data.path=a.json"],
}
"""Entry -> arguments of ``python -m ldke_pl.data`` that produce it."""


def of_file(format: str, name: str, content: str | bytes, tools: Tools) -> str:
    return raised(lambda: read_cases(format, tools.file(name, content), None))


def of_row(format: str, name: str, content: str, tools: Tools) -> str:
    tools.file("OpenEnded_mscoco_val2014_questions.json", '{"questions": [{"question_id": 2}]}')
    (root := tools.folder / "root").mkdir()
    os.symlink(tools.folder, root / "link")
    path = tools.file(name, content)
    problems = parse_cases(format, path, root).problems
    return "\n".join(str(problem).removeprefix(f"{problem.file.name} ") for problem in problems)


def of_command(arguments: list[str], tools: Tools) -> str:
    return raised(partial(main, arguments))


for entry, (format, name, content) in FILES.items():
    produces(entry)(partial(of_file, format, name, content))
for entry, (format, name, text) in ROWS.items():
    produces(entry)(partial(of_row, format, name, text))
for entry, arguments in COMMANDS.items():
    produces(entry)(partial(of_command, arguments))


def plain(tools: Tools, image: str = "a.png") -> Path:
    """A file of one row about a picture that is not there."""
    return tools.file("rows.json", json.dumps([GOOD | {"image": image}]))


@produces('Unknown data format "<name>".')
def unknown_format(tools: Tools) -> str:
    return raised(lambda: parse_cases("nonsense", tools.folder))


@produces('There is no reader "<path>" (<reason>).')
def no_reader(tools: Tools) -> str:
    return raised(lambda: parse_cases("somewhere.read", tools.folder))


@produces("limit=<n> leaves no case.")
def no_limit(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", plain(tools), None, limit=0))


@produces('missing_images="<value>" is not a choice.')
def unknown_policy(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", plain(tools), None, missing_images="draw"))


@produces("Annotation file <file> does not exist.")
def no_file(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", tools.folder / "nowhere.json", None))


@produces("Annotation file <file> cannot be opened: <reason>.")
def a_folder_for_a_file(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", tools.folder, None))


@produces("<folder> holds no edit file of MC-MKE.")
def no_edit_file(tools: Tools) -> str:
    return raised(lambda: read_cases("mcmke", tools.folder, None))


@produces("Image root <folder> is not a folder.")
def no_root(tools: Tools) -> str:
    return raised(lambda: check_root(tools.folder / "nowhere"))


@produces("<n> image files are missing under <folder>, named by <n> of <n> cases: <files>")
def missing_pictures(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", plain(tools), tools.folder))


@produces("Every one of the <n> cases lacks an image under <folder>.")
def no_pictures(tools: Tools) -> str:
    return raised(lambda: read_cases("plain", plain(tools), tools.folder, missing_images="skip"))


@produces("Image <file> does not exist.")
def missing_picture(tools: Tools) -> str:
    return raised(lambda: load_image(tools.folder / "nowhere.png"))


@produces("Image <file> cannot be read as an image: <reason>.")
def no_picture(tools: Tools) -> str:
    return raised(lambda: load_image(tools.file("a.png", "no picture")))


@produces("Image <file> cannot be read: <reason>.")
def unreadable_picture(tools: Tools) -> str:
    return raised(lambda: image_file(tools.folder))


@produces("COUNTRY and FILE must be given.")
def no_country(tools: Tools) -> str:
    return raised(lambda: draw(["Kumito"]))


@produces("Atlas has no country <name>; did you mean <other>?")
def unknown_country(tools: Tools) -> str:
    return raised(lambda: draw(["Kumit", "kumito.png"]))


@produces("<file> cannot be written: <reason>")
def no_picture_file(tools: Tools) -> str:
    unwritable = [tools.folder / "nowhere" / "a.png", tools.folder / "a.picture"]
    first, _ = (raised(partial(draw, ["Kumito", str(path)])) for path in unwritable)
    return first
