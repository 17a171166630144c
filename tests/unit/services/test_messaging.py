# SPDX-License-Identifier: Apache-2.0
"""The connection to NATS, whatever it meets on the way."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sonic_reference import messaging

from lab.bus import free_port, running
from lab.echo import certificate


class Server:
    """A NATS server on one port, which may begin and cease to ask for TLS."""

    def __init__(self, program: str, folder: Path) -> None:
        port = free_port()
        for name, text in zip(("cert.pem", "key.pem"), certificate(["nats"], 1), strict=True):
            (folder / name).write_text(text, encoding="utf-8")
        self._plain = [program, "-a", "127.0.0.1", "-p", str(port)]
        self._tls = ["--tls", "--tlscert", f"{folder}/cert.pem", "--tlskey", f"{folder}/key.pem"]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"nats://127.0.0.1:{port}"

    def start(self, *, tls: bool) -> None:
        """Start it, in the place of one that runs."""
        self.stop()
        command = self._plain + (self._tls if tls else [])
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)


@pytest.fixture
def server(tmp_path: Path, nats_server: str) -> Iterator[Server]:
    made = Server(nats_server, tmp_path)
    yield made
    made.stop()


def test_server_that_stops_to_ask_for_tls(server: Server) -> None:
    """A client that does not trust the certificate waits, and connects once TLS is off."""

    async def run() -> None:
        server.start(tls=True)
        connecting = asyncio.create_task(messaging.connect(server.url, "test"))
        await asyncio.sleep(3)
        assert not connecting.done()
        server.start(tls=False)
        async with asyncio.timeout(30):
            client = await connecting
        assert client.is_connected
        await messaging.close(client)

    asyncio.run(run())


def test_server_that_begins_to_ask_for_tls_keeps_no_client_from_leaving(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that it no longer lets in can leave: a worker would hold its GPU otherwise."""

    async def run() -> None:
        server.start(tls=False)
        client = await messaging.connect(server.url, "test")
        server.start(tls=True)
        async with asyncio.timeout(20):
            while "CERTIFICATE_VERIFY_FAILED" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await messaging.close(client)

    asyncio.run(run())


def test_server_that_ended_its_tls_connection_delays_no_shutdown(
    tmp_path: Path, nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that still has something to say leaves all the same, and raises nothing."""
    with running(nats_server, tmp_path) as bus:
        monkeypatch.setenv("SSL_CERT_FILE", str(bus.ca_file))

        async def run() -> None:
            client = await messaging.connect(bus.url("tts"), "test")
            bus.stop()
            async with asyncio.timeout(20):
                while client.is_connected:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await client.publish("sonic.v2.workers.tts.w", b"still here")
            async with asyncio.timeout(10):
                await messaging.close(client)

        asyncio.run(run())
