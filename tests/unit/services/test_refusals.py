# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from sonic_reference.api.refusals import Refusals, client_of
from starlette.requests import HTTPConnection


def test_a_client_that_tries_many_keys_forgets_its_own_only() -> None:
    refusals: Refusals[int] = Refusals(total=100, per_client=10)
    refusals.add("quiet", b"key", 401)
    for number in range(1000):
        refusals.add("loud", str(number).encode(), 401)
    assert len(refusals) == 11
    assert refusals.find("quiet", b"key") == 401
    assert refusals.find("loud", b"999") == 401
    assert refusals.find("loud", b"989") is None
    assert refusals.find("other", b"key") is None


def test_many_clients_stay_within_the_total() -> None:
    refusals: Refusals[int] = Refusals(total=100, per_client=10)
    for number in range(500):
        for key in (b"one", b"two"):
            refusals.add(f"client {number}", key, 403)
    assert len(refusals) == 100
    assert refusals.find("client 499", b"two") == 403
    assert refusals.find("client 0", b"two") is None


def test_the_same_refusal_counts_once() -> None:
    refusals: Refusals[int] = Refusals()
    refusals.add("a", b"key", 401)
    refusals.add("a", b"key", 402)
    assert len(refusals) == 1
    assert refusals.find("a", b"key") == 402


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.9"),
        (["203.0.113.7"], "203.0.113.7"),
        # A client wrote the first one.
        (["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
        (["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
        (["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (["2001:db8:1:2::1"], "2001:db8:1:2::/64"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["unknown"], "10.0.0.9"),
        ([""], "10.0.0.9"),
    ],
)
def test_who_a_client_is(forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {"type": "http", "headers": headers, "client": ("10.0.0.9", 5)}
    assert client_of(HTTPConnection(scope)) == client
