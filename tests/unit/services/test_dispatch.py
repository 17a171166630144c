# SPDX-License-Identifier: Apache-2.0
"""What the API pod bounds of a worker that does not keep to the protocol."""

from __future__ import annotations

import asyncio

import pytest
from sonic_reference import protocol, sealing
from sonic_reference.api import dispatch
from sonic_reference.api.dispatch import Dispatcher, Stream, WorkerLostError
from sonic_reference.api.metrics import ApiMetrics


def stream() -> Stream:
    """A stream that a worker took, of a dispatcher without a connection."""
    dispatcher = Dispatcher(
        ApiMetrics(), pod="p", models={}, queue_timeout_s=1, queue_limit=1, stream_timeout_s=1
    )
    session, _payload = sealing.Offers().seal("j", b"", sealing.Identity("w").key)
    return Stream(dispatcher, "j", "tts/m", "w", session)


async def taken(one: Stream) -> int:
    """How many bytes a client gets before the worker counts as lost."""
    size = 0

    async def listen() -> None:
        nonlocal size
        while event := await one.next():
            size += len(event.content)

    with pytest.raises(WorkerLostError):
        await listen()
    return size


def test_a_worker_that_ignores_its_credit_is_given_up() -> None:
    async def run() -> int:
        one = stream()
        for _turn in range(200):
            one.put("audio", bytes(protocol.CHUNK_BYTES))
        one.put("end", b'{"sent": 26214400}')
        return await taken(one)

    assert asyncio.run(run()) == protocol.OVERRUN_BYTES


def test_a_worker_that_sends_events_without_end_is_given_up() -> None:
    async def run() -> int:
        one = stream()
        for _turn in range(3 * dispatch.OVERRUN_EVENTS):
            one.put("marks", b"x")
        return await taken(one)

    assert asyncio.run(run()) == dispatch.OVERRUN_EVENTS + 1


def test_a_worker_that_keeps_its_window_is_heard_to_the_end() -> None:
    async def run() -> int:
        one = stream()
        size = 0
        for _turn in range(64):
            one.put("audio", bytes(protocol.CHUNK_BYTES))
            event = await one.next()
            size += len(event.content) if event else 0
        one.put("end", f'{{"sent": {size}}}'.encode())
        assert await one.next() is None
        return size

    assert asyncio.run(run()) == 64 * protocol.CHUNK_BYTES


@pytest.mark.parametrize("end", [b"", b"EVIL", b"[]", b'{"sent": "many"}', b'{"sent": 1}'])
def test_an_end_that_cannot_be_read_or_does_not_fit_is_a_lost_worker(end: bytes) -> None:
    async def run() -> int:
        one = stream()
        one.put("end", end)
        return await taken(one)

    assert asyncio.run(run()) == 0
