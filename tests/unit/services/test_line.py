# SPDX-License-Identifier: Apache-2.0
"""Who gets a stream that becomes free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sonic_reference.api.dispatch import Dispatcher, Stream
from sonic_reference.api.line import Line
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError
from sonic_reference.protocol import Announcement, OutputFormat, SpeechJob
from sonic_reference.sealing import Session

from tests.unit.services.sockets import DEADLINE_S, settle, until

FORMAT = OutputFormat(container="raw", sample_rate=8000)


def job(name: str) -> SpeechJob:
    return SpeechJob(
        request_id=name, model_id="sonic-3", transcript=name, voice_id="v", output_format=FORMAT
    )


class Site(Dispatcher):
    """A dispatcher with one worker, whose streams the test gives out."""

    connected = True

    def __init__(self, *, queue_timeout_s: float, queue_limit: int = 64) -> None:
        super().__init__(
            ApiMetrics(), pod="pod", models={"tts": ("m",)}, queue_timeout_s=queue_timeout_s,
            queue_limit=queue_limit, stream_timeout_s=5,
        )  # fmt: skip
        self.free = 0
        self.order: list[str] = []

    def present(self, there: bool) -> None:
        """Let the worker announce itself, or go."""
        self.roster.note(
            Announcement(worker="w", operation="tts", model="m", capacity=1, load=1,
                         draining=not there)
        )  # fmt: skip

    async def _offer(self, job: Any, model: str) -> Stream | None:
        if self.connected:
            self.present(bool(self.roster.present()))
        if not self.free:
            return None
        self.free -= 1
        self.order.append(job.request_id)
        return offered(self, job.request_id, f"tts/{model}")


def offered(site: Dispatcher, job: str, offering: str) -> Stream:
    """A stream that a worker was offered."""
    return Stream(site, job, offering, "worker", Session(bytes(32), bytes(32)))


def check(body: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await body()

    asyncio.run(run())


def test_a_begun_reply_goes_before_new_ones() -> None:
    async def body() -> None:
        site = Site(queue_timeout_s=20)
        site.present(True)
        asked = [asyncio.create_task(site.connect(job(name))) for name in ("new 1", "new 2")]
        await asyncio.sleep(0.01)
        begun = [
            asyncio.create_task(site.connect(job(name), begun="m")) for name in ("old 1", "old 2")
        ]
        await asyncio.sleep(0.01)
        for _unused in range(4):
            site.free = 1
            await until(lambda: site.free == 0)
        await asyncio.gather(*asked, *begun)
        assert site.order == ["old 1", "old 2", "new 1", "new 2"]

    check(body)


def test_a_begun_reply_waits_for_full_workers_as_long_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sonic_reference.protocol.ROSTER_TTL_S", 0.1)

    async def body() -> None:
        site = Site(queue_timeout_s=0.02)
        site.present(True)
        waiting = asyncio.create_task(site.connect(job("old"), begun="m"))
        with pytest.raises(ApiError) as caught:
            await site.connect(job("new"))
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
        await asyncio.sleep(0.4)
        assert not waiting.done()
        site.free = 1
        await waiting

    check(body)


def test_a_begun_reply_does_not_wait_for_workers_that_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sonic_reference.protocol.ROSTER_TTL_S", 0.1)

    async def body() -> None:
        site = Site(queue_timeout_s=0.02)
        with pytest.raises(ApiError) as caught:
            await site.connect(job("old"), begun="m")
        assert (caught.value.status, caught.value.code) == (503, "no_worker")

    check(body)


def test_only_new_replies_count_for_the_limit() -> None:
    async def body() -> None:
        site = Site(queue_timeout_s=20, queue_limit=1)
        site.present(True)
        waiting = [
            asyncio.create_task(site.connect(job("old 1"), begun="m")),
            asyncio.create_task(site.connect(job("new 1"))),
        ]
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as caught:
            await site.connect(job("new 2"))
        assert caught.value.status == 429
        waiting.append(asyncio.create_task(site.connect(job("old 2"), begun="m")))
        for _unused in waiting:
            site.free = 1
            await until(lambda: site.free == 0)
        await asyncio.gather(*waiting)
        assert site.order == ["old 1", "old 2", "new 1"]

    check(body)


def test_who_leaves_the_line_makes_way() -> None:
    line = Line()
    with line.join(begun=False) as first:
        assert first.first.is_set()
        with line.join(begun=False) as second:
            assert not second.first.is_set()
            with line.join(begun=True) as begun:
                assert begun.first.is_set()
                assert not first.first.is_set()
                assert (len(line), line.new) == (3, 2)
            assert first.first.is_set()
    assert len(line) == 0
    assert line.free(begun=False)


def stand_still(seconds: float) -> None:
    """Keep the event loop from everything else, as heavy work does."""
    time.sleep(seconds)


def test_a_pod_that_stood_still_does_not_take_its_workers_for_lost() -> None:
    async def body() -> None:
        site = Site(queue_timeout_s=1)
        site._stream_timeout_s = 0.5
        stream = offered(site, "job", "tts/m")
        stream.worker = "w"
        site._streams["job"] = stream
        ticking = asyncio.create_task(site._tick())
        await asyncio.sleep(0)
        stand_still(1.5)
        # The worker's beats are read after the timers have run.
        await settle()
        assert stream._events.empty()
        # A worker that is silent while this pod listens is lost as before.
        async with asyncio.timeout(DEADLINE_S):
            assert (await stream._events.get()).kind == "lost"
        ticking.cancel()

    check(body)


def test_a_pod_that_stood_still_still_hears_an_acceptance() -> None:
    async def body() -> None:
        stream = offered(Site(queue_timeout_s=1), "job", "tts/m")
        answering = asyncio.create_task(stream.answer())
        await asyncio.sleep(0)
        stand_still(1.0)
        await settle()
        assert not answering.done()
        stream.put("accepted", b'{"worker": "w"}')
        assert (await answering).kind == "accepted"
        silent = offered(Site(queue_timeout_s=1), "job", "tts/m")
        assert (await silent.answer()).kind == "silent"

    check(body)
