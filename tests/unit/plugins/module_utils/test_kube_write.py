# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils.kube import KubeClient, KubeError


class Handler(BaseHTTPRequestHandler):
    """An API server that notes what it is told; /gone is no more, /kept may not be touched."""

    seen: list[tuple[str, str, Any]]

    def _answer(self) -> None:
        length = int(self.headers["Content-Length"] or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.seen.append((self.command, self.path, body))
        path = self.path.partition("?")[0]
        status = {"/gone": 404, "/kept": 403}.get(path, 200)
        text = json.dumps({"kind": "Status", "message": f"told {path}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PATCH = do_DELETE = _answer  # noqa: N815 (names that http.server looks for)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def client(tmp_path: Path) -> Iterator[KubeClient]:
    Handler.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    described = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(described))
    yield KubeClient(str(tmp_path / "kubeconfig"))
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("dry_run", [False, True])
def test_put_applies_on_the_servers_side(client: KubeClient, dry_run: bool) -> None:
    assert client.put("/object", {"kind": "Pod"}, "me", dry_run)["message"] == "told /object"
    [(method, path, body)] = Handler.seen
    assert (method, body) == ("PATCH", {"kind": "Pod"})
    assert "fieldManager=me" in path
    assert "force=true" in path
    assert ("dryRun=All" in path) == dry_run


def test_delete_takes_dependants_along(client: KubeClient) -> None:
    client.delete("/object")
    assert Handler.seen == [("DELETE", "/object?propagationPolicy=Background", None)]


def test_what_is_gone_need_not_be_deleted(client: KubeClient) -> None:
    client.delete("/gone")


def test_what_may_not_be_deleted_is_told(client: KubeClient) -> None:
    with pytest.raises(KubeError, match="told /kept"):
        client.delete("/kept")
