"""A stand-in for the Hugging Face hub: as much of it, over HTTP on this machine, as the real client asks for.

It knows one user, ``ada``, by one token. Private repositories are hidden from everyone else. Every file is a regular
one, sent within the commit.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants

TOKEN = "hf_of_ada_and_of_nobody_else"

Files = dict[str, bytes]


@dataclass
class Repository:
    """Files by commit, and commits by branch."""

    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files) -> str:
        sha = hashlib.sha1(repr((len(self.commits), branch, sorted(files.items()))).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def files(self, branch: str = "main") -> Files:
        return self.commits[self.branches[branch]]


@dataclass
class Hub:
    """What there is, and what was asked for.

    Args:
        failing: part of a path -> status and message that every request for it is answered with.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failing: dict[str, tuple[int, str]] = field(default_factory=dict)
    endpoint: str = ""

    def add(self, name: str, files: Files, *, private: bool = False) -> Repository:
        found = self.repositories[name] = Repository(private)
        found.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n", **files})
        return found


class RefusedError(Exception):
    """An answer that is an error: its status, the code that the client reads, the message, and what else it says."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append(f"{self.command} {path}")
        try:
            for part, (status, message) in self.hub.failing.items():
                if part in path:
                    raise RefusedError(status, "", message)
            first, *rest = path.split("/")
            if first == "api":
                self._send(200, json.dumps(self._api(rest, body)).encode())
            else:
                self._file([first, *rest])
        except RefusedError as refused:
            told = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, json.dumps({"error": refused.message} | refused.more).encode(), told)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @property
    def _known(self) -> bool:
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise RefusedError(401, "", "Invalid credentials in Authorization header")
        return given is not None

    def _api(self, parts: list[str], body: bytes) -> Any:
        match parts:
            case ["whoami-v2"]:
                self._require_known()
                return {"name": "ada"}
            case ["validate-yaml"]:
                yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
                return {"errors": [], "warnings": []}
            case ["repos", "create"]:
                return self._create(json.loads(body))
            case ["models", owner, name, *rest]:
                return self._model(f"{owner}/{name}", rest, body)
        raise RefusedError(404, "", f"no such path: {parts}")

    def _require_known(self) -> None:
        if not self._known:
            raise RefusedError(401, "", "You must be logged in")

    def _create(self, asked: dict[str, Any]) -> dict[str, str]:
        self._require_known()
        name = f"{asked['organization'] or 'ada'}/{asked['name']}"
        if not name.startswith("ada/"):
            raise RefusedError(403, "", "You may not create repositories there")
        if name in self.hub.repositories:
            raise RefusedError(409, "", "You already created this model repo", url=f"{self.hub.endpoint}/{name}")
        self.hub.add(name, {}, private=asked.get("visibility") == "private" or asked.get("private") is True)
        return {"url": f"{self.hub.endpoint}/{name}"}

    def _repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self._known):
            raise RefusedError(404 if self._known else 401, "RepoNotFound", "Repository not found")
        return found

    def _sha(self, found: Repository, revision: str) -> str:
        sha = found.branches.get(revision, revision)
        if sha not in found.commits:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def _model(self, name: str, parts: list[str], body: bytes) -> Any:
        found = self._repository(name)
        match parts:
            case [] | ["revision", _]:
                sha = self._sha(found, parts[1] if parts else "main")
                siblings = [{"rfilename": file} for file in found.commits[sha]]
                return {"id": name, "sha": sha, "private": found.private, "siblings": siblings}
            case ["tree", revision]:
                files = found.commits[self._sha(found, revision)]
                return [{"type": "file", "path": n, "size": len(c), "oid": blob(c)} for n, c in files.items()]
            case ["branch", branch]:
                found.branches.setdefault(branch, found.branches["main"])
                return {}
            case ["preupload", revision]:
                there = found.commits[self._sha(found, revision)]
                names = [file["path"] for file in json.loads(body)["files"]]
                oids = {n: blob(there[n]) if n in there else None for n in names}
                mode = {"uploadMode": "regular", "shouldIgnore": False}
                return {"files": [{"path": n, "oid": oids[n], **mode} for n in names]}
            case ["commit", branch]:
                self._require_known()
                return self._commit(name, found, branch, [json.loads(line) for line in body.splitlines()])
        raise RefusedError(404, "", f"no such path: {parts}")

    def _commit(self, name: str, found: Repository, branch: str, lines: list[dict[str, Any]]) -> dict[str, str]:
        files = dict(found.commits[self._sha(found, branch)])
        assert lines[0]["key"] == "header"
        for line in lines[1:]:
            assert line["key"] == "file"
            files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        sha = found.commit(branch, files)
        return {"commitUrl": f"{self.hub.endpoint}/{name}/commit/{sha}", "commitOid": sha}

    def _file(self, parts: list[str]) -> None:
        owner, name, resolve, revision, *path = parts
        assert resolve == "resolve"
        found = self._repository(f"{owner}/{name}")
        sha = self._sha(found, revision)
        content = found.commits[sha].get("/".join(path))
        if content is None:
            raise RefusedError(404, "EntryNotFound", "Entry not found")
        self._send(200, content, {"ETag": f'"{blob(content)}"', "X-Repo-Commit": sha})


def blob(content: bytes) -> str:
    """Git's name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(patch: pytest.MonkeyPatch, cache: Path, token: str | None = TOKEN) -> Iterator[Hub]:
    """A hub that the client talks to in place of the real one, with a cache of its own."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    online(patch, hub.endpoint, cache, token)
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()


def online(patch: pytest.MonkeyPatch, endpoint: str, cache: Path, token: str | None = TOKEN) -> None:
    """Let the client ask at ``endpoint``, with a cache and a token of its own."""
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "ENDPOINT", endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.delenv("HF_TOKEN", raising=False)
    patch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    if token:
        patch.setenv("HF_TOKEN", token)
    huggingface_hub.close_session()
