"""``python -m ldke_pl.app`` from its arguments to an open session, without serving a page."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from ldke_pl.app import __main__ as command
from ldke_pl.app.examples import TARGET, examples_for
from ldke_pl.app.opening import open_session
from ldke_pl.app.session import Written
from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR, AppConfig, load_config
from ldke_pl.data import EditRequest, load_image
from ldke_pl.errors import ConfigError


def config(*arguments: str) -> AppConfig:
    return load_config(AppConfig, CONF_DIR / "app.yaml", arguments)


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(key in told for key in ("python -m ldke_pl.app", "  model.name:", "  edits:", "  port:"))


@pytest.mark.parametrize(("argument", "told"), [("prt=1", "did you mean port"), ("port=0", "must be >= 1")])
def test_a_wrong_argument_is_one_message(argument: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(lambda: command.main([argument])) == 2
    assert told in capsys.readouterr().err


def test_a_missing_package_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Gradio") as fault:
        command.main([])
    assert fault.value.hint == "pip install 'ldke-pl[app]'"


def test_the_page_is_served_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = SimpleNamespace(edited=SimpleNamespace(backbone=SimpleNamespace(name="mine")), close=Mock())
    page = Mock()
    monkeypatch.setattr(command, "find_spec", lambda name: object())
    monkeypatch.setattr(command, "open_session", lambda config: session)
    monkeypatch.setattr(command, "serve", lambda *given: page if given == (session, 7999) else None)
    page.block_thread.side_effect = session.close.assert_not_called
    assert command.main(["port=7999"]) == 0
    assert capsys.readouterr().out == "mine: http://127.0.0.1:7999 (Ctrl-C ends)\n"
    page.block_thread.assert_called_once_with()
    session.close.assert_called_once_with()


def test_a_session_of_atlas_is_taken_up_again(tmp_path: Path) -> None:
    """What the page offers on Atlas is true of it: the edit spreads, and what it does not touch stays."""
    session = open_session(config())
    examples = examples_for("atlas", tmp_path)
    picture, (told, _) = load_image(examples.pictures[0][0]), examples.edits
    assert session.kinds == ["attribute", "entity"] and session.localization.score == "readout"
    before = {q: session.ask(picture if q.pictured else None, q.prompt) for q in examples.questions}
    assert before[examples.questions[0]].base == examples.pictures[0][1]
    *_, last = session.edit(EditRequest(picture, told.prompt, told.target, told.kind))
    assert isinstance(last, Written) and last.again.edited == TARGET and last.entry.sites == ("connector",)
    after = {q: session.ask(picture if q.pictured else None, q.prompt) for q in examples.questions}
    moved = [after[q].edited != before[q].edited for q in examples.questions]
    assert moved == [True, True, True, False, False]
    assert [after[q].route is not None for q in examples.questions] == moved
    session.edited.save(tmp_path / "edits")
    session.close()
    again = open_session(config(f"edits={tmp_path / 'edits'}"))
    assert again.entries() == [last.entry]
    assert again.ask(picture, told.prompt) == last.again
    assert again.kinds == session.kinds and again.localization.score == "readout"
    again.close()


def test_every_picture_to_pick_from_is_known_to_the_model(tmp_path: Path) -> None:
    session = open_session(config())
    for file, name in examples_for("atlas", tmp_path).pictures:
        assert session.ask(load_image(file), "Which country is this?").base == name
    session.close()


def test_another_model_has_no_examples(tmp_path: Path) -> None:
    examples = examples_for(str(tmp_path), tmp_path)
    assert (examples.pictures, examples.questions, examples.edits) == ([], (), ())
    assert examples_for("data/atlas_qwen2_vl/model", tmp_path).questions
