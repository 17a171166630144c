# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import (
    KubeClient,
    KubeError,
)

from tests.unit.plugins.module_utils.conftest import Serve, kubeconfig

EVENTS = [
    {"type": "ADDED", "object": {"metadata": {"uid": "1", "resourceVersion": "2"}}},
    {"type": "MODIFIED", "object": {"metadata": {"uid": "1", "resourceVersion": "3"}}},
]
GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


class Handler(BaseHTTPRequestHandler):
    """An API server as far as the client can tell."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        path = self.path.partition("?")[0]
        if path == "/watch":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            text = "".join(json.dumps(event) + "\n" for event in [*EVENTS, GONE]).encode()
            # Chunks that do not end where lines end.
            for start in range(0, len(text), 50):
                part = text[start : start + 50]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        status, body = {
            "/object": (200, b'{"kind": "Pod"}'),
            "/text": (200, "a metric 1 \u00b5".encode()),
            "/denied": (403, b'{"kind": "Status", "message": "pods is forbidden"}'),
            "/proxy": (503, b"no endpoints"),
            "/broken": (200, b"<html>"),
        }[path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = [
            self.headers["Content-Type"].encode(),
            self.headers["Authorization"].encode(),
            body,
        ]
        answer = b" ".join(parts)
        self.send_response(200 if self.path == "/echo" else 409)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


class Written(BaseHTTPRequestHandler):
    """An API server that records its requests; /gone is missing, /kept must not change."""

    seen: list[tuple[str, str, Any]]
    accepted: list[str]

    def _answer(self) -> None:
        length = int(self.headers["Content-Length"] or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.seen.append((self.command, self.path, body))
        self.accepted.append(self.headers["Accept"])
        path = self.path.partition("?")[0]
        status = {"/gone": 404, "/kept": 403}.get(path, 200)
        text = json.dumps({"kind": "Status", "message": f"got {path}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PATCH = do_DELETE = _answer  # noqa: N815 (names that http.server looks for)

    def log_message(self, *args: Any) -> None:
        pass


class Busy(BaseHTTPRequestHandler):
    """An API server that cannot yet, so many times, and then can."""

    left: int

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Busy.left -= 1
        body = b'{"kind": "Status", "message": "storage is (re)initializing"}'
        self.send_response(429 if Busy.left >= 0 else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def client(serve: Serve) -> KubeClient:
    Handler.seen = []
    return serve(Handler)


@pytest.fixture
def writer(serve: Serve) -> KubeClient:
    Written.seen, Written.accepted = [], []
    return serve(Written)


def test_get_with_the_token_of_the_kubeconfig(client: KubeClient) -> None:
    assert client.get("/object", labelSelector="a=b c") == {"kind": "Pod"}
    assert Handler.seen == [("/object?labelSelector=a%3Db+c", "Bearer secret-token")]


def test_text(client: KubeClient) -> None:
    assert client.text("/text") == "a metric 1 \u00b5"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [("/denied", 403, "pods is forbidden"), ("/proxy", 503, "no endpoints")],
)
def test_errors_carry_the_servers_words(
    client: KubeClient, path: str, status: int, says: str
) -> None:
    with pytest.raises(KubeError, match=says) as caught:
        client.get(path)
    assert caught.value.status == status


def test_answer_that_is_not_json(client: KubeClient) -> None:
    with pytest.raises(KubeError, match="/broken: unreadable answer"):
        client.get("/broken")


def test_watch_ends_with_the_servers_error(client: KubeClient) -> None:
    watched: list[dict[str, Any]] = []

    def follow() -> None:
        for event in client.watch("/watch", 5, resourceVersion="1"):
            watched.append(event)

    with pytest.raises(KubeError, match="too old resource version") as caught:
        follow()
    assert caught.value.status == 410
    assert watched == EVENTS
    assert "watch=1" in Handler.seen[0][0]
    assert "timeoutSeconds=5" in Handler.seen[0][0]


def test_no_server(tmp_path: Path) -> None:
    client = KubeClient(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    with pytest.raises(KubeError, match=r"no answer from http://127\.0\.0\.1:1") as caught:
        client.get("/object")
    assert caught.value.status == 0


def test_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="cannot be used"):
        KubeClient(str(tmp_path / "absent"))


def test_unknown_context(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="cannot be used"):
        KubeClient(kubeconfig(tmp_path, "http://127.0.0.1:1"), context="other")


def test_bytes_are_sent_as_they_are_and_come_as_they_are(client: KubeClient) -> None:
    actual = client.content("/echo", send=b"\xff{}")
    assert actual == b"application/json Bearer secret-token \xff{}"
    with pytest.raises(KubeError) as refused:
        client.content("/other", send=b"{}")
    assert refused.value.status == 409


@pytest.mark.parametrize("dry_run", [False, True])
def test_objects_are_applied_on_the_servers_side(writer: KubeClient, dry_run: bool) -> None:
    answer = writer.apply("/object", {"kind": "Pod"}, "me", dry_run=dry_run)
    assert answer["message"] == "got /object"
    [(method, path, body)] = Written.seen
    assert (method, body) == ("PATCH", {"kind": "Pod"})
    assert "fieldManager=me" in path
    assert "force=true" in path
    assert ("dryRun=All" in path) == dry_run


def test_metadata_are_enough_where_nothing_else_is_asked(writer: KubeClient) -> None:
    writer.apply("/object", {"kind": "Pod"}, "me", dry_run=False, whole=False)
    assert "PartialObjectMetadata" in Written.accepted[0]


def test_delete_takes_dependants_along(writer: KubeClient) -> None:
    writer.delete("/object")
    assert Written.seen == [("DELETE", "/object?propagationPolicy=Background", None)]


def test_what_is_gone_need_not_be_deleted(writer: KubeClient) -> None:
    writer.delete("/gone")


def test_protected_objects_are_reported(writer: KubeClient) -> None:
    with pytest.raises(KubeError, match="got /kept"):
        writer.delete("/kept")


def test_server_that_names_a_time_is_asked_again(serve: Serve) -> None:
    Busy.left = 3
    assert serve(Busy).apply("/object", {}, "me", dry_run=False)
    assert Busy.left == -1


def test_server_that_stays_busy_is_an_error_in_its_words(serve: Serve) -> None:
    Busy.left = 1000
    with pytest.raises(KubeError, match="initializing") as caught:
        serve(Busy).apply("/object", {}, "me", dry_run=False)
    assert caught.value.status == 429
