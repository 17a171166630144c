# SPDX-License-Identifier: Apache-2.0
"""The connection to NATS, which reconnects by itself while the service lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets

from nats.aio.client import DEFAULT_INBOX_PREFIX, Client
from nats.errors import Error as NatsError

log = logging.getLogger(__name__)

# How long a client tries before a new one takes its place.
ATTEMPT_S = 10
# How long to wait for the end of a connection.
FAREWELL_S = 2
# Errors of closing. AttributeError: the server closed a TLS connection, and nats-py writes to it.
FAILURES = (OSError, NatsError, TimeoutError, AttributeError)


def member_id(host: str) -> str:
    """Return a name for this process that no other has, with a readable start."""
    readable = "".join(c if c.isalnum() or c == "-" else "-" for c in host)
    return f"{readable}-{secrets.token_hex(4)}"


async def connect(url: str, name: str, inbox: str = DEFAULT_INBOX_PREFIX.decode()) -> Client:
    """Connect, for as long as it takes; several servers are separated by commas.

    ``inbox`` is the prefix of the subjects for answers to this client's requests. Its user may
    subscribe to no others.
    """
    logged: list[str] = []

    async def failed(error: Exception) -> None:
        text = f"{type(error).__name__} {error}".strip()
        # While NATS is away the same error repeats several times a second.
        if logged[-1:] != [text]:
            logged[:] = [text]
            log.warning("nats: %s", text)

    async def lost() -> None:
        log.warning("nats: connection lost")

    async def back() -> None:
        logged.clear()
        log.info("nats: connected again")

    while True:
        # A new client each time: after a failed TLS handshake one stopped trying.
        client = Client()
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await client.connect(
                    servers=url.split(","),
                    name=name,
                    inbox_prefix=inbox,
                    connect_timeout=2,
                    reconnect_time_wait=1,
                    max_reconnect_attempts=-1,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    error_cb=failed,
                    disconnected_cb=lost,
                    reconnected_cb=back,
                )
        except (OSError, NatsError, TimeoutError) as error:
            if not isinstance(error, TimeoutError):
                await failed(error)
            await _give_up(client)
            await asyncio.sleep(0.5)
            continue
        logged.clear()
        log.info("nats: connected")
        return client


async def close(client: Client) -> None:
    """Send what is queued, and close; do not wait for a server that is away."""
    try:
        async with asyncio.timeout(FAREWELL_S if client.is_connected else 0):
            await client.drain()
    except FAILURES as error:
        log.warning("nats: left without a farewell: %s", type(error).__name__)
        await _give_up(client)


async def _give_up(client: Client) -> None:
    # After a failed TLS handshake it would wait forever for the end of that connection.
    with contextlib.suppress(*FAILURES):
        async with asyncio.timeout(FAREWELL_S):
            await client.close()
