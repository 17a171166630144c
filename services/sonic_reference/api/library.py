# SPDX-License-Identifier: Apache-2.0
"""Pronunciation dictionaries: those that clients make, and those that come as artifacts.

Those of clients are in a key-value store of NATS JetStream. A client gets its answer after the
store has the dictionary. Each API pod also holds all of them in memory, and watches the store. When
a NATS server comes back without its store, the pods write theirs to it.

The store keeps a note of each deleted dictionary for an hour, so that a pod that was cut off does
not bring it back. The number of notes is limited. A pod that was cut off for longer takes the
store's content as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ValidationError

from sonic_reference import protocol, tags
from sonic_reference.artifacts.catalogue import DictionaryFile
from sonic_reference.dictionary import Aliases, Item
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

MAX_DICTIONARIES = 1000
# Bytes of memory that all dictionaries of clients may take.
MAX_MEMORY = 64 * 1024 * 1024
# Bytes that an item takes beside its texts, measured.
ITEM_MEMORY = 800
# Seconds for which a deleted dictionary is remembered, and the largest number of them.
REMEMBERED_S = 3600.0
MAX_REMEMBERED = 1000
# Bytes of texts in dictionaries that are kept ready to be used; each takes about twelve in memory.
MAX_READY = 2 * 1024 * 1024
# Characters of a text that is replaced on the event loop; that takes far less than 1 ms.
QUICK = 200
# Characters of a text with its aliases.
MAX_REPLACED = 100_000
STORE_TIMEOUT_S = 3.0
# For the newest version of a dictionary of which one is known here.
FRESH_TIMEOUT_S = 0.5
# The store's stream and the subjects in it, as NATS names those of a bucket.
STORE = f"KV_{protocol.DICTIONARIES}"
SUBJECT = f"$KV.{protocol.DICTIONARIES}"
WATCH_S = 1.0
# After that a store that broke is opened again.
RETRY_S = 1.0
FAILURES = (NatsError, TimeoutError, OSError)
# The ids that create gives.
MADE = re.compile("pdict_[0-9a-f]{32}")


class Dictionary(BaseModel):
    """A pronunciation dictionary, with what the pods need to agree on its newest version."""

    id: str
    name: str
    items: list[Item]
    created_at: str
    changed: float
    deleted: bool = False
    delivered: bool = False

    @property
    def memory(self) -> int:
        """Bytes of memory that it takes, about."""
        texts = sum(sys.getsizeof(item.text) + sys.getsizeof(item.alias) for item in self.items)
        return texts + ITEM_MEMORY * (1 + len(self.items))

    def public(self) -> dict[str, object]:
        """Return it as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "items": [item.model_dump(exclude_none=True) for item in self.items],
            "created_at": self.created_at,
            "owner_id": "site",
            "pinned": False,
        }


class Shelf:
    """The dictionaries that were used last, ready to be used."""

    def __init__(self) -> None:
        self._ready: OrderedDict[tuple[str, float, str], Aliases] = OrderedDict()

    async def say(self, entry: Dictionary, text: str) -> str:
        """Return a text with a dictionary's aliases in place of its words.

        Long texts are done in a thread, so that other requests are served.
        """
        key = (entry.id, entry.changed, entry.created_at)
        aliases = self._ready.get(key)
        if aliases is None:
            aliases = await asyncio.to_thread(Aliases, entry.items)
            self._ready[key] = aliases
            while (
                len(self._ready) > 1 and sum(one.size for one in self._ready.values()) > MAX_READY
            ):
                self._ready.popitem(last=False)
        else:
            self._ready.move_to_end(key)
        if len(text) <= QUICK:
            return _replaced(aliases, text)
        return await asyncio.to_thread(_replaced, aliases, text)


def _replaced(aliases: Aliases, text: str) -> str:
    """Return a text as a dictionary wants it said; its tags stay as they are."""
    return "".join(aliases.apply(part) if plain else part for part, plain in tags.split(text))


class Library:
    """All dictionaries of the site that this pod knows.

    ``replicas`` is how many NATS servers hold the store.
    """

    def __init__(self, replicas: int = 1) -> None:
        self._replicas = replicas
        self._known: dict[str, Dictionary] = {}
        self._memory: dict[str, int] = {}
        self._delivered: dict[str, Dictionary] = {}
        self._shelf = Shelf()
        self._store: KeyValue | None = None
        self._stream: JetStreamContext | None = None
        # When the store was last followed; monotonic seconds.
        self._followed = time.monotonic()
        self._following: asyncio.Task[None] | None = None
        self._current = asyncio.Event()

    async def start(self, client: Client) -> None:
        """Use this server's store for what clients make."""
        self._following = asyncio.create_task(self._follow(client))

    async def loaded(self, timeout_s: float) -> bool:
        """Wait until everything in the store is known here; returns whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._current.wait()
        return self._current.is_set()

    async def stop(self) -> None:
        """Stop watching the store."""
        if self._following:
            self._following.cancel()

    def deliver(self, files: Mapping[str, DictionaryFile]) -> None:
        """Replace the dictionaries that came as artifacts."""
        now = datetime.now(UTC).isoformat()
        self._delivered = {
            name: self._delivered[name]
            if name in self._delivered
            and (self._delivered[name].name, self._delivered[name].items) == (file.name, file.items)
            else Dictionary(
                id=name, name=file.name, items=file.items, created_at=now, changed=0, delivered=True
            )
            for name, file in files.items()
        }

    def all(self) -> list[Dictionary]:
        """Return the dictionaries, newest first."""
        present = {name: one for name, one in self._known.items() if not one.deleted}
        everything = (present | self._delivered).values()
        return sorted(everything, key=lambda one: (one.created_at, one.id), reverse=True)

    def get(self, name: str) -> Dictionary:
        """Return the dictionary with this id. Raises ApiError 404."""
        current = self._delivered.get(name) or self._known.get(name)
        if current is None or current.deleted:
            message = f"There is no pronunciation dictionary {name!r}"
            raise ApiError(404, "not_found", "Not found", message)
        return current

    async def fetch(self, name: str | None) -> None:
        """Look in the store for a dictionary that another pod may have just made or changed.

        A client's requests reach one pod after the other: each must see what the one before did.
        When the store does not answer, what is known here stays; nothing is raised.
        """
        if self._stream is None or not (name and MADE.fullmatch(name)) or name in self._delivered:
            return
        known = self._known.get(name)
        if known and known.deleted:
            return
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(STORE_TIMEOUT_S if known is None else FRESH_TIMEOUT_S):
                # Asks the store's leader. A direct get may be answered by a server that lags.
                stored = await self._stream.get_last_msg(STORE, f"{SUBJECT}.{name}")
            if current := _read(name, stored.data):
                self._note(current)

    async def create(self, name: str, items: list[Item]) -> Dictionary:
        """Make a dictionary. Raises ApiError 400 when the site has too many, 503 as update."""
        if len(self.all()) >= MAX_DICTIONARIES:
            message = f"This site has {MAX_DICTIONARIES} pronunciation dictionaries already"
            raise ApiError(400, "invalid_request", "Invalid request", message)
        made = Dictionary(
            id=f"pdict_{uuid.uuid4().hex}",
            name=name,
            items=items,
            created_at=datetime.now(UTC).isoformat(),
            changed=time.time(),
        )
        self._check_room(made)
        await self._put(made)
        return made

    async def update(self, known: Dictionary, **changes: object) -> Dictionary:
        """Change a dictionary.

        Raises ApiError 403 for one that came as an artifact, 400 when the site's dictionaries get
        too large, 503 while it cannot be stored.
        """
        if known.delivered:
            message = "This dictionary comes with the site's artifacts; it cannot be changed here"
            raise ApiError(403, "forbidden", "Forbidden", message)
        made = known.model_copy(update={"changed": time.time(), **changes})
        if not made.deleted:
            self._check_room(made)
        await self._put(made)
        return made

    async def delete(self, known: Dictionary) -> None:
        """Delete a dictionary. Raises ApiError 403, 503 as update."""
        await self.update(known, deleted=True, items=[], name="")

    async def apply(self, name: str | None, text: str) -> str:
        """Return a text with a dictionary's aliases in place of its words.

        Raises ApiError 400 for an unknown one, and for a text that gets too long.
        """
        if not name:
            return text
        try:
            known = self.get(name)
        except ApiError as error:
            raise _bad_dictionary(error.message) from None
        if not (text and known.items):
            return text
        replaced = await self._shelf.say(known, text)
        if len(replaced) > MAX_REPLACED:
            raise _bad_dictionary(
                f"with its aliases the text has more than {MAX_REPLACED} characters"
            )
        return replaced

    def _check_room(self, entry: Dictionary) -> None:
        """Raise ApiError 400 when all dictionaries with this one take too much memory."""
        others = sum(self._memory.values()) - self._memory.get(entry.id, 0)
        if others + entry.memory > MAX_MEMORY:
            message = (
                f"The site's pronunciation dictionaries would take more than {MAX_MEMORY} bytes of "
                "memory; delete some, or make this one smaller"
            )
            raise ApiError(400, "invalid_request", "Invalid request", message)

    async def _put(self, entry: Dictionary) -> None:
        """Store a dictionary, then know it. Raises ApiError 503."""
        if self._store is None:
            _unavailable("is not connected")
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._store.put(entry.id, entry.model_dump_json().encode())
        except FAILURES as error:
            log.warning("a dictionary cannot be stored: %s", _named(error))
            _unavailable("does not answer")
        self._note(entry)

    def _note(self, entry: Dictionary) -> bool:
        """Take a dictionary in unless a newer version is known; returns whether it was new."""
        known = self._known.get(entry.id)
        if known is None or entry.changed > known.changed:
            self._known[entry.id] = entry
            self._memory[entry.id] = entry.memory
            return True
        return False

    def _forget(self) -> list[str]:
        """Forget the oldest deleted dictionaries beyond the limits; returns their ids."""
        deleted = sorted(
            (one for one in self._known.values() if one.deleted),
            key=lambda one: one.changed,
            reverse=True,
        )
        oldest = time.time() - REMEMBERED_S
        gone = [
            one.id
            for number, one in enumerate(deleted)
            if number >= MAX_REMEMBERED or one.changed < oldest
        ]
        self._drop(gone)
        return gone

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self._known[name], self._memory[name]

    async def _follow(self, client: Client) -> None:
        """Keep the store open and watch it, also after each loss of the connection."""
        last_problem = ""
        while True:
            try:
                reconnects = client.stats["reconnects"]
                store = await self._open(client)
                await self._watch(client, store, reconnects)
                last_problem = ""
            except FAILURES as error:
                if last_problem != (last_problem := _named(error)):
                    log.warning("the store of dictionaries cannot be used: %s", last_problem)
            self._store = self._stream = None
            await asyncio.sleep(RETRY_S)

    async def _open(self, client: Client) -> KeyValue:
        """Return the store; make it if it is missing."""
        stream = client.jetstream(timeout=STORE_TIMEOUT_S)
        try:
            store = await stream.key_value(protocol.DICTIONARIES)
        except NotFoundError:
            return await stream.create_key_value(
                bucket=protocol.DICTIONARIES,
                description="Pronunciation dictionaries",
                replicas=self._replicas,
            )
        config = (await store.status()).stream_info.config
        if config.num_replicas != self._replicas:
            await stream.update_stream(config.evolve(num_replicas=self._replicas))
        return store

    async def _watch(self, client: Client, store: KeyValue, reconnects: int) -> None:
        """Take in the store's content, add what only this pod knows, then watch for changes.

        Returns when the connection was lost.
        """
        watcher = await store.watchall()
        try:
            stored: dict[str, float] = {}
            while entry := await watcher.updates(timeout=STORE_TIMEOUT_S):
                if current := _read(entry.key, entry.value):
                    stored[current.id] = current.changed
                    self._note(current)
            if stored and time.monotonic() - self._followed > REMEMBERED_S:
                # What was deleted while this pod was cut off is forgotten.
                self._drop([name for name in self._known if name not in stored])
            await self._prune(client, stored)
            for known in list(self._known.values()):
                if stored.get(known.id, 0) < known.changed:
                    await store.put(known.id, known.model_dump_json().encode())
            self._store = store
            self._stream = client.jetstream(timeout=STORE_TIMEOUT_S)
            self._current.set()
            while client.is_connected and client.stats["reconnects"] == reconnects:
                self._followed = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    entry = await watcher.updates(timeout=WATCH_S)
                    if entry and (current := _read(entry.key, entry.value)):
                        self._note(current)
                await self._prune(client)
        finally:
            with contextlib.suppress(*FAILURES):
                await watcher.stop()

    async def _prune(self, client: Client, stored: Iterable[str] | None = None) -> None:
        """Purge the store of the dictionaries to forget.

        The next pod that starts purges what this one cannot.
        """
        gone = [name for name in self._forget() if stored is None or name in stored]
        stream = client.jetstream(timeout=STORE_TIMEOUT_S)
        try:
            for name in gone:
                await stream.purge_stream(STORE, subject=f"{SUBJECT}.{name}")
        except FAILURES as error:
            log.warning("deleted dictionaries stay in the store: %s", _named(error))


def _read(name: str, stored: bytes | None) -> Dictionary | None:
    try:
        return Dictionary.model_validate_json(stored or b"")
    except ValidationError:
        log.warning("the stored dictionary %s cannot be read", name)
        return None


def _bad_dictionary(why: str) -> ApiError:
    return ApiError(400, "invalid_request", "Invalid request", f"pronunciation_dict_id: {why}")


def _unavailable(why: str) -> NoReturn:
    message = f"The store of pronunciation dictionaries {why}; try again"
    raise ApiError(
        503, "bus_unavailable", "Service unavailable", message, {"Retry-After": "1"}
    ) from None


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
