# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from sonic_reference import protocol
from sonic_reference.api.library import Library
from sonic_reference.artifacts.catalogue import DictionaryFile
from sonic_reference.dictionary import Item, say
from sonic_reference.errors import ApiError

from lab.processes import Stack


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
    ours = [
        Item(text="nato", alias="nay toe"),
        Item(text="York", alias="Jork"),
        Item(text="New York", alias="the big apple"),
        Item(text="SQL", alias="sequel", case_sensitive=True),
        Item(text="a.c.", alias="alternating current"),
    ]
    assert say(ours, text) == said
    assert say([], text) == text


async def connected(stack: Stack) -> Client:
    client = Client()
    await client.connect(
        stack.bus.url("api"), tls=stack.bus.tls, inbox_prefix=protocol.API_INBOX,
        max_reconnect_attempts=-1, reconnect_time_wait=1,
    )  # fmt: skip
    return client


async def until(ready: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(20):
            while not ready():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 20 s: {what}") from None


def names(library: Library) -> list[str]:
    return [one.name for one in library.all()]


def with_nats(
    tmp_path: Path, nats_server: str, body: Callable[[Stack], Coroutine[Any, Any, None]]
) -> None:
    stack = Stack(tmp_path, nats_server)
    try:
        stack.start_nats()
        asyncio.run(body(stack))
    finally:
        stack.stop()


def test_pods_share_what_is_made_changed_and_deleted(tmp_path: Path, nats_server: str) -> None:
    async def body(stack: Stack) -> None:
        clients = [await connected(stack) for _unused in range(3)]
        first, second, late = Library(), Library(), Library()
        for library, client in zip((first, second), clients, strict=False):
            await library.start(client)
            assert await library.loaded(20)
        made = await first.create("ours", [Item(text="a", alias="b")])
        gone = await first.create("theirs", [])
        await until(lambda: set(names(second)) == {"ours", "theirs"}, "the second pod hears")
        await second.update(second.get(made.id), name="mine")
        await second.update(second.get(gone.id), deleted=True)
        await until(lambda: names(first) == ["mine"], "the first pod hears")
        # A pod that comes later knows all of it, and the newest only, before it takes requests.
        await late.start(clients[2])
        assert await late.loaded(20)
        for library in (first, second, late):
            assert names(library) == ["mine"]
            with pytest.raises(ApiError):
                library.get(gone.id)
            await library.stop()
        for client in clients:
            await client.close()

    with_nats(tmp_path, nats_server, body)


def test_dictionaries_outlast_all_pods_and_the_bus(tmp_path: Path, nats_server: str) -> None:
    async def body(stack: Stack) -> None:
        client = await connected(stack)
        library = Library()
        await library.start(client)
        assert await library.loaded(20)
        await library.create("ours", [])
        await library.stop()
        await client.close()
        stack.processes["nats"].kill()
        stack.ended("nats")
        stack.start_nats()
        client = await connected(stack)
        later = Library()
        await later.start(client)
        assert await later.loaded(20)
        assert names(later) == ["ours"]
        await later.stop()
        await client.close()

    with_nats(tmp_path, nats_server, body)


def test_a_bus_without_its_store_gets_it_from_the_pods(tmp_path: Path, nats_server: str) -> None:
    async def body(stack: Stack) -> None:
        client, other = await connected(stack), await connected(stack)
        library, late = Library(), Library()
        await library.start(client)
        assert await library.loaded(20)
        made = await library.create("ours", [])
        stack.processes["nats"].kill()
        stack.ended("nats")
        # Meanwhile it is known, and nothing can be made.
        assert names(library) == ["ours"]
        with pytest.raises(ApiError) as caught:
            await library.create("lost", [])
        assert caught.value.status == 503
        shutil.rmtree(tmp_path / "nats/jetstream")
        stack.start_nats()
        await late.start(other)
        await until(lambda: names(late) == ["ours"], "another pod hears of what only one knew")
        # The pod that stored it may still be at it.
        async with asyncio.timeout(20):
            while names(library) != ["mine"]:
                try:
                    await library.update(library.get(made.id), name="mine")
                except ApiError as error:
                    if error.status != 503:
                        raise
                    await asyncio.sleep(0.1)
        await until(lambda: names(late) == ["mine"], "the store works again")
        for one in (library, late):
            await one.stop()
        await client.close()
        await other.close()

    with_nats(tmp_path, nats_server, body)


def test_dictionaries_that_come_as_artifacts_cannot_be_changed() -> None:
    async def body() -> None:
        library = Library()
        file = DictionaryFile(id="ours", name="Ours", items=[Item(text="a", alias="b")])
        library.deliver({"ours": file})
        before = library.get("ours")
        assert library.apply("ours", "a") == "b"
        with pytest.raises(ApiError) as caught:
            await library.update(before, name="mine")
        assert caught.value.status == 403
        # What did not change in a delivery keeps its date.
        library.deliver({"ours": file, "more": file.model_copy(update={"id": "more"})})
        assert library.get("ours").created_at == before.created_at
        library.deliver({})
        with pytest.raises(ApiError):
            library.get("ours")

    asyncio.run(body())
