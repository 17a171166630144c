# SPDX-License-Identifier: Apache-2.0
"""What the tests put behind the ingress: tells what arrived, and echoes WebSockets.

Runs alone in a pod (port 8000, Python's own library only). A plain request is answered with JSON:
method, path and headers as they arrived; ``?hold=SECONDS`` delays the answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from urllib.parse import parse_qs, urlsplit

# RFC 6455, section 1.3
KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return a client's frame: its opcode and its payload, unmasked."""
    first, second = await reader.readexactly(2)
    length = second & 127
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    return first & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes in, up to 125 bytes a message, until the client closes."""
    while True:
        opcode, payload = await frame(reader)
        writer.write(bytes([128 | opcode, len(payload)]) + payload)
        await writer.drain()
        if opcode == 8:
            return


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _version = head[0].split(" ")
        headers = [line.split(": ", 1) for line in head[1:] if line]
        found = {name.lower(): value for name, value in headers}
        if found.get("upgrade", "").lower() == "websocket":
            digest = hashlib.sha1(found["sec-websocket-key"].encode() + KEY).digest()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            await echo(reader, writer)
            return
        await reader.readexactly(int(found.get("content-length", "0")))
        hold = parse_qs(urlsplit(target).query).get("hold", ["0"])[0]
        await asyncio.sleep(float(hold))
        body = json.dumps({"method": method, "path": target, "headers": headers}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client left
    finally:
        writer.close()


async def main() -> None:
    """Serve until the pod is stopped."""
    server = await asyncio.start_server(serve, port=8000, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
