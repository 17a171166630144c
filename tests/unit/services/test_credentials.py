# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import jwt
import pytest
from sonic_reference.api import credentials
from sonic_reference.api.authorization import Authorizer
from sonic_reference.api.credentials import Credentials, Permit
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError
from starlette.requests import HTTPConnection

from tests.unit.services.proxies import licensed

SITE_KEY = "sk_site"


def asking(key: str = "", query: str = "", kind: str = "http") -> HTTPConnection:
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    return HTTPConnection({"type": kind, "headers": headers, "query_string": query.encode()})


def status(connection: HTTPConnection, operation: str, site_key: str = SITE_KEY) -> int:
    """Whether this may be done, as the API's status."""

    async def run() -> None:
        async with httpx.AsyncClient(transport=proxy, base_url="http://proxy") as client:
            authorizer = Authorizer(client, ApiMetrics(), ttl_s=1, grace_s=1)
            await Credentials(authorizer, site_key).check(connection, operation)

    try:
        with TemporaryDirectory() as folder:
            proxy = licensed(Path(folder), [SITE_KEY, "sk_client"], time.time())
            asyncio.run(run())
    except ApiError as error:
        return error.status
    return 200


def token(life_s: int = 60, site_key: str = SITE_KEY, **grants: bool) -> str:
    authorizer: Any = None
    return Credentials(authorizer, site_key).token(grants, life_s)


def test_keys_and_tokens_are_distinguished() -> None:
    assert status(asking("sk_client"), "tts") == 200
    assert status(asking("sk_client"), "library") == 200
    assert status(asking("sk_nobody"), "tts") == 401
    assert status(asking(), "tts") == 401
    speaking = token(tts=True, stt=False)
    assert status(asking(speaking), "tts") == 200
    assert status(asking(query=f"access_token={speaking}"), "tts") == 200
    assert status(asking(speaking), "stt") == 403
    assert status(asking(speaking), "library") == 403


def test_tokens_of_others_and_old_ones_are_refused() -> None:
    assert status(asking(token(life_s=-1, tts=True)), "tts") == 401
    assert status(asking(token(site_key="sk_other", tts=True)), "tts") == 401
    now = int(time.time())
    claims = {"iss": "sonic-reference", "exp": now + 60, "grants": ["tts"]}
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert status(asking(unsigned), "tts") == 401
    assert status(asking("a.b.c"), "tts") == 401


def test_a_token_is_good_for_no_longer_than_the_sites_key() -> None:
    assert status(asking(token(site_key="sk_gone", tts=True)), "tts", site_key="sk_gone") == 401


def test_without_a_key_there_are_no_tokens() -> None:
    with pytest.raises(ApiError, match="no key"):
        token(site_key="", tts=True)
    assert status(asking(token(tts=True)), "tts", site_key="") == 401


def test_a_websocket_may_show_its_key_in_the_query() -> None:
    assert status(asking(query="api_key=sk_client", kind="websocket"), "tts") == 200
    assert status(asking(query="api_key=sk_nobody", kind="websocket"), "tts") == 401
    # The vendor's JavaScript client sends a version and its own name beside it.
    query = "cartesia_version=2026-08-14&api_key=sk_client&cartesia_client=js%2F4.2.0"
    assert status(asking(query=query, kind="websocket"), "stt") == 200
    speaking = token(tts=True)
    assert status(asking(query=f"access_token={speaking}", kind="websocket"), "tts") == 200
    # A header says more than a query, and a token more than a key.
    assert status(asking("sk_client", "api_key=sk_nobody", kind="websocket"), "tts") == 200
    query = f"api_key=sk_client&access_token={speaking}"
    assert status(asking(query=query, kind="websocket"), "stt") == 403
    # Everything else can set headers, and its URLs end in more logs.
    assert status(asking(query="api_key=sk_client"), "tts") == 401


@pytest.mark.parametrize(
    "query", ["%0A", "%00", "%20", "%20sk_client", "sk_client%0D%0A", "%C3%A9", "%FF"]
)
@pytest.mark.parametrize("name", ["access_token", "api_key"])
def test_what_no_key_can_be_is_one_line_in_the_log(
    query: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="sonic_reference"):
        assert status(asking(query=f"{name}={query}", kind="websocket"), "tts") == 401
    lines = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert len(lines) == 1
    assert "sk_client" not in lines[0]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize("header", [b"x-api-key", b"authorization"])
@pytest.mark.parametrize("key", [b"\xc3\xa9", b"sk_client\xa0", b"\x85sk_client", b"\xff\xfe"])
def test_headers_may_hold_anything(header: bytes, key: bytes) -> None:
    value = b"Bearer " + key if header == b"authorization" else key
    scope = {"type": "http", "headers": [(header, value)], "query_string": b""}
    assert status(HTTPConnection(scope), "tts") == 401


def over(permit: Permit, site_key: str, keys: list[str]) -> ApiError:
    """Why a permit ended."""

    async def run() -> ApiError:
        async with httpx.AsyncClient(transport=proxy, base_url="http://proxy") as client:
            authorizer = Authorizer(client, ApiMetrics(), ttl_s=1, grace_s=1)
            return await Credentials(authorizer, site_key).ended(permit)

    with TemporaryDirectory() as folder:
        proxy = licensed(Path(folder), keys, time.time())
        return asyncio.run(run())


def test_a_permit_ends_with_its_token() -> None:
    permit = Permit("tts", SITE_KEY, b"holder", "client", ends_at=time.time() - 1)
    error = over(permit, SITE_KEY, [SITE_KEY])
    assert (error.status, error.code) == (401, "token_expired")


def test_a_permit_ends_when_its_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "LEAST_RECHECK_S", 0.0)
    permit = Permit("tts", "sk_revoked", b"holder", "client")
    error = over(permit, SITE_KEY, [SITE_KEY])
    assert (error.status, error.code) == (401, "invalid_api_key")


def test_a_permit_shows_no_key() -> None:
    assert "sk_" not in repr(Permit("tts", "sk_secret", b"holder", "client"))
