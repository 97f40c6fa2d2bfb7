# SPDX-License-Identifier: Apache-2.0
"""A read-only Hub on the loopback interface: enough of its HTTP API to load models and datasets from memory."""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
API = re.compile(r"/api/(models|datasets)/(.+?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)")


class HubHandler(BaseHTTPRequestHandler):
    """Answers for the repositories that the server holds, 404 with the Hub's error codes for everything else."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Keep quiet; requests are kept in `server.requests`."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        """Route one request."""
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.requests.append(f"{self.command} {path}")
        if api := API.fullmatch(path):
            kind, name, what, revision, rest = api.groups()
            self.answer_api(kind, name, what, revision, rest or "", parse_qs(body).get("paths", []))
        elif file := FILE.fullmatch(path):
            kind, name, revision, rest = file.groups()
            self.answer_file("datasets" if kind else "models", name, revision, rest)
        else:
            self.send(404, b"")

    def find(self, kind, name, revision):
        """Files of a repository, or `None` after an error was sent."""
        files = self.server.repositories.get((kind, name))
        if files is None:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", COMMIT):
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return files
        return None

    def answer_api(self, kind, name, what, revision, folder, paths):
        """Repository info, folder listing, or info on some paths."""
        files = self.find(kind, name, revision)
        if files is None:
            return
        if what in (None, "revision"):
            siblings = [{"rfilename": path} for path in files]
            info = {"id": name, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": siblings}
            self.send_json({**info, "lastModified": "2024-01-01T00:00:00.000Z"})
        elif what == "paths-info":
            self.send_json([entry(path, files) for path in paths if entry(path, files)])
        else:
            inside = [path for path in files if path.startswith(folder)]
            parents = {path.rsplit("/", 1)[0] for path in inside if "/" in path}
            self.send_json([entry(path, files) for path in (*parents, *inside)])

    def answer_file(self, kind, name, revision, path):
        """Content of a file, whole or in part."""
        files = self.find(kind, name, revision)
        if files is None:
            return
        if path not in files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content, headers = files[path], {"X-Repo-Commit": COMMIT, "ETag": f'"{digest(files[path])}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self.send(200, content, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(206, content[first : last + 1], headers)

    def send_json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, content, headers: Mapping[str, str] = {}):  # noqa: B006 (never written to)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def digest(content: bytes) -> str:
    """Identity of a file's content, as git computes it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(path: str, files: Mapping[str, bytes]) -> dict | None:
    """How the Hub lists a file or a folder; `None` if there is no such path."""
    if path in files:
        return {"type": "file", "path": path, "size": len(files[path]), "oid": digest(files[path])}
    if any(name.startswith(path + "/") for name in files):
        return {"type": "directory", "path": path, "oid": digest(path.encode())}
    return None


@contextmanager
def hub(repositories: Mapping[tuple[str, str], Mapping[str, bytes]]):
    """Serve repositories, `("models" or "datasets", name)` to path to content, while the context is open.

    Yields the server: `server.url` is the endpoint for `HF_ENDPOINT`, `server.requests` lists what was asked.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    server.daemon_threads = True
    server.repositories, server.requests = repositories, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
