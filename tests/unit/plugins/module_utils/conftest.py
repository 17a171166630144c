# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API that answers as a test says, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeClient

Serve = Callable[[type[BaseHTTPRequestHandler]], KubeClient]


def kubeconfig(folder: Path, server: str) -> str:
    """Write a kubeconfig for an API server, with a token; returns its path."""
    described = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    return str(path)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts an API server of a test's own handler, and returns a client of it."""
    servers = []

    def start(handler: type[BaseHTTPRequestHandler]) -> KubeClient:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return KubeClient(kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_address[1]}"))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
