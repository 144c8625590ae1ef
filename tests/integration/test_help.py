"""Every command says what it is for when asked, and does nothing else."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in [ROOT / "edit.py", ROOT / "train.py", *(ROOT / "ldke_pl").rglob("*.py")]
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a module that a test has imported is run a second time
@pytest.mark.parametrize("module", MODULES)
def test_help(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code == 0
    called = f"python -m {module}" if "." in module else f"python {module}.py"
    assert called.removesuffix(".__main__") in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
