# SPDX-License-Identifier: Apache-2.0
"""Connected mode: what the endpoint's answers make of the licence, over a day of the test's own."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sonic_reference.license_proxy import endpoint
from sonic_reference.license_proxy.endpoint import Connected, pause
from sonic_reference.license_proxy.store import Store

from tests.unit.services.proxies import Clock

BEGAN = 1_790_000_000.0
KEY = "sk_secret_0123456789"
GRACE_S = 3600.0
END = "2027-01-01T00:00:00Z"


class Endpoint:
    """The vendor's endpoint, inside the test: answers as it is set to."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.status = 200
        self.reply: Any = {"valid": True}
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.away:
            raise self.away
        if isinstance(self.reply, bytes):
            return httpx.Response(self.status, content=self.reply)
        return httpx.Response(self.status, json=self.reply)


class Site:
    """A license proxy's connected mode, its clock and its endpoint."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = Endpoint()
        self.clock = Clock(BEGAN)
        self.transport = httpx.MockTransport(self.endpoint.answer)
        self._folder = folder
        self._store = Store(folder)
        self.connected = self._start()

    def restart(self) -> None:
        self._store.close()
        self._store = Store(self._folder)
        self.connected = self._start()

    def _start(self) -> Connected:
        return Connected(
            httpx.AsyncClient(transport=self.transport),
            self._store,
            lambda: {"usage": "totals"},
            url="https://license.example.com/check",
            key=KEY,
            grace_s=GRACE_S,
            interval_s=300,
            clock=self.clock,
        )

    async def check(self) -> str:
        await self.connected.check()
        return self.state

    @property
    def state(self) -> str:
        return self.connected.verdict(self.clock()).state

    @property
    def reason(self) -> str:
        return self.connected.verdict(self.clock()).reason


def play(folder: Path, body: Callable[[Site], Awaitable[None]]) -> None:
    async def run() -> None:
        await body(Site(folder))

    asyncio.run(run())


def test_a_day_with_a_line_that_breaks(tmp_path: Path) -> None:
    async def day(site: Site) -> None:
        assert await site.check() == "connected"
        site.clock.now += 300
        site.endpoint.away = httpx.ConnectError("Connection refused")
        assert await site.check() == "grace"
        assert site.reason == "no answer from license.example.com: Connection refused"
        # From the last yes, not from the first failure.
        site.clock.now = BEGAN + GRACE_S - 1
        assert await site.check() == "grace"
        site.clock.now += 2
        assert site.state == "expired"
        assert "the grace period ended 2026-09-21T15:13:20Z" in site.reason
        site.endpoint.away = None
        assert await site.check() == "connected"
        assert dict(site.connected.checks) == {"confirmed": 2, "refused": 0, "unreachable": 2}

    play(tmp_path, day)


def test_usage_goes_with_the_key_to_the_endpoint(tmp_path: Path) -> None:
    async def once(site: Site) -> None:
        await site.check()
        [asked] = site.endpoint.asked
        assert (asked.method, str(asked.url)) == ("POST", "https://license.example.com/check")
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(asked.content) == {"usage": "totals"}

    play(tmp_path, once)


@pytest.mark.parametrize(
    ("status", "reply", "state", "reason"),
    [
        (200, {"valid": True}, "connected", "confirmed by"),
        (200, {"valid": True, "new": [], "license": {"new": 1}}, "connected", "confirmed by"),
        (200, {"valid": False, "reason": "not paid"}, "expired", "refused: not paid"),
        (200, {"valid": False, "reason": "a\nb" + "c" * 500}, "expired", "refused: abccc"),
        (200, {"valid": False}, "expired", "refused: no reason given"),
        (401, {}, "expired", "refused: status 401"),
        (402, {}, "expired", "refused: status 402"),
        (403, b"<html>", "expired", "refused: status 403"),
        (200, b"<html>sign in to the network</html>", "grace", "an answer that cannot be read"),
        (200, {}, "grace", "an answer that cannot be read"),
        (200, [], "grace", "an answer that cannot be read"),
        (200, {"valid": True, "license": {"expires_at": "soon"}}, "grace", "cannot be read"),
        (200, b"x" * 70_000, "grace", "too long"),
        (302, {}, "grace", "status 302"),
        (404, {}, "grace", "status 404"),
        (429, {}, "grace", "status 429"),
        (500, {}, "grace", "status 500"),
    ],
)
def test_each_answer_at_the_first_check(
    tmp_path: Path, status: int, reply: Any, state: str, reason: str
) -> None:
    async def once(site: Site) -> None:
        site.endpoint.status, site.endpoint.reply = status, reply
        assert await site.check() == state
        assert reason in site.reason
        assert len(site.reason) < 400

    play(tmp_path, once)


@pytest.mark.parametrize("again", [{"valid": False}, {}])
def test_who_was_confirmed_has_grace_whatever_comes(tmp_path: Path, again: Any) -> None:
    async def twice(site: Site) -> None:
        await site.check()
        site.endpoint.reply = again
        assert await site.check() == "grace"
        site.clock.now += GRACE_S
        assert site.state == "expired"

    play(tmp_path, twice)


def test_what_the_licence_is_for_and_its_end_are_known(tmp_path: Path) -> None:
    async def once(site: Site) -> None:
        site.endpoint.reply = {"valid": True, "license": {"expires_at": END, "operations": ["tts"]}}
        await site.check()
        verdict = site.connected.verdict(site.clock())
        assert verdict.operations == frozenset({"tts"})
        assert site.connected.expires_at == 1_798_761_600

    play(tmp_path, once)


def test_a_restart_goes_on_from_the_last_yes(tmp_path: Path) -> None:
    async def twice(site: Site) -> None:
        site.endpoint.reply = {"valid": True, "license": {"operations": ["tts"]}}
        await site.check()
        before = site.connected.known
        site.clock.now += GRACE_S - 10
        site.restart()
        assert site.connected.known == before
        site.endpoint.away = httpx.ConnectError("away")
        assert await site.check() == "grace"
        site.clock.now += 20
        site.restart()
        assert await site.check() == "expired"

    play(tmp_path, twice)


def test_a_restart_gives_no_new_grace_to_who_was_never_confirmed(tmp_path: Path) -> None:
    async def twice(site: Site) -> None:
        site.endpoint.away = httpx.ConnectError("away")
        assert await site.check() == "grace"
        site.clock.now += GRACE_S + 1
        site.restart()
        assert await site.check() == "expired"

    play(tmp_path, twice)


@pytest.mark.parametrize("content", ["{", "[]", '{"began_at": "long ago"}', "{}"])
def test_a_confirmation_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "confirmation.json").write_text(content)

    async def once(site: Site) -> None:
        assert site.connected.known.confirmed_at is None

    play(tmp_path, once)


def test_an_endpoint_that_is_silent_counts_as_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.05)

    async def once(site: Site) -> None:
        async def silent(_request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(30)
            return httpx.Response(200)

        site.transport = httpx.MockTransport(silent)
        site.restart()
        assert await site.check() == "grace"

    play(tmp_path, once)


def test_neither_log_nor_folder_has_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="sonic_reference")

    async def all_ways(site: Site) -> None:
        await site.check()
        for site.endpoint.status in (401, 500):
            await site.check()
        site.endpoint.away = httpx.ConnectError("away")
        await site.check()

    play(tmp_path, all_ways)
    assert "license check:" in caplog.text
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert KEY not in caplog.text + kept


@pytest.mark.parametrize(
    ("failures", "low", "high"),
    [(0, 240, 360), (1, 4, 6), (2, 8, 12), (4, 32, 48), (7, 240, 360), (10_000, 240, 360)],
)
def test_pauses_grow_up_to_the_interval_and_differ(failures: int, low: float, high: float) -> None:
    assert pause(failures, 300, lambda: 0.0) == pytest.approx(low)
    assert pause(failures, 300, lambda: 1.0) == pytest.approx(high)
    drawn = {pause(failures, 300) for _unused in range(50)}
    assert len(drawn) > 40
    assert all(low <= wait_s <= high for wait_s in drawn)


def test_checks_go_on_with_pauses_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def quick(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 6:
            raise asyncio.CancelledError
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", quick)

    async def run(site: Site) -> None:
        def back_at_the_third(request: httpx.Request) -> httpx.Response:
            if len(site.endpoint.asked) == 2:
                site.endpoint.away = None
            return site.endpoint.answer(request)

        site.endpoint.away = httpx.ConnectError("away")
        site.transport = httpx.MockTransport(back_at_the_third)
        site.restart()
        await site.check()
        with pytest.raises(asyncio.CancelledError):
            await site.connected.run()

    play(tmp_path, run)
    assert waits == pytest.approx([5, 10, 300, 300, 300, 300], rel=endpoint.JITTER)


def test_a_compressed_answer_is_none_however_small(tmp_path: Path) -> None:
    """A few bytes on the wire that would be 100 MB in memory."""

    async def body(site: Site) -> None:
        bomb = gzip.compress(b" " * 100_000_000)
        site.transport = httpx.MockTransport(
            lambda _request: httpx.Response(
                200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(bomb)
            )
        )
        site.restart()
        tracemalloc.start()
        assert await site.check() == "grace"
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10_000_000
        assert "compressed" in site.reason

    play(tmp_path, body)


def test_a_clock_set_back_prolongs_no_grace_and_a_yes_puts_it_right(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        assert await site.check() == "connected"
        site.endpoint.away = httpx.ConnectError("away")
        site.clock.now += 60
        assert await site.check() == "grace"
        site.clock.now += GRACE_S
        assert site.state == "expired"
        site.clock.now -= 2000
        assert site.state == "expired"
        assert "was seen before" in site.reason
        site.restart()
        assert site.state == "expired"
        # The endpoint says yes: so the clock is what it is, and time goes on from there.
        site.endpoint.away = None
        assert await site.check() == "connected"
        site.endpoint.away = httpx.ConnectError("away")
        site.clock.now += 60
        assert await site.check() == "grace"
        assert "was seen before" not in site.reason
        site.restart()
        assert site.state == "grace"

    play(tmp_path, body)


def test_a_confirmation_that_was_removed_begins_no_grace_anew(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        assert await site.check() == "connected"
        site.endpoint.away = httpx.ConnectError("away")
        site.clock.now += GRACE_S - 100
        assert await site.check() == "grace"
        (tmp_path / "confirmation.json").unlink()
        site.restart()
        assert site.state == "grace"
        site.clock.now += 200
        assert site.state == "expired"

    play(tmp_path, body)
