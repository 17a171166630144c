# SPDX-License-Identifier: Apache-2.0
"""The server that the tests put behind the ingress: it echoes WebSockets and shows requests.

It runs in a pod on port 8000, by the websockets library of the reference stack's images. A plain
GET is answered with JSON: method, path and headers as they arrived. ``?hold=SECONDS`` delays the
answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


async def echo(socket: ServerConnection) -> None:
    """Send back each message until the client leaves."""
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass  # The client left without a closing handshake.


async def show(socket: ServerConnection, request: Request) -> Response | None:
    """Answer a plain request with what arrived; a WebSocket's request goes on."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return None
    hold = parse_qs(urlsplit(request.path).query).get("hold", ["0"])[0]
    await asyncio.sleep(float(hold))
    headers = list(request.headers.raw_items())
    body = json.dumps({"method": "GET", "path": request.path, "headers": headers})
    response = socket.respond(HTTPStatus.OK, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


async def start(address: str, port: int, tls: ssl.SSLContext | None = None) -> Server:
    """Listen. Raises OSError when the port is in use."""
    return await serve(
        echo,
        address,
        port,
        ssl=tls,
        backlog=4096,
        process_request=show,
        # The tests measure how long the ingress keeps silent connections.
        open_timeout=None,
        ping_interval=None,
        # Compression needs some 300 KB for each of thousands of connections.
        compression=None,
    )


async def main() -> None:
    """Serve until the pod is stopped."""
    # Each readiness probe connects and leaves, which the library logs as a failed handshake.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    server = await start("", 8000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
