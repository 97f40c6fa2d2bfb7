# SPDX-License-Identifier: Apache-2.0
"""What the loopback Hub keeps: repositories with their history, users with their tokens, and faults to inject."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event, Lock

FIRST_COMMIT = "c0ffee" + "0" * 34
LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".parquet")


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    parent: str | None
    files: Mapping[str, bytes]


@dataclass
class Repository:
    """Branches of commits; each commit holds all files of its state."""

    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    pull_requests: int = 0

    @classmethod
    def of(cls, files: Mapping[str, bytes], private: bool = False) -> "Repository":
        """A repository with one commit on `main`."""
        return cls(private, {"main": [Commit(FIRST_COMMIT, "initial commit", None, dict(files))]})

    def find(self, revision: str | None) -> Commit | None:
        """Commit of a branch or an id; `None` if there is none."""
        if (revision or "main") in self.branches:
            return self.branches[revision or "main"][-1]
        return next(
            (commit for commits in self.branches.values() for commit in commits if commit.oid == revision), None
        )

    def add(self, branch: str, title: str, files: Mapping[str, bytes]) -> Commit:
        """Put a new state at the end of a branch."""
        parent = self.branches[branch][-1].oid
        content = "".join(f"{path} {digest(data)}" for path, data in sorted(files.items()))
        commit = Commit(hashlib.sha1(f"{parent}{title}{content}".encode()).hexdigest(), title, parent, dict(files))
        self.branches[branch].append(commit)
        return commit

    @property
    def commits(self) -> list[Commit]:
        """History of `main`, oldest first."""
        return self.branches["main"]

    @property
    def files(self) -> Mapping[str, bytes]:
        """Latest state of `main`."""
        return self.commits[-1].files


@dataclass(frozen=True)
class User:
    """Who a token belongs to; `role` is "write" or "read"."""

    name: str
    role: str = "write"
    organizations: tuple[str, ...] = ()

    def owns(self, repo: str) -> bool:
        return repo.split("/")[0] in (self.name, *self.organizations)


@dataclass
class Fault:
    """Something that goes wrong with requests whose `METHOD /path` matches.

    Args:
        pattern: Regular expression, searched.
        status: Answer with it; `None` drops the connection instead, with half of the body read.
        times: How often, `None` for ever.
        headers: Headers of the answer.
        after: Do what was asked first, and only lose the answer.
        body: Body of the answer.
        until: Wait for this event, and then do what was asked; with a `status`, answer with it before the wait.
        landed: Set once a request that was answered before its time has been done.
    """

    pattern: str
    status: int | None = None
    times: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: bool = False
    body: bytes = b"out of order"
    until: Event | None = None
    landed: Event = field(default_factory=Event)
    hits: int = 0

    def strikes(self, request: str) -> bool:
        """Whether this request fails; counts it."""
        if (self.times is not None and self.hits >= self.times) or not re.search(self.pattern, request):
            return False
        self.hits += 1
        return True


class Store:
    """Everything the server knows. Repositories are given as path to content, or as [`Repository`]."""

    def __init__(self, repositories: Mapping[tuple[str, str], Mapping[str, bytes]], users: Mapping[str, User]):
        self.repositories = {key: Repository.of(files) for key, files in repositories.items()}
        self.users = dict(users)
        self.faults: list[Fault] = []
        self.lfs: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = Lock()
        self.part_size: int | None = None

    def fault(self, request: str) -> Fault | None:
        """The first fault that strikes a request."""
        with self.lock:
            return next((fault for fault in self.faults if fault.strikes(request)), None)


def is_lfs(path: str) -> bool:
    """Whether the Hub wants a file through LFS."""
    return path.endswith(LFS_SUFFIXES)


def digest(content: bytes) -> str:
    """Identity of a file's content, as git computes it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def file_id(path: str, content: bytes) -> str:
    """Identity of a file as `preupload` reports it."""
    return hashlib.sha256(content).hexdigest() if is_lfs(path) else digest(content)


def entry(path: str, files: Mapping[str, bytes]) -> dict | None:
    """How the Hub lists a file or a folder; `None` if there is no such path."""
    if path in files:
        size = len(files[path])
        listed = {"type": "file", "path": path, "size": size, "oid": digest(files[path])}
        if is_lfs(path):
            listed["lfs"] = {"oid": file_id(path, files[path]), "size": size, "pointerSize": 130}
        return listed
    if any(name.startswith(path + "/") for name in files):
        return {"type": "directory", "path": path, "oid": digest(path.encode())}
    return None
