"""Put an artefact on the Hugging Face hub, and get one from there. Ours."""

import re
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ldke_pl.edits.files import CONFIG, FILES, copy_files
from ldke_pl.edits.stored import Stored
from ldke_pl.errors import ArtefactError, LDKEError
from ldke_pl.upkeep.arguments import parse
from ldke_pl.upkeep.card import card, is_repo_id
from ldke_pl.upkeep.merge import require_free
from ldke_pl.upkeep.verify import read_files

CARD = "README.md"

BESIDE = {".gitattributes", CARD}
"""What a repository may hold before its first edits come: the hub makes the one, and offers to make the other."""

REASON = 300
"""Longest reason of a hub that is passed on, in characters."""


def push(argv: Sequence[str]) -> int:
    """DIR REPO [revision=BRANCH] [private=true|false]: upload an artefact to the Hugging Face hub.

    REPO is OWNER/NAME, or a NAME of your own; it is made if it is not there. The artefact's three files and a page
    about them, which names prompts and targets, are put there in one commit; nothing else in DIR is. Files and their
    checksums are looked at first. revision is the branch, by default main. A new repository is private, and one that
    is public is refused, unless private=false is given.
    """
    told = parse(argv, "DIR REPO", ("revision", "private"))
    folder, repo = Path(told.given[0]), _named(told.given[1])
    private, branch = told.flag("private", True), told.options.get("revision")
    with _written(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as temporary:
        # What is looked at is what is sent, whatever another process writes meanwhile.
        copy = Path(temporary)
        copy_files(folder, copy)
        stored = _checked(copy, str(folder), "restore the folder from a copy")
        api = HfApi()
        with _asked(repo, branch):
            name, hidden = _made(api, repo, private)
        page = card(stored, name, branch)
        with _asked(name, branch):
            url = _committed(api, copy, stored, page, name, branch)
    print(f"{name}: {len(stored.entries)} edits, {'private' if hidden else 'public'}")
    print(url)
    return 0


def pull(argv: Sequence[str]) -> int:
    """REPO OUT [revision=REV]: download an artefact from the Hugging Face hub into a new folder.

    REPO is OWNER/NAME, or a NAME of your own; revision is a branch, a tag or a commit, by default main. OUT appears
    when all is there and has its checksums. The base model is not loaded: `verify OUT` checks the rest.
    """
    told = parse(argv, "REPO OUT", ("revision",))
    repo, out = _named(told.given[0]), Path(told.given[1])
    revision = told.options.get("revision")
    require_free(out)
    with _written(out):
        api = HfApi()
        with _asked(repo, revision):
            name = _owned(api, repo)
            commit = api.model_info(name, revision=revision).sha
        place = next(folder for folder in out.resolve().parents if folder.is_dir())
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=place) as temporary:
            loaded = Path(temporary) / "loaded"
            with _asked(name, revision):
                # By its commit, as a branch can move; to a folder of its own, as the cache is no place for secrets.
                api.snapshot_download(name, revision=commit, local_dir=loaded, allow_patterns=[*FILES])
            stored = _checked(loaded, name, "push it again from a folder that `verify` finds no problems in")
            _put(loaded, Path(temporary) / "whole", out.resolve())
    print(f"{out}: {len(stored.entries)} edits of {stored.config['base']['name']!r}, from {name} at {commit}")
    print(f"`python -m ldke_pl.edits verify {out}` checks them against the base model")
    return 0


def _named(repo: str) -> str:
    if not is_repo_id(repo):
        raise ArtefactError(f"{repo!r} is no name of a repository.", "write OWNER/NAME, or NAME for one of your own")
    return repo


def _owned(api: HfApi, repo: str) -> str:
    """The name with its owner: who asks, where none is named."""
    return repo if "/" in repo else f"{api.whoami()['name']}/{repo}"


def _checked(folder: Path, called: str, hint: str) -> Stored:
    """An artefact whose files are whole.

    Args:
        called: what the user knows the folder by.

    Raises:
        ArtefactError: they are not.
    """
    try:
        stored, _, problems = read_files(folder)
    except ArtefactError as fault:
        raise _damaged([fault.message], folder, called, hint) from fault
    if problems:
        raise _damaged(problems, folder, called, hint)
    return stored


def _damaged(problems: Sequence[str], folder: Path, called: str, hint: str) -> ArtefactError:
    found = " ".join(problems).replace(str(folder), called)
    return ArtefactError(f"{called} is no whole set of edits: {found}", hint)


def _made(api: HfApi, repo: str, private: bool) -> tuple[str, bool]:
    """The repository's full name and whether it is private; it is made if it is not there.

    Raises:
        ArtefactError: it is public and should not be, or holds something else.
    """
    name = _owned(api, repo)
    api.create_repo(name, private=private, exist_ok=True)
    info = api.model_info(name)
    if private and not info.private:
        raise ArtefactError(
            f"{name} is public: everyone could read the edits.",
            "make it private, name another, or say private=false if that is what you want",
        )
    there = {file.rfilename for file in info.siblings or []}
    if CONFIG not in there and there - BESIDE:
        raise ArtefactError(f"{name} holds something else than edits.", "name a new repository")
    return name, bool(info.private)


def _committed(api: HfApi, copy: Path, stored: Stored, page: str, name: str, branch: str | None) -> str:
    """Put the files and the page there as one commit, and return its address.

    Every push writes the same four names, so that nothing of an earlier one is left.
    """
    if branch:
        api.create_branch(name, branch=branch, exist_ok=True)
    files = [CommitOperationAdd(file, str(copy / file)) for file in FILES]
    told = f"{len(stored.entries)} edits"
    added = [*files, CommitOperationAdd(CARD, page.encode())]
    return api.create_commit(name, added, commit_message=told, revision=branch).commit_url


def _put(loaded: Path, made: Path, out: Path) -> None:
    """Bring the three files, and nothing that the client has written beside them, to their place at once."""
    made.mkdir()
    for name in FILES:
        (loaded / name).replace(made / name)
    out.parent.mkdir(parents=True, exist_ok=True)
    made.replace(out)


@contextmanager
def _written(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise ArtefactError(f"Edits cannot be written to {place}: {fault}", "make room, or write elsewhere") from fault


@contextmanager
def _asked(repo: str, revision: str | None) -> Iterator[None]:
    """Tell what goes wrong at a hub, or on the way there, as one of our errors; what goes wrong here is passed on."""
    try:
        yield
    except LDKEError:
        raise
    except Exception as fault:  # of many kinds: of HTTP, storage and JSON libraries, which the client lets through
        if _is_of_this_machine(fault):
            raise
        raise _fault(fault, repo, revision or "main") from fault


def _is_of_this_machine(fault: Exception) -> bool:
    """Whether it is of files: a system error with a number, which errors of a hub and of connections lack."""
    return (
        isinstance(fault, OSError) and fault.errno is not None and not isinstance(fault, ConnectionError | TimeoutError)
    )


def _fault(fault: Exception, repo: str, revision: str) -> ArtefactError:
    login = "log in with `hf auth login`, or set HF_TOKEN"
    reason = _reason(fault)
    status = fault.response.status_code if isinstance(fault, HfHubHTTPError) else 0
    if isinstance(fault, RevisionNotFoundError):
        return ArtefactError(f"{repo} has no revision {revision!r}.", "give a branch, a tag or a commit of it")
    denied = isinstance(fault, GatedRepoError | DisabledRepoError | LocalTokenNotFoundError)
    if isinstance(fault, RepositoryNotFoundError) and not denied:
        return ArtefactError(
            f"There is no repository {repo}, or it is hidden from you.", f"check the name; if it is private, {login}"
        )
    if denied or status in (401, 403):
        return ArtefactError(f"The hub denies access to {repo}: {reason}", f"{login} to a token that may do this")
    if status:
        return ArtefactError(f"The hub refuses {repo} with status {status}: {reason}", "do what it says, or try later")
    return ArtefactError(
        f"The hub gives no answer for {repo}: {reason}",
        "check the network and HF_ENDPOINT; HF_HUB_OFFLINE must not be set",
    )


def _reason(fault: Exception) -> str:
    """What a hub or its client says, in one line and without a token, which an HTTP library may quote."""
    said = fault.server_message if isinstance(fault, HfHubHTTPError) else None
    lines = [line for line in (said or str(fault)).splitlines() if line.strip()] or [type(fault).__name__]
    text = re.sub(r"Bearer [^'\"\s]+", "Bearer ***", lines[0])
    token = get_token()
    return textwrap.shorten(text.replace(token, "***") if token else text, REASON)
