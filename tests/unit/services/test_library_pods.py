# SPDX-License-Identifier: Apache-2.0
"""A client that makes a dictionary by one API pod uses it by another, at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sonic_reference.api.library import Library
from sonic_reference.dictionary import Item
from sonic_reference.errors import ApiError

from lab.processes import Stack
from tests.unit.services.test_library import connected, with_nats


def test_a_pod_looks_for_what_it_has_not_heard_of(tmp_path: Path, nats_server: str) -> None:
    async def body(stack: Stack) -> None:
        clients = [await connected(stack) for _unused in range(2)]
        first, second = Library(), Library()
        for library, client in zip((first, second), clients, strict=True):
            await library.start(client)
            assert await library.loaded(20)
        # From here on it hears nothing by itself, as in the moment before the news arrive.
        await second.stop()
        made = await first.create("ours", [Item(text="a", alias="b")])
        with pytest.raises(ApiError):
            second.get(made.id)
        await second.fetch(made.id)
        assert second.get(made.id).items == made.items
        await first.update(made, name="theirs")
        await second.fetch(made.id)
        assert second.get(made.id).name == "theirs"
        await first.delete(made)
        await second.fetch(made.id)
        with pytest.raises(ApiError):
            second.get(made.id)
        await first.stop()
        for client in clients:
            await client.close()

    with_nats(tmp_path, nats_server, body)


@pytest.mark.parametrize("name", [None, "", "pdict_", "pdict_" + 32 * "0", "a b", "../x", ">"])
def test_what_is_not_there_stays_unknown(
    name: str | None, tmp_path: Path, nats_server: str
) -> None:
    async def body(stack: Stack) -> None:
        client = await connected(stack)
        library = Library()
        await library.fetch(name)
        await library.start(client)
        assert await library.loaded(20)
        await library.fetch(name)
        with pytest.raises(ApiError):
            library.get(name or "")
        await library.stop()
        await client.close()

    with_nats(tmp_path, nats_server, body)


def test_a_store_that_is_away_raises_nothing(tmp_path: Path, nats_server: str) -> None:
    async def body(stack: Stack) -> None:
        client = await connected(stack)
        library = Library()
        await library.start(client)
        assert await library.loaded(20)
        await library.stop()
        await client.close()
        async with asyncio.timeout(20):
            await library.fetch("pdict_" + 32 * "0")

    with_nats(tmp_path, nats_server, body)
