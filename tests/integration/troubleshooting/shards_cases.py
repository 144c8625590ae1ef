"""Messages about shards."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from producing import Tools, produces, raised

from ldke_pl.data import EditCase, read_cases
from ldke_pl.data.shards import index as shard_index
from ldke_pl.data.shards.index import INDEX, PROGRESS, Place, load_index, open_index
from ldke_pl.data.shards.record import unpack
from ldke_pl.data.shards.stream import CaseStream
from ldke_pl.data.shards.write import write_shards
from ldke_pl.data.stored import read_part


def cases(tools: Tools) -> list[EditCase]:
    return read_cases("atlas", tools.data / "edit-eval.json", tools.data, limit=2)


def written(tools: Tools, given: Sequence[EditCase] = ()) -> Path:
    folder = tools.folder / "shards"
    write_shards(given or cases(tools), folder, cases_per_shard=1)
    return folder


def first(folder: Path) -> Path:
    return folder / "shard-000000.tar"


@produces("Shard folder <folder> does not exist.")
def no_folder(tools: Tools) -> str:
    return raised(lambda: open_index(tools.folder / "nowhere"))


@produces("Shard folder <folder> is not finished.")
def not_finished(tools: Tools) -> str:
    tools.file(PROGRESS, "{}")
    return raised(lambda: open_index(tools.folder))


@produces("Shard folder <folder> has no index.json.")
def no_index(tools: Tools) -> str:
    return raised(lambda: open_index(tools.folder))


@produces("Shard index <file> cannot be read: <reason>.")
def unreadable_index(tools: Tools) -> str:
    (tools.folder / INDEX).mkdir()
    return raised(lambda: open_index(tools.folder))


@produces("Shard index <file> is damaged: <reason>.")
def damaged_index(tools: Tools) -> str:
    tools.file(INDEX, "{")
    return raised(lambda: open_index(tools.folder))


@produces("Shard index <file> is damaged: it does not have its checksum.")
def altered_index(tools: Tools) -> str:
    path = written(tools) / INDEX
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cases": 3}))
    return raised(lambda: load_index(path))


@produces("Shard index <file> is of another version than <n>.")
def other_version(tools: Tools) -> str:
    path = written(tools) / INDEX
    tools.patch.setattr(shard_index, "VERSION", 2)
    return raised(lambda: load_index(path))


@produces("Shard <file> does not exist.")
def no_shard(tools: Tools) -> str:
    first(written(tools)).unlink()
    lost = raised(lambda: open_index(tools.folder / "shards"))
    assert lost == raised(lambda: read_part(first(tools.folder / "shards"), 0, 1, ""))
    return lost


@produces("Shard <file> cannot be read: <reason>.")
def unreadable_shard(tools: Tools) -> str:
    return raised(lambda: read_part(tools.folder, 0, 1, ""))


@produces("Shard <file> is truncated: it has <n> bytes instead of <n>.")
def shorter_shard(tools: Tools) -> str:
    first(written(tools)).write_bytes(b"")
    return raised(lambda: open_index(tools.folder / "shards"))


@produces("Shard <file> was altered: it has <n> bytes instead of <n>.")
def longer_shard(tools: Tools) -> str:
    with first(written(tools)).open("ab") as file:
        file.write(b"more")
    return raised(lambda: open_index(tools.folder / "shards"))


@produces("Shard <file> was altered: it does not have its checksum.")
def altered_shard(tools: Tools) -> str:
    path = first(written(tools))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    return raised(lambda: open_index(tools.folder / "shards", verify=True))


@produces("Shard <file> is truncated: it ends before byte <n>.")
def ended_while_read(tools: Tools) -> str:
    return raised(lambda: read_part(tools.file("a.tar", b"ab"), 0, 3, ""))


@produces("Shard <file> was altered: its bytes from <n> on do not have the checksum they were written with.")
def altered_while_read(tools: Tools) -> str:
    return raised(lambda: read_part(tools.file("a.tar", b"ab"), 0, 2, ""))


@produces("Shard <file> holds a record that this version cannot read (<reason>).")
def unknown_record(tools: Tools) -> str:
    path = tools.file("a.tar", b"{}")
    return raised(lambda: unpack(path, Place(0, 2, hashlib.sha256(b"{}").hexdigest())))


@produces("Shards cannot be read with <values>.")
def bad_share(tools: Tools) -> str:
    return raised(lambda: CaseStream(tools.folder, 0, rank=0, world_size=1, seed=None, epoch=0, done=0))


@produces("Shards cannot be written to <folder>: <reason>.")
def unwritable(tools: Tools) -> str:
    return raised(lambda: write_shards(cases(tools), tools.file("file", "no folder")))


@produces("cases_per_shard=<n> leaves a shard empty.")
def empty_shards(tools: Tools) -> str:
    return raised(lambda: write_shards(cases(tools), tools.folder, cases_per_shard=0))


@produces("There is no case to write as shards.")
def no_cases(tools: Tools) -> str:
    return raised(lambda: write_shards([], tools.folder))


@produces("<n> case ids occur more than once, <id> among them.")
def repeated_ids(tools: Tools) -> str:
    return raised(lambda: write_shards(cases(tools)[:1] * 2, tools.folder))


@produces("Folder <folder> already holds shards of other cases: <what>.")
def other_cases(tools: Tools) -> str:
    written(tools)
    return raised(lambda: written(tools, cases(tools)[:1]))
