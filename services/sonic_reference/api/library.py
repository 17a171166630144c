# SPDX-License-Identifier: Apache-2.0
"""Pronunciation dictionaries: those that clients make, and those that come as artifacts.

The former are in a key-value store of NATS JetStream: what a client was told to be made is stored.
Each API pod holds all of them in memory, too, and watches the store. A NATS server that comes back
without its store gets from the pods what they hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ValidationError

from sonic_reference import protocol
from sonic_reference.artifacts.catalogue import DictionaryFile
from sonic_reference.dictionary import Item, say
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

MAX_DICTIONARIES = 1000
STORE_TIMEOUT_S = 3.0
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


class Library:
    """All dictionaries of the site, as far as this pod has heard.

    ``replicas`` is how many NATS servers hold the store.
    """

    def __init__(self, replicas: int = 1) -> None:
        self._replicas = replicas
        self._known: dict[str, Dictionary] = {}
        self._delivered: dict[str, Dictionary] = {}
        self._store: KeyValue | None = None
        self._following: asyncio.Task[None] | None = None
        self._current = asyncio.Event()

    async def start(self, client: Client) -> None:
        """Keep what clients make in this server's store, from now on."""
        self._following = asyncio.create_task(self._follow(client))

    async def loaded(self, timeout_s: float) -> bool:
        """Wait until everything that is stored is known here; returns whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._current.wait()
        return self._current.is_set()

    async def stop(self) -> None:
        """Follow the store no more."""
        if self._following:
            self._following.cancel()

    def deliver(self, files: Mapping[str, DictionaryFile]) -> None:
        """Have these dictionaries beside what clients made; they replace those before."""
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
        found = self._delivered.get(name) or self._known.get(name)
        if found is None or found.deleted:
            message = f"There is no pronunciation dictionary {name!r}"
            raise ApiError(404, "not_found", "Not found", message)
        return found

    async def hear(self, name: str | None) -> None:
        """Look for a dictionary that this pod has not heard of: another may just have made it.

        What cannot be looked for stays unknown; nothing is raised.
        """
        known = name in self._known or name in self._delivered
        if known or self._store is None or not (name and MADE.fullmatch(name)):
            return
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(STORE_TIMEOUT_S):
                entry = await self._store.get(name)
            if found := _read(entry):
                self._note(found)

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
        await self._put(made)
        return made

    async def update(self, known: Dictionary, **changes: object) -> Dictionary:
        """Change a dictionary.

        Raises ApiError 403 for one that came as an artifact, 503 while it cannot be stored.
        """
        if known.delivered:
            message = "This dictionary comes with the site's artifacts; it cannot be changed here"
            raise ApiError(403, "forbidden", "Forbidden", message)
        made = known.model_copy(update={"changed": time.time(), **changes})
        await self._put(made)
        return made

    def apply(self, name: str | None, text: str) -> str:
        """Return a text as a dictionary wants it said. Raises ApiError 400 for an unknown one."""
        if not name:
            return text
        try:
            return say(self.get(name).items, text)
        except ApiError as error:
            raise ApiError(
                400, "invalid_request", "Invalid request", f"pronunciation_dict_id: {error.message}"
            ) from None

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
        """Know a dictionary unless a newer version is known; returns whether it was news."""
        known = self._known.get(entry.id)
        if known is None or entry.changed > known.changed:
            self._known[entry.id] = entry
            return True
        return False

    async def _follow(self, client: Client) -> None:
        """Keep the store open and hear of changes, through every loss of the connection."""
        told = ""
        while True:
            try:
                reconnects = client.stats["reconnects"]
                store = await self._open(client)
                await self._watch(client, store, reconnects)
                told = ""
            except FAILURES as error:
                if told != (told := _named(error)):
                    log.warning("the store of dictionaries cannot be used: %s", told)
            self._store = None
            await asyncio.sleep(RETRY_S)

    async def _open(self, client: Client) -> KeyValue:
        """Return the store, which is made if it is not there."""
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
        """Take in all that is stored, store what only this pod knows, then hear of changes.

        Returns when the connection was lost in the meantime.
        """
        watcher = await store.watchall()
        try:
            stored: dict[str, float] = {}
            while entry := await watcher.updates(timeout=STORE_TIMEOUT_S):
                if found := _read(entry):
                    stored[found.id] = found.changed
                    self._note(found)
            for known in list(self._known.values()):
                if stored.get(known.id, 0) < known.changed:
                    await store.put(known.id, known.model_dump_json().encode())
            self._store = store
            self._current.set()
            while client.is_connected and client.stats["reconnects"] == reconnects:
                with contextlib.suppress(TimeoutError):
                    entry = await watcher.updates(timeout=WATCH_S)
                    if entry and (found := _read(entry)):
                        self._note(found)
        finally:
            with contextlib.suppress(*FAILURES):
                await watcher.stop()


def _read(entry: KeyValue.Entry) -> Dictionary | None:
    try:
        return Dictionary.model_validate_json(entry.value or b"")
    except ValidationError:
        log.warning("the stored dictionary %s cannot be read", entry.key)
        return None


def _unavailable(why: str) -> NoReturn:
    message = f"The store of pronunciation dictionaries {why}; try again"
    raise ApiError(
        503, "bus_unavailable", "Service unavailable", message, {"Retry-After": "1"}
    ) from None


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
