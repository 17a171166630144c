# SPDX-License-Identifier: Apache-2.0
"""Requests to publishers: tokens, rate limits, and failures."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lab.bundle import publishers
from lab.bundle.publishers import NotTakenError
from lab.standins import authority, content
from lab.standins.server import Content, Publishers

Answers = Callable[[httpx.Request], httpx.Response]


def ask(answers: Answers, pauses: list[float] | None = None) -> httpx.Response:
    with httpx.Client(transport=httpx.MockTransport(answers)) as http:
        waited = [] if pauses is None else pauses
        return publishers.ask(
            http, "image:tool", "GET", "https://registry.test/x", pause=waited.append
        )


def test_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    headers = [{"Retry-After": "7"}, {}]

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers=headers.pop(0)) if headers else httpx.Response(200)

    waited: list[float] = []
    assert ask(answer, waited).status_code == 200
    assert waited == [7.0, 5.0]


@pytest.mark.parametrize("after", ["61", "86400", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon"])
def test_long_rate_limit_is_not_waited_for(after: str) -> None:
    waited: list[float] = []
    with pytest.raises(NotTakenError, match="rate limit"):
        ask(lambda _request: httpx.Response(429, headers={"Retry-After": after}), waited)
    assert waited == []


def test_endless_rate_limit_ends() -> None:
    waited: list[float] = []
    with pytest.raises(NotTakenError, match="rate limit"):
        ask(lambda _request: httpx.Response(429, headers={"Retry-After": "0"}), waited)
    assert sum(waited) == publishers.PATIENCE_S


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_part_that_is_refused_is_named_with_the_answer(status: int) -> None:
    with pytest.raises(NotTakenError, match=f"image:tool .*: {status} ") as caught:
        ask(lambda _request: httpx.Response(status))
    assert caught.value.part == "image:tool"


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="http://plain.test/token",service="x"',
        'Bearer service="x"',
        "Basic realm=x",
        "Bearer",
        'Bearer realm="https://',
    ],
)
def test_token_is_asked_for_over_tls_only(challenge: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    with pytest.raises(NotTakenError):
        ask(answer)
    assert all(url.startswith("https://registry.test/") for url in asked)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no json", b'{"token": ""}'])
def test_endpoint_that_gives_no_token(body: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, content=body)
        realm = 'Bearer realm="https://registry.test/token"'
        return httpx.Response(401, headers={"WWW-Authenticate": realm})

    with pytest.raises(NotTakenError, match="gives no token"):
        ask(answer)


def test_rate_limit_of_the_endpoint_of_tokens_is_waited_for() -> None:
    limits = [429]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(limits.pop() if limits else 200, json={"access_token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return httpx.Response(200, text="manifest")
        realm = 'Bearer realm="https://registry.test/token"'
        return httpx.Response(401, headers={"WWW-Authenticate": realm})

    waited: list[float] = []
    assert ask(answer, waited).text == "manifest"
    assert waited == [5.0]


@dataclasses.dataclass
class Registry:
    """A stand-in of a registry with one image, on this machine."""

    served: Content
    name: str


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    content.add_image(tmp_path / "store", "example.com/tool", "1", program, "/bin/tool")
    trusted, pair = authority.issue(["localhost"], tmp_path)
    served = Content([tmp_path / "store"], tmp_path / "site", {"localhost": "example.com"})
    monkeypatch.setattr(publishers, "AUTHORITIES", str(trusted))
    with Publishers(served, ("127.0.0.1", 0), pair) as standin:
        yield Registry(served, f"localhost:{standin.server.server_port}")


def test_digest_of_a_tag_from_a_registry_with_tokens_and_limits(registry: Registry) -> None:
    manifest = registry.served.manifest("example.com/tool", "1")
    assert manifest is not None
    digest, body = manifest
    assert digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    with publishers.client() as http:
        got = publishers.image_digest(http, "image:tool", f"{registry.name}/tool", "1")
    assert got == digest
    methods = [words.split()[0] for words in registry.served.asked]
    # Without a token, for the token, and with it: the last one twice, for its first is limited.
    assert methods == ["HEAD", "GET", "HEAD", "HEAD", "GET", "HEAD"]


def test_tag_that_a_registry_does_not_have(registry: Registry) -> None:
    registry.served.limited = 0
    with publishers.client() as http, pytest.raises(NotTakenError, match="404"):
        publishers.image_digest(http, "image:tool", f"{registry.name}/tool", "2")


def test_registry_that_gives_no_digest_is_asked_for_the_manifest() -> None:
    body = b'{"schemaVersion": 2}'
    http = httpx.Client(transport=httpx.MockTransport(lambda _r: httpx.Response(200, content=body)))
    digest = publishers.image_digest(http, "image:tool", "example.com/tool", "1")
    assert digest == f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_hosts_that_answer_are_found_within_the_time(registry: Registry) -> None:
    assert publishers.answering({registry.name, "localhost:1"}, seconds=30) == {registry.name}
    assert publishers.answering(set()) == set()


def test_certificate_of_another_authority_is_no_answer(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other, _pair = authority.issue(["localhost"], tmp_path / "other")
    monkeypatch.setattr(publishers, "AUTHORITIES", str(other))
    assert publishers.answering({registry.name}, seconds=30) == set()
