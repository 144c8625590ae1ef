"""Edits on a hub and back: the real client against a stand-in server on this machine."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Change, call_edits, check_fault, cut
from hub_server import TOKEN, Hub, online, serving
from huggingface_hub import HfApi

from ldke_pl import EditedModel
from ldke_pl.edits.files import CONFIG, DELTAS, FILES, ROUTER
from ldke_pl.upkeep.hub import _reason

ALL = {".gitattributes", "README.md", *FILES}


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    cache = tmp_path_factory.mktemp("hub") / "cache"
    with serving(monkeypatch, cache) as served:
        yield served
    assert not cache.exists(), "what is private stays out of the client's cache"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A place to write to, in a folder that exists and is empty."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pushed(*arguments: object) -> str:
    outcome = call_edits("push", *arguments)
    assert outcome.status == 0, outcome.err
    return outcome.out


def pulled(*arguments: object) -> str:
    outcome = call_edits("pull", *arguments)
    assert outcome.status == 0, outcome.err
    return outcome.out


def check_nothing(hub: Hub, folder: Path, *culprits: str) -> None:
    """A push that is refused, and asks the hub for nothing."""
    check_fault(call_edits("push", folder, "edits"), *culprits)
    assert hub.requests == []


def check_absent(out: Path, repo: str, *culprits: str) -> None:
    """A pull that is refused, and leaves nothing."""
    before = [*out.parent.iterdir()]
    repo, *more = repo.split()
    outcome = call_edits("pull", repo, out, *more)
    check_fault(outcome, *culprits)
    assert TOKEN not in outcome.out + outcome.err
    assert [*out.parent.iterdir()] == before


def test_what_is_pushed_is_pulled_byte_for_byte(hub: Hub, edits: Path, out: Path) -> None:
    (edits / ".lock").touch()
    (edits / "notes.txt").write_text("for nobody else")
    told = pushed(edits, "edits")
    (repository,) = hub.repositories.values()
    assert told == f"ada/edits: 2 edits, private\n{hub.endpoint}/ada/edits/commit/{repository.branches['main']}\n"
    assert repository.files().keys() == ALL
    told = pulled("edits", out)
    assert f"{out}: 2 edits of " in told and f"from ada/edits at {repository.branches['main']}\n" in told
    assert content(out) == {name: (edits / name).read_bytes() for name in FILES}
    assert [*out.parent.iterdir()] == [out]
    assert [*EditedModel.load(out).edits] == ["first", "second"]
    assert call_edits("verify", out).status == 0


def test_a_push_replaces_the_one_before_in_one_commit(hub: Hub, edits: Path, out: Path) -> None:
    pushed(edits, "ada/edits")
    (repository,) = hub.repositories.values()
    before = repository.branches["main"]
    assert call_edits("rollback", edits, "second").status == 0
    pushed(edits, "ada/edits")
    assert len(repository.commits) == 3  # an empty one, and one for each push
    assert repository.files().keys() == ALL
    assert "| second | rolled back |" in repository.files()["README.md"].decode()
    pulled("ada/edits", out)
    assert call_edits("diff", edits, out).out == "the same edits\n"
    assert content(out) == {name: (edits / name).read_bytes() for name in FILES}
    old = out.with_name("old")
    pulled("ada/edits", old, f"revision={before}")
    assert "+ second" in call_edits("diff", out, old).out


def test_the_same_pushed_again_is_no_new_commit(hub: Hub, edits: Path) -> None:
    assert pushed(edits, "edits") == pushed(edits, "edits")
    assert len(hub.repositories["ada/edits"].commits) == 2


def test_a_branch_is_made_and_pulled(hub: Hub, edits: Path, out: Path) -> None:
    pushed(edits, "edits", "revision=trial")
    repository = hub.repositories["ada/edits"]
    assert repository.files("trial").keys() == ALL and CONFIG not in repository.files()
    assert "pull ada/edits DIR revision=trial\n" in repository.files("trial")["README.md"].decode()
    check_absent(out, "edits", "ada/edits is no whole set of edits", f"ada/edits/{CONFIG}")
    pulled("edits", out, "revision=trial")
    assert content(out).keys() == {*FILES}


def test_what_a_process_that_died_left_is_pushed_whole(hub: Hub, edits: Path, out: Path) -> None:
    wanted = content(edits)
    (edits / DELTAS).rename(edits / f"{DELTAS}.partial")
    (edits / DELTAS).write_bytes(b"of before")
    pushed(edits, "edits")
    pulled("edits", out)
    assert content(out) == {name: wanted[name] for name in FILES}


def test_the_page_keeps_a_prompt_in_its_cell(hub: Hub, edits: Path) -> None:
    config = json.loads((edits / CONFIG).read_text())
    config["edits"][0]["prompt"] = "What is\na | b?"
    (edits / CONFIG).write_text(json.dumps(config))
    pushed(edits, "edits")
    page = hub.repositories["ada/edits"].files()["README.md"].decode()
    assert "| What is a \\| b? → first |\n" in page
    assert page.startswith("---\nlibrary_name: ldke-pl\n")  # its base is a folder, which no hub can link to


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        (lambda folder: (folder / DELTAS).unlink(), [DELTAS, "no such file"]),
        (cut(ROUTER), [ROUTER, "not what was written"]),
        (cut(CONFIG), [CONFIG, "cannot be read"]),
        (lambda folder: shutil.rmtree(folder), [CONFIG, "cannot be read"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_damaged_is_not_pushed(hub: Hub, edits: Path, change: Change, culprits: list[str]) -> None:
    change(edits)
    check_nothing(hub, edits, f"{edits} is no whole set of edits: {edits}/{culprits[0]}", *culprits)


def test_a_set_that_contradicts_itself_is_not_pushed(hub: Hub, edits: Path) -> None:
    config = json.loads((edits / CONFIG).read_text())
    config["edits"].append(config["edits"][0])
    (edits / CONFIG).write_text(json.dumps(config))
    check_nothing(hub, edits, "2 edits have the id 'first'")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("gone", [True, False])
def test_what_is_damaged_there_is_not_pulled(hub: Hub, edits: Path, out: Path, name: str, gone: bool) -> None:
    files = {file: (edits / file).read_bytes() for file in FILES}
    kept = {file: text for file, text in files.items() if file != name}
    hub.add("bo/edits", kept if gone else files | {name: files[name][:-40]})
    check_absent(out, "bo/edits", "bo/edits is no whole set of edits", f"bo/edits/{name} cannot be read")


def test_nothing_else_is_pulled(hub: Hub, edits: Path, out: Path) -> None:
    files = {file: (edits / file).read_bytes() for file in FILES}
    hub.add("bo/edits", files | {"run.pkl": b"x", f"deep/{CONFIG}": b"x", f"{DELTAS}.partial": b"x", ".lock": b"x"})
    pulled("bo/edits", out)
    assert content(out) == files


def test_a_place_that_is_taken_is_left_alone(hub: Hub, edits: Path, out: Path) -> None:
    out.mkdir()
    (out / "note").write_text("mine")
    check_absent(out, "ada/edits", "is not empty")
    assert hub.requests == [] and content(out) == {"note": b"mine"}


@pytest.mark.parametrize("place", ["empty", "link", "deep/er/out"])
def test_a_place_may_be_empty_linked_or_in_no_folder_yet(hub: Hub, edits: Path, out: Path, place: str) -> None:
    pushed(edits, "edits")
    (out.parent / "empty").mkdir()
    (out.parent / "link").symlink_to(out.parent / "empty")
    pulled("edits", out.parent / place)
    assert content(out.parent / place).keys() == {*FILES}
    assert call_edits("list", out.parent / place).status == 0


def test_a_public_repository_is_refused_unless_that_is_said(hub: Hub, edits: Path) -> None:
    hub.add("ada/open", {})
    check_fault(call_edits("push", edits, "open"), "ada/open is public", "private=false")
    check_fault(call_edits("push", edits, "open", "private=true"), "ada/open is public")
    assert len(hub.repositories["ada/open"].commits) == 1
    for name in ("open", "ada/new"):
        assert ": 2 edits, public\n" in pushed(edits, name, "private=false")
    check_fault(call_edits("push", edits, "open", "private=no"), "'no', which is neither true nor false")


def test_a_repository_of_something_else_is_refused(hub: Hub, edits: Path) -> None:
    model = hub.add("ada/model", {"config.json": b"{}", "README.md": b"My model."}, private=True)
    check_fault(call_edits("push", edits, "model"), "ada/model holds something else than edits")
    assert len(model.commits) == 1
    hub.add("ada/started", {"README.md": b"Soon."}, private=True)
    pushed(edits, "started")


def test_what_is_not_there_is_named(hub: Hub, edits: Path, out: Path) -> None:
    hub.add("bo/edits", {}, private=True)
    pushed(edits, "edits")
    check_absent(out, "ada/nothing", "There is no repository ada/nothing", "hf auth login")
    check_absent(out, "edits revision=gone", "edits has no revision 'gone'")
    for name in ("a b", "a/b/c", "../edits", str(out), ".", ""):
        check_fault(call_edits("pull", name, out), f"{name!r} is no name of a repository")
        check_fault(call_edits("push", edits, name), f"{name!r} is no name of a repository")
    check_fault(call_edits("push", edits, "bo/new"), "denies access to bo/new", "You may not create", "HF_TOKEN")


@pytest.mark.parametrize(("token", "told"), [(None, "no token found"), ("hf_wrong", "Invalid")])
def test_without_a_token_nothing_private_is_reached(
    hub: Hub, edits: Path, out: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, told: str
) -> None:
    pushed(edits, "edits")
    pushed(edits, "open", "private=false")
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    check_fault(call_edits("push", edits, "edits"), "denies access to edits", told, "hf auth login")
    check_fault(call_edits("push", edits, "ada/edits"), "denies access to ada/edits", "hf auth login")
    check_absent(out, "ada/edits", "ada/edits", "hf auth login")
    if not token:
        pulled("ada/open", out)


def test_a_token_is_not_told(hub: Hub, edits: Path, out: Path) -> None:
    hub.failing["models/ada"] = (500, f"Who sends {TOKEN}?")
    outcome = call_edits("push", edits, "ada/edits")
    check_fault(outcome, "refuses ada/edits with status 500: Who sends ***?")
    assert TOKEN not in outcome.out + outcome.err
    check_absent(out, "ada/edits", "status 500")
    assert _reason(ValueError("Illegal header value b'Bearer hf_other'")) == "Illegal header value b'Bearer ***'"


def test_a_commit_that_fails_changes_nothing(hub: Hub, edits: Path) -> None:
    pushed(edits, "edits")
    before = dict(hub.repositories["ada/edits"].branches)
    assert call_edits("rollback", edits, "second").status == 0
    hub.failing["edits/commit"] = (413, "too much")
    check_fault(call_edits("push", edits, "edits"), "refuses ada/edits with status 413: too much")
    assert hub.repositories["ada/edits"].branches == before


@pytest.mark.parametrize("offline", [True, False])
def test_without_network_one_message_comes(
    edits: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        online(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "cache")
        if offline:
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        reason = "offline mode" if offline else "Connection refused"
        check_absent(out, "ada/edits", "The hub gives no answer for ada/edits", reason, "HF_HUB_OFFLINE")
        check_fault(call_edits("push", edits, "ada/edits"), "The hub gives no answer for ada/edits", reason)


def test_what_is_no_hub_is_told(hub: Hub, edits: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_server.Handler._model", lambda *_: "Please log in to the network of this hotel.")
    check_absent(out, "ada/edits", "The hub gives no answer for ada/edits")


def test_a_full_disk_leaves_nothing(hub: Hub, edits: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, local_dir: Path, **__: Any) -> str:
        assert out.parent in local_dir.parents, "a folder can be renamed on its own disk alone"
        local_dir.mkdir()
        (local_dir / DELTAS).write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pushed(edits, "edits")
    monkeypatch.setattr(HfApi, "snapshot_download", full)
    check_absent(out, "edits", f"Edits cannot be written to {out}", "No space left")


def test_a_place_that_cannot_be_written_is_named(hub: Hub, edits: Path, out: Path) -> None:
    pushed(edits, "edits")
    out.with_name("file").write_text("no folder")
    place = out.with_name("file") / "out"
    check_fault(call_edits("pull", "edits", place), f"Edits cannot be written to {place}")
    assert content(out.parent) == {"file": b"no folder"}


def test_a_folder_that_cannot_be_copied_is_not_pushed(hub: Hub, edits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    check_nothing(hub, edits, f"{edits} cannot be copied to ", "No space left")


@pytest.mark.parametrize("name", ["push", "pull"])
def test_help_says_what_is_sent_and_what_is_checked(name: str) -> None:
    outcome = call_edits(name, "--help")
    assert outcome.status == 0
    for part in {"push": ["private", "nothing else in DIR"], "pull": ["checksums", "verify"]}[name]:
        assert part in outcome.out
