"""Annotation files that cannot be read at all, paths that try to leave the image root, pictures that are missing."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldke_pl.data import case_images, parse_cases, read_cases
from ldke_pl.data.readers.fields import join_image
from ldke_pl.data.readers.parse import load_rows
from ldke_pl.errors import ConfigError, DataError

FixtureFile = Callable[[str], Path]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is truncated"),
        (b'[{"src": "Which', "is truncated: it ends too early, in line 1"),
        (b'[{"src": "Which"},\n', "is truncated: it ends too early, in line 2"),
        (b'{"src": "Which"}\n{"src": "Who"}', "more than one JSON value (line 2, column 1)"),
        (b"version 1", "is not JSON: Expecting value (line 1, column 1)"),
        (b'[{"src": Which}]', "is not JSON: Expecting value (line 1, column 10)"),
        (b'{"src": "Which"}', "holds an object, not a list"),
        (b"[]", "has no rows"),
        (b'["\xff"]', "is not UTF-8 text (byte 2)"),
        (b"[" * 100_000 + b"]" * 100_000, "cannot be read: maximum recursion depth"),
        (b"[" + b"9" * 5000 + b"]", "cannot be read: Exceeds the limit"),
    ],
)
def test_an_unreadable_file_is_one_clear_error(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "eval.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_cases("vlkeb", path, None)
    assert str(path) in caught.value.message
    assert reason in caught.value.message
    assert "data/README.md" in caught.value.hint


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json does not exist") as caught:
        read_cases("mmedit", tmp_path / "nowhere.json", None)
    assert "data/README.md" in caught.value.hint


def test_a_folder_is_no_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened: Is a directory"):
        read_cases("mmedit", tmp_path, None)


def test_a_byte_order_mark_is_harmless(fixture_file: FixtureFile, tmp_path: Path) -> None:
    source = fixture_file("vlkeb_onehop.json")
    marked = tmp_path / source.name
    marked.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    assert read_cases("vlkeb", marked, None) == read_cases("vlkeb", source, None)


def test_a_file_cut_anywhere_is_called_truncated(fixture_file: FixtureFile, tmp_path: Path) -> None:
    text = fixture_file("vlkeb_multihop.json").read_text().rstrip()
    path = tmp_path / "cut.json"
    for length in range(0, len(text), 7):
        path.write_text(text[:length])
        with pytest.raises(DataError, match="is truncated"):
            load_rows(path)


def test_paths_are_joined_to_the_root(fixture_file: FixtureFile, vlkeb_root: Path) -> None:
    cases = read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), vlkeb_root)
    assert cases[0].request.image == vlkeb_root / "m.0made1" / "google_1.jpg"
    assert all(path.is_file() for case in cases for path in case_images(case))
    assert cases[0].entity == "m.0made1"


def test_the_root_may_be_a_link(fixture_file: FixtureFile, vlkeb_root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(vlkeb_root)
    path = fixture_file("vlkeb_onehop.json")
    assert read_cases("vlkeb", path, link) == read_cases("vlkeb", path, vlkeb_root)


def test_a_link_out_of_the_root_is_refused(fixture_file: FixtureFile, vlkeb_root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    (vlkeb_root / "m.0made2" / "bing_8.jpg").rename(secret)
    (vlkeb_root / "m.0made2" / "bing_8.jpg").symlink_to(secret)
    (problem,) = parse_cases("vlkeb", fixture_file("vlkeb_onehop.json"), vlkeb_root).problems
    assert (problem.row, problem.key) == (1, "image_rephrase")
    assert "symbolic link" in problem.reason


@pytest.mark.parametrize(
    "value", ["/a.jpg", "../a.jpg", "a/../../b.jpg", "C:\\a.jpg", "\\\\host\\a.jpg", "a\\..\\b.jpg", "a\0.jpg"]
)
def test_foreign_paths_are_refused_with_and_without_a_root(value: str, tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(ValueError, match=r"path|null"):
            join_image(value, root)


@settings(deadline=None)
@given(parts=st.lists(st.sampled_from(["..", ".", "", "a", "b.jpg", "c:", "~", "/"]), min_size=1, max_size=6))
def test_no_path_ever_leaves_the_root(parts: list[str]) -> None:
    root = Path(os.path.realpath("images"))
    try:
        joined = join_image("/".join(parts), root)
    except ValueError:
        return
    assert Path(os.path.normpath(joined)).is_relative_to(root)


def test_missing_images_are_listed_with_their_cases(fixture_file: FixtureFile, vlkeb_root: Path) -> None:
    (vlkeb_root / "m.0made9" / "bing_3.jpg").unlink()
    (vlkeb_root / "m.0made2" / "bing_7.jpg").unlink()
    with pytest.raises(DataError) as caught:
        read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), vlkeb_root)
    message = caught.value.message
    assert f"2 image files are missing under {vlkeb_root}, named by 2 of 2 cases" in message
    assert f"{vlkeb_root / 'm.0made9' / 'bing_3.jpg'} (case vlkeb-vlkeb_onehop-000000 and 1 more cases)" in message
    assert f"{vlkeb_root / 'm.0made2' / 'bing_7.jpg'} (case vlkeb-vlkeb_onehop-000001)" in message
    assert "missing_images=skip" in caught.value.hint


def test_a_long_list_of_missing_images_is_cut_and_counted(fixture_file: FixtureFile, tmp_path: Path) -> None:
    row = json.loads(fixture_file("mmedit_vqa.json").read_text())[0]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row | {"image": f"{index}.jpg"} for index in range(30)]))
    with pytest.raises(DataError) as caught:
        read_cases("mmedit", path, tmp_path)
    assert "32 image files" in caught.value.message
    assert "... and 12 more files." in caught.value.message


def test_a_limit_needs_only_the_pictures_of_its_cases(fixture_file: FixtureFile, vlkeb_root: Path) -> None:
    (vlkeb_root / "m.0made2" / "bing_7.jpg").unlink()
    path = fixture_file("vlkeb_onehop.json")
    assert len(read_cases("vlkeb", path, vlkeb_root, limit=1)) == 1


def test_skip_drops_incomplete_cases_and_logs_the_count(
    fixture_file: FixtureFile, vlkeb_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (vlkeb_root / "m.0made1" / "yahoo_2.jpg").unlink()
    path = fixture_file("vlkeb_onehop.json")
    with caplog.at_level(logging.WARNING):
        cases = read_cases("vlkeb", path, vlkeb_root, missing_images="skip")
    assert [case.case_id for case in cases] == ["vlkeb-vlkeb_onehop-000001"]
    assert "1 of 2 cases dropped" in caplog.text
    assert read_cases("vlkeb", path, vlkeb_root, missing_images="skip", limit=1) == cases


def test_skip_is_silent_where_nothing_is_missing(
    fixture_file: FixtureFile, vlkeb_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), vlkeb_root, missing_images="skip")) == 2
    assert caplog.text == ""


def test_skip_that_leaves_nothing_is_an_error(fixture_file: FixtureFile, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Every one of the 2 cases lacks an image"):
        read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), tmp_path, missing_images="skip")


def test_a_file_name_too_long_for_the_disk_is_missing(fixture_file: FixtureFile, tmp_path: Path) -> None:
    row = json.loads(fixture_file("mmedit_vqa.json").read_text())[0]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row | {"image": "a" * 5000}]))
    with pytest.raises(DataError, match="3 image files are missing"):
        read_cases("mmedit", path, tmp_path)


def test_an_image_root_that_is_no_folder_is_one_error(fixture_file: FixtureFile, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Image root .* is not a folder"):
        read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), tmp_path / "nowhere")


def test_an_unknown_policy_names_the_choices(fixture_file: FixtureFile) -> None:
    with pytest.raises(ConfigError) as caught:
        read_cases("vlkeb", fixture_file("vlkeb_onehop.json"), None, missing_images="skp")
    assert caught.value.hint == 'Did you mean "skip"? Choices: error, skip.'


def test_case_images_include_probes_and_ceilings(fixture_file: FixtureFile) -> None:
    case: Any = read_cases("atlas", fixture_file("atlas.json"), None)[0]
    assert {path.name for path in case_images(case)} == {
        "velmora_0.png",
        "velmora_1.png",
        "ostrel_0.png",
        "tarnia_0.png",
    }
