# SPDX-License-Identifier: Apache-2.0
"""The certificate that a server serves to a client."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._http import certificates
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.unit.plugins.plugin_utils.authority import Authority

ADDRESS = "127.0.0.1"
AUTHORITY = Authority("Speech CA")
OURS = AUTHORITY.server(["speech.example.com"])
FAKE = Authority("Kubernetes Ingress Controller Fake Certificate").server(["ingress.local"])


def der(item: dict[str, str]) -> bytes:
    return x509.load_pem_x509_certificate(item["certificate"].encode()).public_bytes(Encoding.DER)


def context(folder: Path, item: dict[str, str]) -> ssl.SSLContext:
    path = folder / "server.pem"
    path.write_text(item["certificate"] + item["key"], encoding="utf-8")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


class Server:
    """Shows ``other`` to a client that names no host, and ``given``, which changes, to others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = FAKE
        self.other = context(folder, OURS)
        self.asked: list[str | None] = []
        self.listener = socket.create_server((ADDRESS, 0))
        self.port = int(self.listener.getsockname()[1])

    def choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _made: ssl.SSLContext
    ) -> None:
        """Choose the certificate by the name that the client asks for."""
        self.asked.append(name)
        if name is not None:
            connection.context = context(self.folder, self.given)

    def run(self) -> None:
        """Serve until the listener is closed."""
        self.other.sni_callback = self.choose
        while True:
            try:
                plain, _address = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self.other.wrap_socket(plain, server_side=True) as s:
                s.recv(1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)
    made.listener.close()
    thread.join(10)


def wanted(server: Server, name: str = "speech.example.com") -> certificates.Wanted:
    return certificates.Wanted(ADDRESS, server.port, name, hashlib.sha256(der(OURS)).hexdigest())


def test_fake_certificate_is_called_so(server: Server) -> None:
    [lines] = certificates.wait([wanted(server)], 0)
    assert f"{ADDRESS}:{server.port} for speech.example.com: the controller's own fake" in lines


def test_client_that_names_no_host(server: Server) -> None:
    assert certificates.wait([wanted(server, "")], 0) == []
    assert server.asked == [None]


def test_another_certificate_is_named(server: Server) -> None:
    server.given = Authority("Old CA").server(["speech.example.com"])
    [lines] = certificates.wait([wanted(server)], 0)
    assert lines.endswith("another certificate (Old CA, server)")


def test_wait_ends_when_the_certificate_is_there(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def renew(seconds: float) -> None:
        pauses.append(seconds)
        server.given = OURS

    monkeypatch.setattr("time.sleep", renew)
    assert certificates.wait([wanted(server)], 600) == []
    assert len(pauses) == 1


def test_nothing_listens(server: Server) -> None:
    with socket.create_server((ADDRESS, 0)) as unused:
        port = unused.getsockname()[1]
    [lines] = certificates.wait([certificates.Wanted(ADDRESS, port, "a.example.com", "00")], 0)
    assert f"{ADDRESS}:{port} for a.example.com: no certificate, " in lines
