"""Cases of a configuration, samples of them, and the early look at their pictures."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from published import FORMATS, N_ROWS, shared_row, write_json, write_published

from ldke_pl.config import DataConfig
from ldke_pl.data import EditCase, EditRequest, ImageSource, find_annotations
from ldke_pl.errors import ConfigError, DataError
from ldke_pl.runtime import data as runtime_data
from ldke_pl.runtime.data import check_images, load_cases, sampled

FIXTURES = Path(__file__).parents[2] / "fixtures" / "data"


def case(number: int, group: str = "", image: ImageSource | None = None) -> EditCase:
    return EditCase(f"case-{number}", EditRequest(image, "Who?", "Ada"), (), group=group)


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """A folder that holds one Atlas split under its usual name, and its pictures."""
    text = (FIXTURES / "atlas.json").read_text(encoding="utf-8")
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_file_is_found_under_the_root(annotations: Path) -> None:
    config = DataConfig(format="atlas", path=str(annotations / "mine.json"))
    with_path = load_cases(config)
    assert [c.case_id for c in with_path] == [f"atlas-mine-{i:06d}" for i in range(len(with_path))]
    published = DataConfig(format="vlkeb", root=str(annotations), split="nowhere")
    with pytest.raises(DataError, match=r"nowhere\.json does not exist"):
        load_cases(published)


def test_limit_takes_the_first_cases(annotations: Path) -> None:
    config = DataConfig(path=str(annotations / "mine.json"))
    everything = load_cases(config)
    assert len(everything) > 1
    assert load_cases(DataConfig(path=config.path, limit=1)) == everything[:1]


def test_atlas_is_written_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[Path, str]] = []

    def build(root: Path, split: str) -> Path:
        built.append((root, split))
        root.mkdir(parents=True, exist_ok=True)
        return FIXTURES / "atlas.json"

    monkeypatch.setattr(runtime_data, "build", build)
    monkeypatch.setattr(runtime_data, "read_cases", lambda *args, **rest: [case(0)])
    load_cases(DataConfig(root=str(tmp_path)))
    load_cases(DataConfig(root=str(tmp_path)), "router-val")
    load_cases(DataConfig())
    assert built == [
        (tmp_path, "edit-eval"),
        (tmp_path, "router-val"),
        (runtime_data.ATLAS_WORLD, "edit-eval"),
    ]


def test_unknown_atlas_split_names_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"no split 'test'[\s\S]*router-train, router-val, edit-eval"):
        load_cases(DataConfig(split="test"))


def test_sample_takes_so_many_of_every_group() -> None:
    cases = [case(i, group) for i, group in enumerate("aabab")]
    assert [c.case_id for c in sampled(cases, 2)] == ["case-0", "case-1", "case-2", "case-4"]
    assert [c.case_id for c in sampled(cases, 1)] == ["case-0", "case-2"]
    assert sampled(cases, None) == cases


def test_damaged_picture_is_found_before_any_edit(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (4, 4)).save(good)
    bad.write_text("no picture")
    check_images([case(0, image=good), case(1), case(3, image=Image.new("RGB", (4, 4)))])
    with pytest.raises(DataError, match=r"bad\.png of case case-2 cannot be read as an image"):
        check_images([case(0, image=good), case(2, image=bad)])


@pytest.fixture
def splits(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A training and an evaluation file that share two of three and two of four rows, and their image root."""
    root = tmp_path / "root"
    rows = [shared_row(root, i) for i in range(5)]
    return write_json(tmp_path / "train.json", rows[:3]), write_json(tmp_path / "eval.json", rows[1:]), root


def test_evaluation_is_cleaned_of_the_training_file(
    splits: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    train, evaluation, root = splits
    config = DataConfig(format="vlkeb", path=str(evaluation), root=str(root), train=str(train), deleak=True)
    cases = load_cases(config)
    assert [c.case_id for c in cases] == ["vlkeb-eval-000002", "vlkeb-eval-000003"]
    assert f"2 of 4 cases and 10 of 20 probes left out, which {train} holds too" in caplog.text
    assert len(load_cases(replace(config, deleak=False))) == 4


def test_training_is_cleaned_of_the_evaluation_file(splits: tuple[Path, Path, Path]) -> None:
    train, evaluation, root = splits
    config = DataConfig(format="vlkeb", path=str(train), root=str(root), eval=str(evaluation), deleak=True)
    assert [c.case_id for c in load_cases(config)] == ["vlkeb-train-000000"]
    assert [c.case_id for c in load_cases(config, "router-val")] == ["vlkeb-train-000000"]


def test_rows_of_the_other_file_that_cannot_be_read_are_counted(
    splits: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    train, evaluation, root = splits
    write_json(train, [None, shared_row(root, 1)])
    config = DataConfig(format="vlkeb", path=str(evaluation), root=str(root), train=str(train), deleak=True)
    assert len(load_cases(config)) == 3
    assert f"1 problems in {train}" in caplog.text


def test_cleaning_that_leaves_nothing_is_an_error(splits: tuple[Path, Path, Path]) -> None:
    train, _, root = splits
    config = DataConfig(format="vlkeb", path=str(train), root=str(root), train=str(train), deleak=True)
    with pytest.raises(DataError, match=r"Every case also occurs in .*train\.json"):
        load_cases(config)


def test_pictures_of_a_plain_file_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "mine" / "cup.png")
    write_json(tmp_path / "mine" / "edits.json", [{"image": "cup.png", "prompt": "Whose?", "target": "Ada's"}])
    monkeypatch.chdir(tmp_path)
    (found,) = load_cases(DataConfig(format="plain", path="mine/edits.json"))
    assert found.request.image == (tmp_path / "mine" / "cup.png").resolve()
    with pytest.raises(DataError, match=r"missing under \."):
        load_cases(DataConfig(format="plain", path="mine/edits.json", root="."))


@pytest.mark.parametrize("format", FORMATS)
def test_made_up_set_of_every_format_is_loaded(format: str, tmp_path: Path) -> None:
    path, root = write_published(format, tmp_path)
    cases = load_cases(DataConfig(format=format, path=str(path), root=str(root)))
    assert len(cases) >= N_ROWS
    check_images(cases)


@pytest.mark.parametrize("name", ["edits.json", "edits.jsonl", "edits.csv", "edits"])
def test_file_of_the_usual_name_may_be_of_any_kind(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert find_annotations(tmp_path, "edits") == tmp_path / name
    assert find_annotations(tmp_path, "others") == tmp_path / "others.json"
