"""Malformed requests, in the format of edits of one's own."""

import json
import string
from typing import Any

from throwing import Draw, Thrown

GOOD: dict[str, Any] = {
    "image": "a.png",
    "prompt": "Who is it?",
    "target": "Ada",
    "rephrases": ["Who?"],
    "rephrase_images": ["b.png"],
    "probes": [{"kind": "text_locality", "image": None, "prompt": "Where?", "expected": None}],
    "group": "entity",
    "entity": "x",
    "id": "one",
}
NO_TEXT: list[Any] = [{}, {"a": 1}, ["a"], [[]], True, False]
PATHS = ["/etc/passwd", "..", "../a.png", "a/../../b.png", "C:\\a.png", "\\\\host\\a.png", "a\0.png", "\\a"]
PROBES: list[Any] = [
    [1], ["a"], "a", 1, True, {"kind": "reliability"}, [{}], [None, 3], [{"kind": "nonsense"}], [[]],
    [{"kind": "reliability", "image": None, "prompt": "a", "expected": None}],
    [{"kind": "text_locality", "image": None, "prompt": "", "expected": None}],
    [{"kind": "text_locality", "image": None, "prompt": "a", "expected": None, "ceiling": 3}],
    [{"kind": "text_locality", "image": None, "prompt": "a", "expected": None, "ceiling": {}}],
    [{"kind": "text_locality", "image": "/a", "prompt": "a", "expected": None}],
    [{"kind": "text_locality", "image": 1.5, "prompt": "a", "expected": {}, "relation": []}, 7],
]  # fmt: skip
NO_ROWS: list[Any] = [None, 1, "a", [], [1], True, 1.5]


def bad_row(draw: Draw) -> Thrown:
    """A file of good rows and one that no reader may take."""
    row: Any = dict(GOOD)
    match draw.randrange(8):
        case 0:
            key = draw.choice(["prompt", "target"])
            del row[key]
        case 1:
            key = draw.choice(["prompt", "target"])
            row[key] = draw.choice([None, "", "  \n", *NO_TEXT])
        case 2:
            key = draw.choice(["image", "rephrase_images"])
            row[key] = draw.choice(PATHS)
        case 3:
            key = draw.choice(["image", "group", "entity", "id"])
            row[key] = draw.choice([["a"], {"a": 1}, True])
        case 4:
            key = "".join(draw.choices(string.ascii_lowercase, k=6)) + "s"
            row[key] = 1
        case 5:
            key = "probes"
            row[key] = draw.choice(PROBES)
        case 6:
            key = draw.choice(["prompt", "target", "rephrases", "image"])
            row[key] = "\ud83d" + draw.choice(string.ascii_letters)
        case _:
            key, row = "", draw.choice(NO_ROWS)
    rows = [{"prompt": "a", "target": "b"}] * draw.randrange(3)
    text = json.dumps([*rows, row])
    return Thrown(f"row {key} {json.dumps(row)[:80]}", lambda folder: (folder / "rows.json").write_text(text), key)


def bad_file(draw: Draw) -> Thrown:
    """A file of which no row can be read."""
    whole = json.dumps([GOOD] * draw.randrange(1, 4))
    name, content = "rows.json", whole.encode()
    place = draw.randrange(1, len(content) - 1)
    match draw.randrange(9):
        case 0:
            content = content[:place]
        case 1:
            content = content[:place] + bytes([draw.randrange(0x80, 0xC0)]) + content[place:]
        case 2:
            content = whole.encode(draw.choice(["utf-16", "utf-32", "utf-16-be"]))
        case 3:
            content = draw.choice(
                [b"", b" \n", b"\0" * 20, b"null", b"3", b"{}", b"[]", b'"text"', b"[1,]", b"{'a': 1}"]
            )
        case 4:
            content = draw.randbytes(draw.randrange(1, 200))
        case 5:
            content = b"[" * draw.choice([200, 100_000])
        case 6:
            content += draw.choice([b"]", b"}", b"x", content])
        case 7:
            name = "rows.csv"
            content = draw.choice([
                b"", b"prompt\na\n", b"prompt,target\n", b'prompt,target\n"a,b\n', b"prompt,target,colour\na,b,c\n",
                b'prompt,target\na,"b"c\n', b"a;b\n1;2\n", b"\xff\xfe", b"prompt,target,target2\n1,2,3\n",
            ])  # fmt: skip
        case _:
            name, content = "rows.jsonl", draw.choice([b"", b"\n\n", b"\xff", b" "])
    shown = f"{name} {len(content)} {content[:30]!r} {content[-10:]!r}"
    return Thrown(f"file {shown}", lambda folder: (folder / name).write_bytes(content), name)
