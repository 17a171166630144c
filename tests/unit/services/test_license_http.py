# SPDX-License-Identifier: Apache-2.0
"""The license proxy's HTTP side."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._license.audit import read_tar, verify
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.endpoint import Connected
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor
from tests.unit.services.proxies import Clock, proxy_of

VENDOR = Vendor()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEARER = {"Authorization": "Bearer good"}


class Served:
    """A proxy, its clock, and a client of it."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock) -> None:
        self.client = client
        self.clock = clock

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        answer = await self.client.request(method, path, **more)
        return answer.status_code, answer.json() if answer.content else None

    async def metrics(self) -> list[str]:
        return (await self.client.get("/metrics")).text.splitlines()


Body = Callable[[Served], Awaitable[None]]


def serve(folder: Path, body: Body, mode: str = "airgapped") -> None:
    async def run() -> None:
        clock, store = Clock(NOW.timestamp()), Store(folder)
        licensing: Connected | AirGapped
        if mode == "airgapped":
            licensing = AirGapped(offline.public_key(VENDOR.public_key), store, grace_s=3600)
        else:
            licensing = Connected(
                httpx.AsyncClient(), store, dict, url="https://x", key="good", grace_s=60,
                interval_s=60, clock=clock,
            )  # fmt: skip
        app = create_app(proxy_of(["good"], licensing, store, clock))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            await body(Served(client, clock))

    asyncio.run(run())


def licence(name: str = "L-1", days: float = 0, life: float = 30) -> str:
    issued = NOW + timedelta(days=days)
    return VENDOR.licence(name, issued=issued, life=timedelta(days=life))


def test_key_and_operation_come_in_header_or_body(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        await served.ask("POST", "/license", content=licence())
        client = served.client
        assert (await client.post("/authorize", headers=BEARER)).json()["authorized"] is True
        asked: Any
        for asked, status in (
            ({"json": {"api_key": "good", "operation": "tts"}}, 200),
            ({"json": ["good"]}, 401),
            ({"content": b"{"}, 401),
            ({"content": b"[" * 60_000}, 401),
            ({"content": b"x" * 5000}, 401),
            ({"content": b"x" * 70_000}, 413),
        ):
            assert (await client.post("/authorize", **asked)).status_code == status
        assert (await client.get("/authorize")).status_code == 405
        actual = await served.metrics()
        assert 'license_proxy_decisions_total{status="200"} 2.0' in actual
        assert 'license_proxy_decisions_total{status="401"} 4.0' in actual

    serve(tmp_path, body)


def test_a_licence_is_handed_in_runs_out_and_is_renewed(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        async def state() -> tuple[int, str]:
            status, actual = await served.ask("POST", "/authorize", headers=BEARER)
            result = (await served.ask("GET", "/status"))[1]
            assert result["ok"] == (status == 200)
            # Every state has a series, so that an alert on one can tell "no" from "not known".
            actual = await served.metrics()
            for each in ("connected", "airgapped", "grace", "expired"):
                value = float(each == result["state"])
                series = f'license_proxy_state{{mode="airgapped",state="{each}"}} {value}'
                assert series in actual
            return status, result["state"]

        assert await state() == (402, "expired")
        status, actual = await served.ask("POST", "/license", content=licence())
        assert (status, actual["changed"], actual["state"]) == (200, True, "airgapped")
        assert actual["license"]["id"] == "L-1"
        assert actual["until"] == "2026-12-21T12:00:00Z"
        status, actual = await served.ask("POST", "/license", content=licence())
        assert (status, actual["changed"]) == (200, False)
        assert await state() == (200, "airgapped")
        served.clock.now += 30 * 86400
        assert await state() == (200, "grace")
        served.clock.now += 3600
        assert await state() == (402, "expired")
        status, _answer = await served.ask("POST", "/license", content=licence("L-2", 30))
        assert (status, await state()) == (200, (200, "airgapped"))

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 400, "license_unreadable"),
        (Vendor().licence(), 403, "license_signature"),
        (licence("L-0", -1), 409, "license_superseded"),
        (licence("L-9", -1, life=0.5), 422, "license_expired"),
        ("x" * 70_000, 413, "request_too_large"),
    ],
)
def test_what_is_refused_says_why_and_changes_nothing(
    tmp_path: Path, text: str, status: int, code: str
) -> None:
    async def body(served: Served) -> None:
        await served.ask("POST", "/license", content=licence())
        before = await served.ask("GET", "/status")
        answer, actual = await served.ask("POST", "/license", content=text)
        assert (answer, actual["error_code"]) == (status, code)
        assert actual["message"]
        assert await served.ask("GET", "/status") == before

    serve(tmp_path, body)


def test_connected_mode_takes_no_offline_licence(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        status, actual = await served.ask("POST", "/license", content=licence())
        assert (status, actual["error_code"]) == (409, "license_mode")
        assert 'license_proxy_checks_total{result="unreachable"} 0.0' in await served.metrics()

    serve(tmp_path, body, "connected")


def test_usage_is_accepted_with_the_key_and_is_in_the_audit_log(tmp_path: Path) -> None:
    usage = {"tts": {"requests": 2.0, "characters": 40.0}, "stt": {"requests": 1, "seconds": 2.5}}
    report = {"reporter": "pod/1", "usage": usage}

    async def body(served: Served) -> None:
        assert (await served.ask("POST", "/usage", json=report))[0] == 401
        wrong: Any
        for wrong in ({}, [], {"reporter": "a", "usage": {"tts": {"requests": -1}}}):
            assert (await served.ask("POST", "/usage", json=wrong, headers=BEARER))[0] == 400
        for _unused in range(2):
            assert (await served.ask("POST", "/usage", json=report, headers=BEARER))[0] == 204
        await served.ask("POST", "/license", content=licence())
        series = 'license_proxy_usage_total{operation="tts",unit="characters"} 40.0'
        assert series in await served.metrics()
        answer = await served.client.get("/audit")
        assert answer.headers["content-type"] == "application/x-tar"
        log = read_tar(io.BytesIO(answer.content))
        assert verify(log) == []
        text = b"\n".join(log.lines).decode()
        assert [event in text for event in ('"license"', '"usage"', '"characters": 40')] == [
            True
        ] * 3
        assert "good" not in text

    serve(tmp_path, body)


def test_a_volume_that_is_full_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(served: Served) -> None:
        def full(*_unused: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Store, "write", full)
        status, actual = await served.ask("POST", "/license", content=licence())
        assert (status, actual["error_code"]) == (507, "storage")

    serve(tmp_path, body)


def test_a_path_with_a_line_feed_is_no_path(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        for path in ("/status", "/metrics", "/audit"):
            assert (await served.client.get(path)).status_code == 200
            assert (await served.client.get(f"{path}%0A")).status_code == 404
        for path in ("/authorize", "/usage", "/license"):
            assert (await served.client.post(f"{path}%0A")).status_code == 404

    serve(tmp_path, body)


def test_a_log_that_was_cut_is_a_warning_and_a_metric(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        await served.ask("POST", "/license", content=licence())
        assert (await served.ask("GET", "/status"))[1]["warnings"] == []
        assert "license_proxy_audit_gaps 0.0" in await served.metrics()
        (tmp_path / "audit.jsonl").write_bytes(b"")
        await served.client.get("/audit")
        served.clock.now += 60
        [warning] = (await served.ask("GET", "/status"))[1]["warnings"]
        assert "the log was cut or changed while the service ran" in warning
        assert "send the vendor an export" in warning
        assert "license_proxy_audit_gaps 1.0" in await served.metrics()
        served.clock.now -= 3600
        await served.ask("POST", "/authorize", headers=BEARER)
        shown = [one for one in await served.metrics() if "clock_behind_seconds 3" in one]
        assert len(shown) == 1

    serve(tmp_path, body)
