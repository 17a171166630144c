# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from sonic_reference import protocol
from sonic_reference.api import library as libraries
from sonic_reference.api.library import Library
from sonic_reference.artifacts.catalogue import DictionaryFile
from sonic_reference.dictionary import Aliases, Item, say, words
from sonic_reference.errors import ApiError

from lab.processes import Stack


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_texts_are_replaced_by_their_aliases(text: str, expected: str) -> None:
    ours = [
        Item(text="nato", alias="nay toe"),
        Item(text="York", alias="Jork"),
        Item(text="New York", alias="the big apple"),
        Item(text="SQL", alias="sequel", case_sensitive=True),
        Item(text="a.c.", alias="alternating current"),
    ]
    assert say(ours, text) == expected
    assert say([], text) == text


# By Unicode's rules for the ends of words; the last ones are scripts that have no spaces.
@pytest.mark.parametrize(
    ("item", "text", "expected"),
    [
        ("हम", "हमें हम", "हमें _"),
        ("cafe\u0301", "Caf\u00e9s, caf\u00e9", "Caf\u00e9s, _"),
        ("e", "e\u0301 e", "e\u0301 _"),
        ("can", "can't can", "can't _"),
        ("3", "3.50 3", "3.50 _"),
        ("👩", "👩\u200d👧 👩", "👩\u200d👧 _"),
        ("🇦🇹", "🇩🇦🇹🇩 🇦🇹", "🇩🇦🇹🇩 _"),
        ("أهل", "أهلا أهل", "أهلا _"),
        ("Xavix", "Xavixの設定", "_の設定"),
        ("北京", "我想去北京吃饭", "我想去_吃饭"),
        ("天気", "今日は天気がいい", "今日は_がいい"),
        ("テスト", "テストケース", "_ケース"),
        ("コーヒ", "コーヒー", "コーヒー"),
        ("き", "きょうき", "きょう_"),
        ("สวัสดี", "ครับสวัสดีครับ", "ครับ_ครับ"),
        ("ส", "สวัส", "_วั_"),
        ("ລາວ", "ພາສາລາວດີ", "ພາສາ_ດີ"),
        ("ខ្មែរ", "ភាសាខ្មែរ", "ភាសា_"),
        ("မြန်မာ", "ကမြန်မာစာ", "က_စာ"),
        ("a", "a\udc00\U0010ffff a", "_\udc00 _"),
    ],
)
def test_words_end_where_unicode_says(item: str, text: str, expected: str) -> None:
    assert say([Item(text=item, alias="_")], text) == expected
    with_case = Item(text=item, alias="_", case_sensitive=True)
    assert say([with_case], text.replace("Caf", "caf")) == expected.replace("Caf", "caf")


@settings(deadline=None, database=None)
@given(
    items=st.lists(
        st.tuples(st.text("aA.! 北\u0301", min_size=1, max_size=4), st.booleans()), max_size=6
    ),
    text=st.text("aA.! 北\u0301", max_size=90),
)
def test_the_first_and_longest_text_is_found(items: list[tuple[str, bool]], text: str) -> None:
    parts = words(text)
    assert "".join(parts) == text
    ours = [
        Item(text=item, alias=f"<{number}>", case_sensitive=case)
        for number, (item, case) in enumerate(items)
    ]

    def usual(some: list[str], case: bool | None) -> list[str]:
        return [normalize("NFC", one if case else one.casefold()) for one in some]

    # The plain way: at each word, try every item.
    actual, at = "", 0
    while at < len(parts):
        fits = []
        for number, item in enumerate(ours):
            wanted = usual(words(item.text), item.case_sensitive)
            if usual(parts[at : at + len(wanted)], item.case_sensitive) == wanted:
                fits.append((len(wanted), item.case_sensitive, number))
        size, _case, number = max(fits, default=(1, False, -1))
        actual += parts[at] if number < 0 else ours[number].alias
        at += size
    assert say(ours, text) == actual


def test_what_a_dictionary_takes_does_not_depend_on_its_texts() -> None:
    alike = [Item(text="." * 196 + f"{number:04}", alias="x") for number in range(1000)]
    other = [Item(text=f"{number:04}" * 50, alias="x") for number in range(1000)]
    nested = [
        Item(text="." * number, alias="x", case_sensitive=bool(number % 2))
        for number in range(1, 200)
    ]

    def steps(items: list[Item], text: str) -> float:
        ready = Aliases(items)
        began = time.thread_time()
        ready.apply(text)
        return time.thread_time() - began

    # Seconds of this thread alone, so that others on the machine do not count; it took 2.4 s.
    for items in (alike, other, nested):
        assert min(steps(items, "." * 3000) for _unused in range(3)) < 0.25


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


def knows_only(library: Library, name: str) -> bool:
    return list(library._known) == [name]


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
        assert await library.apply("ours", "a") == "b"
        assert await library.apply("ours", "a " * 500) == "b " * 500
        with pytest.raises(ApiError, match="There is no pronunciation dictionary 'none'"):
            await library.apply("none", "")
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


def test_deleted_dictionaries_are_forgotten(
    tmp_path: Path, nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stored(client: Client, at_most: int) -> None:
        stream = client.jetstream()
        async with asyncio.timeout(20):
            while True:
                info = await stream.stream_info(f"KV_{protocol.DICTIONARIES}")
                if info.state.messages <= at_most:
                    return
                await asyncio.sleep(0.05)

    async def body(stack: Stack) -> None:
        client, other = await connected(stack), await connected(stack)
        library, second = Library(), Library()
        for one, its in ((library, client), (second, other)):
            await one.start(its)
            assert await one.loaded(20)
        kept = await library.create("kept", [])
        for number in range(5):
            made = await library.create(f"number {number}", [Item(text="a", alias="b")])
            await library.delete(library.get(made.id))
        # Too many: the oldest go at once, here and in the store.
        await stored(client, 3)
        monkeypatch.setattr(libraries, "REMEMBERED_S", 0.0)
        await stored(client, 1)
        for one in (library, second):
            await until(partial(knows_only, one, kept.id), "all pods forget")
            await one.stop()
        await client.close()
        await other.close()

    monkeypatch.setattr(libraries, "MAX_REMEMBERED", 2)
    with_nats(tmp_path, nats_server, body)


def test_a_pod_that_was_away_for_long_takes_the_stores_word(
    tmp_path: Path, nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(stack: Stack) -> None:
        client, other = await connected(stack), await connected(stack)
        library, away = Library(), Library()
        await library.start(client)
        assert await library.loaded(20)
        kept = await library.create("kept", [])
        away._note(kept.model_copy(update={"id": "long-gone"}))
        away._followed = time.monotonic() - libraries.REMEMBERED_S - 1
        await away.start(other)
        assert await away.loaded(20)
        assert names(away) == ["kept"]
        # One that was away for a moment brings what only it knows.
        back = Library()
        back._note(kept.model_copy(update={"id": "only-here", "name": "ours"}))
        await back.start(other)
        await until(lambda: sorted(names(library)) == ["kept", "ours"], "the others hear of it")
        for one in (library, away, back):
            await one.stop()
        await client.close()
        await other.close()

    with_nats(tmp_path, nats_server, body)


def test_the_memory_of_all_dictionaries_is_bounded(
    tmp_path: Path, nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(stack: Stack) -> None:
        client = await connected(stack)
        library = Library()
        await library.start(client)
        assert await library.loaded(20)
        items = [Item(text=f"word {number}", alias="said") for number in range(20)]
        first = await library.create("first", items)
        monkeypatch.setattr(libraries, "MAX_MEMORY", 2 * first.memory - 1)
        with pytest.raises(ApiError, match="delete some"):
            await library.create("second", items)
        with pytest.raises(ApiError, match="delete some"):
            await library.update(first, items=items * 3)
        # Room is what is not taken by others; what was deleted takes none.
        await library.update(first, items=[*items, Item(text="one", alias="more")])
        await library.delete(library.get(first.id))
        await library.create("second", items)
        await library.stop()
        await client.close()

    with_nats(tmp_path, nats_server, body)


def test_a_text_that_its_aliases_make_huge_is_refused() -> None:
    async def body() -> None:
        library = Library()
        items = [Item(text="a", alias="b" * 400)]
        library.deliver({"ours": DictionaryFile(id="ours", name="Ours", items=items)})
        with pytest.raises(ApiError, match="more than 100000 characters") as caught:
            await library.apply("ours", "a " * 10_000)
        assert caught.value.status == 400

    asyncio.run(body())
