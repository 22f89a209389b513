"""A small Hugging Face hub on loopback: model info, tree, resolve, redirects, ranges, and faults.

Large files are redirected to another host name with a signed address, as the real hub does.
"""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

LARGE = 1000
SIGNATURE = "Signature=do-not-log-me"
PAGE = 3
CHUNK = 1 << 16


@dataclass
class Request:
    """One answered request: `start` of the asked range, body bytes `sent`."""

    method: str
    path: str
    status: int
    start: int = 0
    sent: int = 0
    authorised: bool = False


@dataclass
class Faults:
    """What goes wrong, by file name; a count or list is used up."""

    cut_at: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    wrong_bytes: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    listed_too: list[str] = field(default_factory=list)
    token: str = ""
    bytes_per_second: float = float("inf")
    whole_files_only: bool = False
    stall_seconds: dict[str, float] = field(default_factory=dict)


class Hub:
    """Repositories as {name: {file: content}}; a branch is the hash of its content."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.faults = Faults()
        self.requests: list[Request] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def push(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Make the files a new commit at the head of a branch and return the commit."""
        content = "".join(
            f"{file}{hashlib.sha256(body).hexdigest()}" for file, body in files.items()
        )
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.repositories.setdefault(name, {})[commit] = dict(files)
        self.branches[name, branch] = commit
        return commit

    def downloads(self, file: str) -> list[Request]:
        """Return the requests that were answered with content of a file."""
        return [r for r in self.requests if r.method == "GET" and r.path == file and r.sent]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path, query = unquote(urlsplit(self.path).path), urlsplit(self.path).query
            if info := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
                self._info(*info.groups())
            elif tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
                self._tree(*tree.groups(), query)
            elif resolve := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(*resolve.groups())
            elif cdn := re.fullmatch(r"/cdn/([^/]+/[^/]+)/([^/]+)/(.+)", path):
                assert query == SIGNATURE and "Authorization" not in self.headers
                self._content(cdn[3], hub.repositories[cdn[1]][cdn[2]][cdn[3]])
            else:
                self._answer(404, path)

        def _commit(self, name: str, revision: str) -> str | None:
            revision = unquote(revision)
            commit = hub.branches.get((name, revision), revision)
            return commit if commit in hub.repositories.get(name, {}) else None

        def _refused(self, file: str) -> bool:
            token = hub.faults.token
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                self._answer(401, file, {"X-Error-Code": "GatedRepo"})
                return True
            if statuses := hub.faults.statuses.get(file):
                self._answer(statuses.pop(0), file, {"Retry-After": "1"})
                return True
            return False

        def _info(self, name: str, revision: str) -> None:
            commit = self._commit(name, revision)
            if self._refused("info"):
                return
            if commit is None:
                code = "RevisionNotFound" if name in hub.repositories else "RepoNotFound"
                self._answer(404, "info", {"X-Error-Code": code})
                return
            self._json("info", {"id": name, "sha": commit, "siblings": []})

        def _tree(self, name: str, commit: str, query: str) -> None:
            if self._refused("tree"):
                return
            files = hub.repositories[name][commit]
            listed = [*files.items(), *((file, b"x" * LARGE) for file in hub.faults.listed_too)]
            page = re.search(r"cursor=(\d+)", query)
            start = int(page[1]) if page else 0
            following = (
                f"{hub.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}"
            )
            more = {"Link": f'<{following}>; rel="next"'} if start + PAGE < len(listed) else {}
            entries = [_entry(file, body) for file, body in listed[start : start + PAGE]]
            self._json("tree", entries, more)

        def _resolve(self, name: str, revision: str, file: str) -> None:
            commit = self._commit(name, revision)
            body = hub.repositories.get(name, {}).get(commit, {}).get(file)
            if self._refused(file):
                return
            if body is None or file in hub.faults.absent:
                self._answer(404, file, {"X-Error-Code": "EntryNotFound"})
                return
            entry = _entry(file, body)
            headers = {"X-Repo-Commit": commit, "ETag": f'"{entry["oid"]}"'}
            if "lfs" not in entry:
                self._content(file, body, headers)
                return
            headers |= {
                "X-Linked-Etag": f'"{entry["lfs"]["oid"]}"',
                "X-Linked-Size": str(len(body)),
                "Location": f"http://localhost:{hub.port}/cdn/{name}/{commit}/{quote(file)}?{SIGNATURE}",
            }
            self._answer(302, file, headers)

        def _content(self, file: str, body: bytes, headers: dict[str, str] | None = None) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if hub.faults.whole_files_only:
                asked = None
            start = int(asked[1]) if asked else 0
            end = min(int(asked[2]) + 1, len(body)) if asked and asked[2] else len(body)
            request = self._begin(206 if asked else 200, file)
            request.start = start
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if self.command == "GET":
                self._send(file, bytearray(body), start, end, request)

        def _send(self, file: str, body: bytearray, start: int, end: int, request: Request):
            if hub.faults.wrong_bytes.get(file):
                hub.faults.wrong_bytes[file] -= 1
                body[-1] ^= 1
            if cut := hub.faults.cut_at.pop(file, None):
                end = int(len(body) * cut)
                self.close_connection = True
            for position in range(start, end, CHUNK):
                if position > len(body) / 2:
                    time.sleep(hub.faults.stall_seconds.pop(file, 0))
                chunk = body[position : min(position + CHUNK, end)]
                try:
                    self.wfile.write(chunk)
                except OSError:
                    self.close_connection = True
                    return
                request.sent += len(chunk)
                time.sleep(len(chunk) / hub.faults.bytes_per_second)

        def _json(self, path: str, content, headers: dict[str, str] | None = None) -> None:
            self._answer(200, path, headers, json.dumps(content).encode())

        def _answer(self, status, path, headers=None, body: bytes = b"") -> None:
            self._begin(status, path)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _begin(self, status: int, path: str) -> Request:
            request = Request(
                self.command, path, status, authorised="Authorization" in self.headers
            )
            hub.requests.append(request)
            self.send_response(status)
            return request

    return Handler


@cache
def _entry(file: str, body: bytes) -> dict:
    oid = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    entry = {"type": "file", "path": file, "size": len(body), "oid": oid}
    if len(body) >= LARGE:
        sha256 = hashlib.sha256(body).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(body), "pointerSize": 134}
    return entry
