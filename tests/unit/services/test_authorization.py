# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from sonic_reference.api.authorization import Authorizer
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.authority import Decision, StaticKeys


class Proxy:
    """A license proxy in this process that counts its calls and can be away."""

    def __init__(self) -> None:
        self.app = httpx.ASGITransport(create_app(StaticKeys(["good", "other"])))
        self.calls = 0
        self.away = False
        self.status = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise httpx.ConnectError("away", request=request)
        if self.status:
            return httpx.Response(self.status, json={"ttl_s": 10})
        answer = await self.app.handle_async_request(request)
        return httpx.Response(answer.status_code, content=await answer.aread())


def check(
    body: Callable[[Authorizer, Proxy], Awaitable[None]], ttl_s: float = 10, grace_s: float = 60
) -> None:
    async def run() -> None:
        proxy = Proxy()
        transport = httpx.MockTransport(proxy.handle)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            await body(Authorizer(client, ApiMetrics(), ttl_s=ttl_s, grace_s=grace_s), proxy)

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


@pytest.mark.parametrize(("said", "seen"), [(402, 402), (403, 403), (500, 503), (404, 503)])
def test_other_answers(said: int, seen: int) -> None:
    async def body(authorizer: Authorizer, proxy: Proxy) -> None:
        proxy.status = said
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


def test_static_keys_decide() -> None:
    async def decide(key: str) -> Decision:
        return await StaticKeys(["good"]).decide(key, "tts")

    assert asyncio.run(decide("good")).status == 200
    for key in ("", "goo", "good ", "go\udcffd"):
        assert asyncio.run(decide(key)).status == 401


def test_the_proxy_reads_the_key_from_header_or_body() -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(create_app(StaticKeys(["good"])))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            bearer = {"Authorization": "Bearer good"}
            assert (await client.post("/authorize", headers=bearer)).json()["authorized"] is True
            body = {"api_key": "good", "operation": "tts"}
            assert (await client.post("/authorize", json=body)).status_code == 200
            assert (await client.post("/authorize", json=["good"])).status_code == 401
            assert (await client.post("/authorize", content=b"{")).status_code == 401
            assert (await client.post("/authorize", content=b"x" * 5000)).status_code == 401
            assert (await client.get("/authorize")).status_code == 405
            assert (await client.get("/status")).json() == {
                "ok": True, "mode": "static", "state": "valid"
            }  # fmt: skip
            text = (await client.get("/metrics")).text
            assert 'license_proxy_decisions_total{status="200"} 2.0' in text
            # Every state has a series, so that an alert on one can tell "no" from "not known".
            assert 'license_proxy_state{mode="static",state="valid"} 1.0' in text
            assert 'license_proxy_state{mode="static",state="grace"} 0.0' in text
            assert 'license_proxy_state{mode="static",state="expired"} 0.0' in text

    asyncio.run(run())
