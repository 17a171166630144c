# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from sonic_reference.api.authorization import MAX_REMEMBERED, Authorizer
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError

from tests.unit.services.proxies import licensed


class Proxy:
    """A license proxy in this process that counts its calls and can be away."""

    def __init__(self, folder: Path) -> None:
        self.app = licensed(folder, ["good", "other"], time.time())
        self.calls = 0
        self.away = False
        self.status = 0
        # Raised for the next calls, one each.
        self.failures: list[Exception] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise httpx.ConnectError("away", request=request)
        if self.failures:
            raise self.failures.pop(0)
        if self.status:
            return httpx.Response(self.status, json={"ttl_s": 10})
        answer = await self.app.handle_async_request(request)
        return httpx.Response(answer.status_code, content=await answer.aread())


def check(
    body: Callable[[Authorizer, Proxy], Awaitable[None]], ttl_s: float = 10, grace_s: float = 60
) -> None:
    async def run() -> None:
        proxy = Proxy(Path(folder))
        transport = httpx.MockTransport(proxy.handle)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            await body(Authorizer(client, ApiMetrics(), ttl_s=ttl_s, grace_s=grace_s), proxy)

    with TemporaryDirectory() as folder:
        asyncio.run(run())


async def status(authorizer: Authorizer, key: str) -> int:
    try:
        await authorizer.check(key, "tts")
    except ApiError as error:
        return error.status
    return 200


def test_answers_are_remembered_by_key() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert [await status(authorizer, "good") for _unused in range(3)] == [200] * 3
        assert [await status(authorizer, "bad") for _unused in range(3)] == [401] * 3
        assert await status(authorizer, "other") == 200
        assert proxy.calls == 3
        assert await status(authorizer, "") == 401
        assert proxy.calls == 3

    check(body)


def test_many_at_once_ask_once() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        answers = await asyncio.gather(*(status(authorizer, "good") for _unused in range(50)))
        assert answers == [200] * 50
        assert proxy.calls == 1

    check(body)


def test_a_known_key_outlives_the_proxy_for_the_grace_period_only() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, "good") == 200
        proxy.away = True
        assert await status(authorizer, "good") == 200
        assert await status(authorizer, "other") == 503
        await asyncio.sleep(0.2)
        assert await status(authorizer, "good") == 503

    check(body, ttl_s=0, grace_s=0.2)


def test_a_proxy_that_is_away_is_not_asked_by_every_request() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        proxy.away = True
        assert [await status(authorizer, f"key{n}") for n in range(20)] == [503] * 20
        assert proxy.calls == 1

    check(body)


@pytest.mark.parametrize(("answered", "seen"), [(402, 402), (403, 403), (500, 503), (404, 503)])
def test_other_answers(answered: int, seen: int) -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        proxy.status = answered
        assert await status(authorizer, "good") == seen

    check(body)


def test_a_revoked_key_is_refused_though_it_was_good() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, "good") == 200
        proxy.status = 401
        assert await status(authorizer, "good") == 401
        proxy.away = True
        assert await status(authorizer, "good") == 503

    check(body, ttl_s=0)


NO_KEYS = [
    "\n", "\0", " ", "\t", "good\n", "\ngood", " good", "good ", "go\rod", "go\x7fod",
    "g\xf6\xf6d", "\u0142", "\u5317\u4eac", "\ud800", "\ufeffgood",
    "good\x85", "good\xa0", "g" * 513,
]  # fmt: skip


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_no_key_can_be_is_refused_without_asking(key: str) -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, key) == 401
        assert proxy.calls == 0
        assert await status(authorizer, "good") == 200

    check(body)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.LocalProtocolError("Illegal header value"),
        httpx.UnsupportedProtocol("no scheme"),
        httpx.InvalidURL("no host"),
        httpx.PoolTimeout("all connections are in use"),
        UnicodeEncodeError("ascii", "\u0142", 0, 1, "ordinal not in range(128)"),
        httpx.DecodingError("not gzip"),
    ],
)
def test_only_a_failed_connection_means_that_the_proxy_is_away(failure: Exception) -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        proxy.failures = [failure]
        assert await status(authorizer, "other") == 503
        assert await status(authorizer, "good") == 200
        assert await status(authorizer, "bad") == 401

    check(body)


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError])
def test_a_connection_that_was_idle_too_long_is_replaced(
    error: type[httpx.TransportError],
) -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        proxy.failures = [error("closed")]
        assert await status(authorizer, "good") == 200
        proxy.failures = [error("closed"), error("closed")]
        assert await status(authorizer, "other") == 503

    check(body)


def test_wrong_keys_do_not_push_out_right_ones() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, "good") == 200
        for start in range(0, MAX_REMEMBERED + 64, 64):
            asked = (status(authorizer, f"bad{start + n}") for n in range(64))
            assert set(await asyncio.gather(*asked)) == {401}
        proxy.away = True
        assert await status(authorizer, "\n") == 401
        assert await status(authorizer, "good") == 200

    check(body, ttl_s=0, grace_s=300)


@pytest.mark.parametrize("answered", [200, 401, 402, 403])
def test_what_something_else_answers_is_no_verdict(answered: int) -> None:
    """A gateway's page between this server and the proxy lets no client in and ends no session."""

    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, "good") == 200
        pages = [
            httpx.Response(answered, text="<html>Sign in</html>"),
            httpx.Response(answered, json=[]),
        ]
        for page in pages:
            authorizer._client = httpx.AsyncClient(
                transport=httpx.MockTransport(lambda _request, page=page: page),
                base_url="http://proxy",
            )
            assert await status(authorizer, "other") == 503
            # Its last word counts for the grace period.
            assert await status(authorizer, "good") == 200

    check(body, ttl_s=0)


def test_a_client_that_floods_does_not_slow_a_known_key() -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        assert await status(authorizer, "good") == 200
        hold = asyncio.Event()
        answer = proxy.handle

        async def slow(request: httpx.Request) -> httpx.Response:
            if request.headers["authorization"] != "Bearer good":
                await hold.wait()
            return await answer(request)

        authorizer._client = httpx.AsyncClient(
            transport=httpx.MockTransport(slow), base_url="http://proxy"
        )
        flood = [asyncio.create_task(status(authorizer, f"bad{n}")) for n in range(200)]
        await asyncio.sleep(0)
        before = proxy.calls
        assert await status(authorizer, "good") == 200
        assert proxy.calls == before + 1
        assert not any(task.done() for task in flood)
        hold.set()
        assert set(await asyncio.gather(*flood)) == {401}

    check(body, ttl_s=0)
