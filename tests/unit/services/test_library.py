# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client
from sonic_reference.api.library import Dictionary, Item, Library
from sonic_reference.errors import ApiError

from lab.processes import Stack


def dictionary(*items: Item) -> Dictionary:
    return Dictionary(id="d", name="n", items=list(items), created_at="", changed=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ask NATO now", "Ask nay toe now"),
        ("ask Nato, now", "ask nay toe, now"),
        ("NATOs", "NATOs"),
        ("New York City", "the big apple City"),
        ("in New Yorkers", "in New Yorkers"),
        ("SQL and sql", "sequel and sql"),
        ("a.c. and abc", "alternating current and abc"),
        ("", ""),
    ],
)
def test_texts_are_said_as_their_aliases(text: str, said: str) -> None:
    ours = dictionary(
        Item(text="nato", alias="nay toe"),
        Item(text="York", alias="Jork"),
        Item(text="New York", alias="the big apple"),
        Item(text="SQL", alias="sequel", case_sensitive=True),
        Item(text="a.c.", alias="alternating current"),
    )
    assert ours.apply(text) == said
    assert dictionary().apply(text) == text


def test_pods_share_what_is_made_changed_and_deleted(tmp_path: Path, nats_server: str) -> None:
    stack = Stack(tmp_path, nats_server)

    async def connected() -> Client:
        client = Client()
        await client.connect(stack.nats_url, max_reconnect_attempts=-1)
        return client

    async def settle(clients: list[Client]) -> None:
        for client in clients * 3:
            await client.flush()
            await asyncio.sleep(0.05)

    async def run() -> None:
        clients = [await connected() for _unused in range(3)]
        first, second, late = Library(), Library(), Library()
        await first.start(clients[0])
        await second.start(clients[1])
        made = await first.create("ours", [Item(text="a", alias="b")])
        gone = await first.create("theirs", [])
        await settle(clients)
        assert {one.name for one in second.all()} == {"ours", "theirs"}
        await second.update(second.get(made.id), name="mine")
        await second.update(second.get(gone.id), deleted=True)
        await settle(clients)
        # A pod that comes later hears of everything, of the newest only.
        await late.start(clients[2])
        await settle(clients)
        for library in (first, second, late):
            assert [one.name for one in library.all()] == ["mine"]
            with pytest.raises(ApiError):
                library.get(gone.id)
            await library.stop()
        for client in clients:
            await client.close()

    try:
        stack.start_nats()
        asyncio.run(run())
    finally:
        stack.stop()
