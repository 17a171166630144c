# SPDX-License-Identifier: Apache-2.0
"""An HTTPS server for many names: registries that ask for tokens, and folders of files."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

PATH = re.compile(r"/v2/(?P<repository>[a-z0-9._/-]+)/(?P<kind>manifests|blobs)/(?P<name>[\w.:-]+)")


@dataclass
class Content:
    """What is served, and how often it is refused.

    `stores` are folders of CNCF distribution's file system driver, whose repositories have their
    registry's name before their own; `files` has a folder for each other host.
    """

    stores: Sequence[Path]
    files: Path
    registries: dict[str, str]
    missing: frozenset[str] = frozenset()
    # Each registry refuses its first so many requests of a kind by a rate limit of a second.
    limited: int = 1
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    _refusals: dict[str, int] = field(default_factory=dict)
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, kind: str) -> bool:
        """Return whether this request is over the rate limit."""
        with self._alone:
            count = self._refusals.get(kind, 0)
            self._refusals[kind] = count + 1
            return count < self.limited

    def manifest(self, repository: str, name: str) -> tuple[str, bytes] | None:
        """Return a manifest's digest and content, by tag or digest."""
        digest: str | None = name if name.startswith("sha256:") else None
        for store in self.stores:
            folder = store / "docker/registry/v2/repositories" / repository
            link = folder / "_manifests/tags" / name / "current/link"
            if digest is None and link.exists():
                digest = link.read_text(encoding="ascii").strip()
        path = self.blob(digest) if digest else None
        return (digest, path.read_bytes()) if digest and path else None

    def blob(self, digest: str) -> Path | None:
        """Return the file of a blob."""
        value = digest.removeprefix("sha256:")
        for store in self.stores:
            path = store / f"docker/registry/v2/blobs/sha256/{value[:2]}/{value}/data"
            if path.exists():
                return path
        return None


class Publishers:
    """The server, as a context: it serves while it is entered."""

    def __init__(self, content: Content, address: tuple[str, int], pair: tuple[Path, Path]) -> None:
        """`pair` are the certificate of all names, and its key."""

        class Handler(_Handler):
            pass

        Handler.content = content
        self.server = ThreadingHTTPServer(address, Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )

    def __enter__(self) -> Publishers:
        """Serve."""
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    content: Content
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self.content.asked.append(f"{self.command} {self._host()}{self.path}")
        try:
            if self._host() in self.content.registries:
                self._registry()
            else:
                self._file()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass

    def _host(self) -> str:
        return str(self.headers.get("Host", "")).partition(":")[0]

    def _answer(
        self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: HTTPStatus, code: str, headers: dict[str, str] | None = None) -> None:
        text = {"errors": [{"code": code, "message": status.phrase}]}
        kind = {"Content-Type": "application/json"}
        self._answer(status, json.dumps(text).encode(), kind | (headers or {}))

    def _send(self, path: Path) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        if self.command != "HEAD":
            with path.open("rb") as stream:
                while part := stream.read(1 << 20):
                    self.wfile.write(part)

    def _file(self) -> None:
        path = (
            self.content.files / self._host() / unquote(urlsplit(self.path).path).lstrip("/")
        ).resolve()
        if path.is_relative_to(self.content.files.resolve()) and path.is_file():
            self._send(path)
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _registry(self) -> None:
        host = self._host()
        if urlsplit(self.path).path == "/token":
            token = secrets.token_urlsafe(8)
            self.content.tokens.add(f"Bearer {token}")
            self._answer(HTTPStatus.OK, json.dumps({"token": token}).encode())
            return
        match = PATH.fullmatch(urlsplit(self.path).path)
        if self.headers.get("Authorization") not in self.content.tokens:
            scope = f',scope="repository:{match["repository"]}:pull"' if match else ""
            realm = f"https://{self.headers['Host']}/token"
            challenge = f'Bearer realm="{realm}",service="{host}"{scope}'
            self._error(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        elif match is None:
            self._answer(HTTPStatus.OK if self.path == "/v2/" else HTTPStatus.NOT_FOUND)
        elif self.content.refuse(f"{host} {match['kind']}"):
            self._error(HTTPStatus.TOO_MANY_REQUESTS, "TOOMANYREQUESTS", {"Retry-After": "1"})
        elif match["kind"] == "manifests":
            self._manifest(f"{self.content.registries[host]}/{match['repository']}", match["name"])
        else:
            path = self.content.blob(match["name"])
            if path is None:
                self._error(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN")
            else:
                self._send(path)

    def _manifest(self, repository: str, name: str) -> None:
        manifest = None
        if f"image:{repository}" not in self.content.missing:
            manifest = self.content.manifest(repository, name)
        if manifest is None:
            self._error(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN")
            return
        digest, body = manifest
        kind = json.loads(body).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        self._answer(HTTPStatus.OK, body, {"Content-Type": kind, "Docker-Content-Digest": digest})
