# SPDX-License-Identifier: Apache-2.0
"""A Hub on the loopback interface: enough of its HTTP API to load and push models and to load datasets, from memory.

It proves that client and server speak the same protocol, as read from the client's source; it is not the Hub.
"""

import json
import re
import socket
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import FIRST_COMMIT, Fault, Repository, Store, User, digest, entry
from hub_writes import WriteAnswers

READ = re.compile(r"/api/(models|datasets)/(.+?)(?:/(revision|tree|paths-info|commits)/([^/]+)(?:/(.*))?)?")
FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)")


class HubHandler(WriteAnswers, BaseHTTPRequestHandler):
    """Answers for the repositories of the store, and errors with the Hub's codes for everything else."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        """Keep quiet; requests are kept in `server.requests`."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        """Let the request fail if a fault says so, else route it."""
        address = urlsplit(self.path)
        raw = [unquote(part) for part in address.path.split("/")]
        self.query, request = parse_qs(address.query), f"{self.command} {'/'.join(raw)}"
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.server.store.fault(request)
        if fault is not None and fault.until is not None and fault.status is None:
            fault.until.wait(60)
            fault = None
        if fault is not None and fault.status is None and not fault.after:
            self.rfile.read(length // 2)
            self.drop()
            return
        self.body = self.read_body(length)
        self.server.requests.append(request)
        self.server.bodies.append(self.body)
        if fault is not None and not fault.after:
            self.send(fault.status, fault.body, {"Connection": "close"} if fault.until else fault.headers)
            if fault.until is not None:
                self.land(address.path, fault)
            return
        self.lost = fault is not None
        self.route(address.path)

    def land(self, address, fault):
        """Do late what was asked; nobody waits for the answer any more."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        fault.until.wait(60)
        self.gone = self.close_connection = True
        self.route(address)
        fault.landed.set()

    def read_body(self, length):
        """The whole body, sent at once or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(length)
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def drop(self):
        """Cut the connection."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def route(self, address):
        """Answer one request; slashes inside a name are still quoted in `address`."""
        if self.answer_write(address):
            return
        if read := READ.fullmatch(address):
            kind, name, what, revision, rest = [None if part is None else unquote(part) for part in read.groups()]
            self.answer_read(kind, name, what, revision, rest or "")
        elif file := FILE.fullmatch(address):
            kind, name, revision, rest = file.groups()
            self.answer_file("datasets" if kind else "models", name, unquote(revision), unquote(rest))
        else:
            self.send(404, b"")

    def user(self) -> User | None:
        """Who asks; `None` without a token."""
        words = (self.headers.get("Authorization") or "").split()
        return self.server.store.users.get(words[1]) if len(words) == 2 else None

    def find(self, kind, name) -> Repository | None:
        """A repository that this user may see, or `None` after an error was sent."""
        repository = self.server.store.repositories.get((kind, name))
        if "Authorization" in self.headers and self.server.store.users and self.user() is None:
            self.refuse(401, "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and not (self.user() and self.user().owns(name))):
            self.send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        else:
            return repository
        return None

    def find_commit(self, kind, name, revision):
        """The repository and the commit of a revision, or twice `None` after an error was sent."""
        repository = self.find(kind, name)
        if repository is not None:
            commit = repository.find(revision)
            if commit is not None:
                return repository, commit
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"No revision {revision}"})
        return None, None

    def answer_read(self, kind, name, what, revision, folder):
        """Repository info, history, folder listing, or info on some paths."""
        repository, commit = self.find_commit(kind, name, revision)
        if commit is None:
            return
        files = commit.files
        if what in (None, "revision"):
            info = {"id": name, "sha": commit.oid, "private": repository.private, "gated": False, "tags": []}
            info["siblings"] = [{"rfilename": path} for path in files]
            self.send_json({**info, "lastModified": "2024-01-01T00:00:00.000Z"})
        elif what == "commits":
            about = {"authors": [], "date": "2024-01-01T00:00:00.000Z", "message": ""}
            commits = repository.branches[revision]
            self.send_json([{"id": item.oid, "title": item.title, **about} for item in reversed(commits)])
        elif what == "paths-info":
            paths = parse_qs(self.body.decode()).get("paths", [])
            self.send_json([entry(path, files) for path in paths if entry(path, files)])
        else:
            inside = [path for path in files if path.startswith(folder)]
            parents = {path.rsplit("/", 1)[0] for path in inside if "/" in path}
            self.send_json([entry(path, files) for path in (*parents, *inside)])

    def answer_file(self, kind, name, revision, path):
        """Content of a file, whole or in part."""
        _, commit = self.find_commit(kind, name, revision)
        if commit is None:
            return
        if path not in commit.files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid})
            return
        content = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{digest(content)}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self.send(200, content, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(206, content[first : last + 1], headers)

    def refuse(self, status, message):
        """Answer with an error that says why."""
        body = json.dumps({"error": message}).encode()
        self.send(status, body, {"Content-Type": "application/json", "X-Error-Message": message})

    def send_json(self, value, status=200):
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, content, headers: Mapping[str, str] = {}):  # noqa: B006 (never written to)
        if getattr(self, "gone", False):
            return
        if getattr(self, "lost", False):
            self.lost = False
            self.drop()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class HubServer(ThreadingHTTPServer):
    """The server; `url` is the endpoint for `HF_ENDPOINT`, `requests` and `bodies` are what was asked."""

    daemon_threads = True

    def __init__(self, store: Store, port: int = 0):
        super().__init__(("127.0.0.1", port), HubHandler)
        self.store, self.requests, self.bodies, self.connections = store, [], [], set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def process_request(self, request, client_address):
        """Keep connections, so that they can be cut."""
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Clients that went away are no news."""

    def fail(self, pattern: str, **how) -> Fault:
        """Inject a [`Fault`]; it goes when [`mend`] is called, or after its `times`."""
        self.store.faults.append(Fault(pattern, **how))
        return self.store.faults[-1]

    def mend(self) -> None:
        """Remove all faults."""
        self.store.faults.clear()

    def repository(self, name: str) -> Repository:
        """A model repository."""
        return self.store.repositories["models", name]

    def close(self) -> None:
        """Go away: cut all connections; the port refuses new ones from then on. May be called again."""
        self.shutdown()
        self.server_close()
        self.thread.join()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def hub(repositories: Mapping[tuple[str, str], Mapping[str, bytes]], users: Mapping[str, User] = {}):  # noqa: B006
    """Serve repositories, `("models" or "datasets", name)` to path to content, while the context is open.

    Yields the server: `server.url` is the endpoint for `HF_ENDPOINT`, `server.requests` lists what was asked. `users`
    maps tokens to who they belong to; only they can push.
    """
    server = HubServer(Store(repositories, users))
    try:
        yield server
    finally:
        server.close()


__all__ = ["FIRST_COMMIT", "HubServer", "User", "hub"]
