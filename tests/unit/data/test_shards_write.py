"""Writing shards: what is in them, the same bytes again, and going on after an interruption."""

import hashlib
import json
import tarfile
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
import webdataset
from shard_cases import decoded, images, make_cases, map_images, picture, text_case

from ldke_pl.data import EditCase, EditRequest, Probe, Question, StoredImage
from ldke_pl.data.shards import write
from ldke_pl.data.shards.index import save_index
from ldke_pl.data.shards.read import stored_cases
from ldke_pl.data.shards.record import pack, safe_key
from ldke_pl.data.shards.write import shard, write_shards
from ldke_pl.errors import ConfigError, DataError


@pytest.fixture
def cases(tmp_path: Path) -> list[EditCase]:
    return make_cases(tmp_path / "pictures", 7)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_cases_come_back_equal(cases: list[EditCase], tmp_path: Path) -> None:
    write_shards(cases, tmp_path / "shards", cases_per_shard=3)
    found = stored_cases(tmp_path / "shards")
    assert [decoded(case) for case in found] == [decoded(case) for case in cases]
    assert found[1] != found[2]


def test_round_trip_covers_every_field(cases: list[EditCase]) -> None:
    case = cases[1]
    for record in (case, case.request, case.probes[0], case.probes[0].ceiling):
        assert isinstance(record, EditCase | EditRequest | Probe | Question)
        kept = [f for f in fields(record) if f.name != "kind" and getattr(record, f.name) == f.default]
        assert kept == [], "a field at its default would come back even if it were never stored"


def test_a_case_is_a_record_and_each_of_its_pictures_once(cases: list[EditCase], tmp_path: Path) -> None:
    index = write_shards(cases, tmp_path / "shards", cases_per_shard=3)
    assert [(s.file, s.cases) for s in index.shards] == [
        ("shard-000000.tar", 3), ("shard-000001.tar", 3), ("shard-000002.tar", 1),
    ]  # fmt: skip
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as tar:
        names = tar.getnames()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "ldke", "ldke")}
        first = tar.extractfile("set%2F%C3%A9%2E001.picture-000000.jpg")
        assert first is not None
        assert first.read() == Path(str(cases[1].request.image)).read_bytes()
    one = [f"set%2F%C3%A9%2E001.{part}" for part in ("json", *(f"picture-00000{i}" for i in range(3)))]
    assert names[0] == "set-eval-000000.json"
    assert [name.removesuffix(".jpg").removesuffix(".png") for name in names[1:5]] == one


def test_webdataset_reads_them(cases: list[EditCase], tmp_path: Path) -> None:
    index = write_shards(cases, tmp_path / "shards", cases_per_shard=3)
    urls = [str(tmp_path / "shards" / one.file) for one in index.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert Counter(s["__key__"] for s in samples) == Counter(safe_key(case.case_id) for case in cases)
    assert [json.loads(s["json"])["case"]["case_id"] for s in samples] == [case.case_id for case in cases]
    assert all(s["picture-000000.jpg"][:2] == b"\xff\xd8" for s in samples if len(s) > 4)


def test_pictures_of_a_case_are_one_source_each(cases: list[EditCase], tmp_path: Path) -> None:
    write_shards(cases, tmp_path / "shards")
    shown = images(stored_cases(tmp_path / "shards")[1])
    assert [len(shown), len(set(shown))] == [6, 3]
    assert all(isinstance(image, StoredImage) for image in shown)
    assert str(shown[0]).endswith("shards/shard-000000.tar/set%2F%C3%A9%2E001.picture-000000.jpg")


def test_same_cases_give_the_same_bytes_wherever_they_are(cases: list[EditCase], tmp_path: Path) -> None:
    write_shards(cases, tmp_path / "one", cases_per_shard=2)
    write_shards(make_cases(tmp_path / "elsewhere", 7), tmp_path / "two", cases_per_shard=2)
    write_shards(stored_cases(tmp_path / "one"), tmp_path / "three", cases_per_shard=2)
    assert files(tmp_path / "one") == files(tmp_path / "two") == files(tmp_path / "three")
    assert not list(tmp_path.rglob("*.partial"))


def test_index_says_what_is_there(cases: list[EditCase], tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    printed = shard(cases, folder, 3, "vlkeb")
    values = json.loads((folder / "index.json").read_text())
    assert (values["version"], values["format"], values["cases"]) == (1, "vlkeb", 7)
    for one in values["shards"]:
        content = (folder / one["file"]).read_bytes()
        assert (one["bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    total = sum(path.stat().st_size for path in folder.glob("*.tar"))
    assert printed == {"index": str(folder / "index.json"), "shards": 3, "cases": 7, "bytes": total}
    assert json.dumps(printed)


@pytest.mark.parametrize("where", range(9))
def test_an_interrupted_run_is_gone_on_with(
    where: int, cases: list[EditCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each case, and before the second shard is given its name or is noted."""
    write_shards(cases, tmp_path / "whole", cases_per_shard=2)
    folder = tmp_path / "shards"
    with monkeypatch.context() as patch:
        if where < 7:
            patch.setattr(write, "pack", lambda case: _die() if case is cases[where] else pack(case))
        elif where == 7:
            patch.setattr(Path, "replace", lambda path, to: _die() if "01.tar" in to.name else path.rename(to))
        else:
            patch.setattr(write, "save_index", lambda i, to: _die() if len(i.shards) == 2 else save_index(i, to))
        with pytest.raises(KeyboardInterrupt):
            write_shards(cases, folder, cases_per_shard=2)
    with pytest.raises(DataError, match=r"shards (is not finished|has no index\.json)"):
        stored_cases(folder)
    before = {path.name: path.stat().st_ino for path in folder.glob("*.tar")}
    assert len(before) == (where // 2 if where < 7 else 1)
    write_shards(cases, folder, cases_per_shard=2)
    assert files(folder) == files(tmp_path / "whole")
    assert before.items() <= {path.name: path.stat().st_ino for path in folder.glob("*.tar")}.items()


def test_a_repair_that_is_interrupted_loses_no_shard(
    cases: list[EditCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(cases, tmp_path / "whole", cases_per_shard=2)
    folder = tmp_path / "shards"
    for number in (6, 2):  # in the last shard, and, with the first one gone, behind the first
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(write, "pack", lambda case, number=number: _die() if case is cases[number] else pack(case))
            write_shards(cases, folder, cases_per_shard=2)
        (folder / "shard-000000.tar").unlink()
    write_shards(cases, folder, cases_per_shard=2)
    assert files(folder) == files(tmp_path / "whole")


def _die() -> Path:
    raise KeyboardInterrupt


@pytest.mark.parametrize("content", [b"", b"x" * 4096, None])
def test_a_damaged_shard_is_written_again_and_the_others_left(
    content: bytes | None, cases: list[EditCase], tmp_path: Path
) -> None:
    folder = tmp_path / "shards"
    write_shards(cases, folder, cases_per_shard=2)
    whole, kept = files(folder), (folder / "shard-000000.tar").stat().st_ino
    damaged = folder / "shard-000001.tar"
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    write_shards(cases, folder, cases_per_shard=2)
    assert files(folder) == whole
    assert (folder / "shard-000000.tar").stat().st_ino == kept


def test_a_folder_of_other_cases_is_refused_and_left_alone(cases: list[EditCase], tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    write_shards(cases, folder, cases_per_shard=2)
    whole = files(folder)
    repainted = map_images(cases[4], lambda _: picture(5))
    others = {
        r"7 cases of format '' by 2, not 6": (cases[:6], 2, ""),
        r"by 2, not 7 of '' by 3": (cases, 3, ""),
        r"not 7 of 'vlkeb'": (cases, 2, "vlkeb"),
        r"another case in shard-000001\.tar in the place of set/é\.002": ([*cases[:3], cases[2], *cases[4:]], 2, ""),
        r"another case in shard-000002\.tar in the place of set/é\.004": ([*cases[:4], repainted, *cases[5:]], 2, ""),
    }
    for message, (given, size, format) in others.items():
        given = [
            replace(case, case_id=f"{case.case_id}x") if case in given[:i] else case for i, case in enumerate(given)
        ]
        with pytest.raises(DataError, match=rf"already holds shards of other cases: .*{message}"):
            write_shards(given, folder, cases_per_shard=size, format=format)
        assert files(folder) == whole


def test_a_foreign_tar_file_is_not_mixed_in(cases: list[EditCase], tmp_path: Path) -> None:
    (tmp_path / "shard-000001.tar").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"shard-000001\.tar, which is in no index"):
        write_shards(cases, tmp_path, cases_per_shard=2)
    assert (tmp_path / "shard-000001.tar").read_bytes() == b"something else"


def test_what_cannot_be_written_is_one_clear_error(cases: list[EditCase], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cases_per_shard=0"):
        write_shards(cases, tmp_path, cases_per_shard=0)
    with pytest.raises(DataError, match="no case to write"):
        write_shards([], tmp_path)
    with pytest.raises(DataError, match="1 case ids occur more than once, set-eval-000000"):
        write_shards([*cases, text_case(0)], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written to .*file: "):
        write_shards(cases, tmp_path / "file")
    Path(str(cases[1].request.image)).unlink()
    with pytest.raises(DataError, match=r"1\.JPG of case set/é\.001 does not exist"):
        write_shards(cases, tmp_path / "shards")


@pytest.mark.parametrize("case_id", ["a", "a.b", "a/../b", "%61", "é", "", "x" * 200, "x" * 201, "..", "__a__"])
def test_keys_are_safe_names_of_their_own(case_id: str) -> None:
    key = safe_key(case_id)
    assert 0 < len(key) <= 72
    assert key.isascii()
    assert not set("./\\") & set(key)
    others = ["a", "ab", "x" * 199, "x" * 202, "%2561"]
    assert key not in [safe_key(other) for other in others if other != case_id]


def test_a_suffix_that_is_no_pictures_is_not_kept(tmp_path: Path) -> None:
    """webdataset's own decoders load a pickle from a member that is called so."""
    path = tmp_path / "harmless.pyd"
    picture(0).save(path, "PNG")
    case = EditCase("a", EditRequest(path, "What?", "That"), ())
    assert [*pack(case).pictures] == ["picture-000000.img"]
