# SPDX-License-Identifier: Apache-2.0
"""Pronunciation dictionaries, which all API pods of a site share over NATS.

Each pod holds all of them; a change is published to the others, and a pod that has just connected
asks for everything. They last as long as one API pod of the site does.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import BaseModel, Field, ValidationError

from sonic_reference import protocol
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

MAX_ITEMS = 1000
MAX_DICTIONARIES = 1000
WATCH_S = 1.0


class Item(BaseModel):
    """Text that is to be said as something else."""

    text: str = Field(min_length=1, max_length=200)
    alias: str = Field(max_length=400)
    case_sensitive: bool | None = None


class Dictionary(BaseModel):
    """A pronunciation dictionary, with what the pods need to agree on its newest version."""

    id: str
    name: str
    items: list[Item]
    created_at: str
    changed: float
    deleted: bool = False

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

    def apply(self, text: str) -> str:
        """Return the text with every item's text replaced by its alias; longest texts first."""
        if not self.items:
            return text
        aliases = {
            item.text if item.case_sensitive else item.text.lower(): item.alias
            for item in self.items
        }

        def alias(found: re.Match[str]) -> str:
            said = found.group()
            return aliases.get(said, aliases.get(said.lower(), said))

        texts = tuple((item.text, bool(item.case_sensitive)) for item in self.items)
        return _pattern(texts).sub(alias, text)


@lru_cache(maxsize=64)
def _pattern(texts: tuple[tuple[str, bool], ...]) -> re.Pattern[str]:
    """Return what finds any of these texts as whole words, each with case or without."""
    longest_first = sorted(texts, key=lambda text: -len(text[0]))
    found = "|".join(
        re.escape(text) if with_case else f"(?i:{re.escape(text)})"
        for text, with_case in longest_first
    )
    return re.compile(rf"(?<!\w)(?:{found})(?!\w)")


class Library:
    """All dictionaries of the site, as far as this pod has heard."""

    def __init__(self) -> None:
        self._known: dict[str, Dictionary] = {}
        self._client: Client | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, client: Client) -> None:
        """Share with the other pods over this connection."""
        self._client = client
        await client.subscribe(protocol.LIBRARY, cb=self._on_entry)
        await client.subscribe(protocol.LIBRARY_CALL, cb=self._on_call)
        await client.publish(protocol.LIBRARY_CALL)
        self._watch = asyncio.create_task(self._ask_after_reconnects(client))

    async def stop(self) -> None:
        """Share no more."""
        if self._watch:
            self._watch.cancel()

    def all(self) -> list[Dictionary]:
        """Return the dictionaries, newest first."""
        present = [one for one in self._known.values() if not one.deleted]
        return sorted(present, key=lambda one: (one.created_at, one.id), reverse=True)

    def get(self, name: str) -> Dictionary:
        """Return the dictionary with this id. Raises ApiError 404."""
        found = self._known.get(name)
        if found is None or found.deleted:
            message = f"There is no pronunciation dictionary {name!r}"
            raise ApiError(404, "not_found", "Not found", message)
        return found

    async def create(self, name: str, items: list[Item]) -> Dictionary:
        """Make a dictionary. Raises ApiError 400 when the site has too many."""
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
        await self._change(made)
        return made

    async def update(self, known: Dictionary, **changes: object) -> Dictionary:
        """Change a dictionary."""
        made = known.model_copy(update={"changed": time.time(), **changes})
        await self._change(made)
        return made

    def apply(self, name: str | None, text: str) -> str:
        """Return a text as a dictionary wants it said. Raises ApiError 400 for an unknown one."""
        if not name:
            return text
        try:
            return self.get(name).apply(text)
        except ApiError as error:
            raise ApiError(
                400, "invalid_request", "Invalid request", f"pronunciation_dict_id: {error.message}"
            ) from None

    async def _change(self, entry: Dictionary) -> None:
        self._known[entry.id] = entry
        if self._client:
            try:
                await self._client.publish(protocol.LIBRARY, entry.model_dump_json().encode())
            except NatsError as error:
                log.warning("a dictionary is not shared yet: %s", error)

    async def _on_entry(self, message: Msg) -> None:
        try:
            entry = Dictionary.model_validate_json(message.data)
        except ValidationError:
            log.warning("a dictionary of another pod could not be read")
            return
        known = self._known.get(entry.id)
        if known is None or entry.changed > known.changed:
            self._known[entry.id] = entry

    async def _on_call(self, _message: Msg) -> None:
        for entry in list(self._known.values()):
            await self._change(entry)

    async def _ask_after_reconnects(self, client: Client) -> None:
        """Catch up with what was said while this pod could not hear it, and tell its own."""
        known = client.stats["reconnects"]
        while True:
            await asyncio.sleep(WATCH_S)
            if client.is_connected and client.stats["reconnects"] != known:
                known = client.stats["reconnects"]
                await client.publish(protocol.LIBRARY_CALL)
