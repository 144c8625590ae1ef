"""What the data tests share: the fixture files, and made-up pictures at the paths that an annotation file names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

FIXTURES = Path(__file__).parents[2] / "fixtures" / "data"


@pytest.fixture
def fixture_file() -> Callable[[str], Path]:
    return lambda name: FIXTURES / name


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[Any], Path]:
    def write(rows: Any) -> Path:
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def vlkeb_root(tmp_path: Path) -> Path:
    """An image root that has every picture of ``vlkeb_onehop.json``."""
    root = tmp_path / "images"
    for name in ("m.0made1/google_1", "m.0made1/yahoo_2", "m.0made2/bing_7", "m.0made2/bing_8", "m.0made9/bing_3"):
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "teal").save(path)
    return root
