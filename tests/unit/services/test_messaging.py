# SPDX-License-Identifier: Apache-2.0
"""The connection to NATS, whatever it meets on the way."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

from sonic_reference import messaging

from lab.echo import certificate
from lab.processes import free_port


def test_server_that_stops_to_ask_for_tls(tmp_path: Path, nats_server: str) -> None:
    """A client that trusts no such certificate waits, and connects when there is none any more."""
    port = free_port()
    for name, text in zip(("cert.pem", "key.pem"), certificate(["nats"], 1), strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    plain = [nats_server, "-a", "127.0.0.1", "-p", str(port)]
    secret = ["--tls", "--tlscert", f"{tmp_path}/cert.pem", "--tlskey", f"{tmp_path}/key.pem"]

    async def run(start: Callable[[list[str]], subprocess.Popen[bytes]]) -> None:
        first = start([*plain, *secret])
        connecting = asyncio.create_task(messaging.connect(f"nats://127.0.0.1:{port}", "test"))
        await asyncio.sleep(3)
        assert not connecting.done()
        first.terminate()
        first.wait(10)
        start(plain)
        async with asyncio.timeout(30):
            client = await connecting
        assert client.is_connected
        await messaging.close(client)

    running: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return running[-1]

    try:
        asyncio.run(run(start))
    finally:
        for process in running:
            process.kill()
            process.wait()
