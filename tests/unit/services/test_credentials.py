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
from sonic_reference.api.authorization import Authorizer
from sonic_reference.api.credentials import Credentials
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.errors import ApiError
from starlette.requests import HTTPConnection

from tests.unit.services.proxies import licensed

SITE_KEY = "sk_site"


def asking(key: str = "", query: str = "") -> HTTPConnection:
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    return HTTPConnection({"type": "http", "headers": headers, "query_string": query.encode()})


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


def test_keys_and_tokens_are_told_apart() -> None:
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
