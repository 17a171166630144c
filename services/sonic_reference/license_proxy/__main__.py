# SPDX-License-Identifier: Apache-2.0
"""Run the license proxy: ``python3 -m sonic_reference.license_proxy``."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from sonic_reference import service
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.app import Proxy, create_app
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.books import Books
from sonic_reference.license_proxy.endpoint import TIMEOUT_S, Connected
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.states import AIR_GAPPED, CONNECTED, EXPIRED, GRACE, stamp
from sonic_reference.license_proxy.store import Store
from sonic_reference.settings import Environment

log = logging.getLogger(__name__)

KEYS = ("CARTESIA_API_KEY", "CONTAINER_KEY")
MODES = (CONNECTED, AIR_GAPPED)
# How soon a new state is logged, and a licence file that was replaced is read.
WATCH_S = 1.0


class Settings:
    """The service's environment; services/README.md lists it."""

    def __init__(self, environment: Environment) -> None:
        self.host = environment.text("SONIC_HOST", "0.0.0.0")
        self.port = environment.integer("SONIC_PORT", 8080, 1, 65535)
        self.keys = [key for name in KEYS if (key := environment.text(name, ""))]
        if not self.keys:
            problem = f"neither {' nor '.join(KEYS)} is set: no request could be authorized"
            environment.refuse(problem)
        self.folder = Path(environment.text("SONIC_STATE_DIR", "/var/lib/license-proxy"))
        self.site = environment.text("SONIC_SITE", "default")
        self.mode = environment.text("SONIC_LICENSE_MODE", CONNECTED)
        if self.mode not in MODES:
            environment.refuse(f"SONIC_LICENSE_MODE={self.mode!r} is none of {', '.join(MODES)}")
        self.grace_s = environment.number("SONIC_LICENSE_GRACE", 259200, 0, 366 * 86400)
        self.interval_s = environment.number("SONIC_LICENSE_CHECK_INTERVAL", 300, 1, 86400)
        self.file = environment.text("SONIC_LICENSE_FILE", "")
        self.url = ""
        self.trusted: ssl.SSLContext | None = None
        if self.mode == CONNECTED:
            self.url = environment.url("SONIC_LICENSE_ENDPOINT", ("https",))
            authority = environment.text("SONIC_LICENSE_CA_FILE", "")
            try:
                # Without a file, what httpx trusts: the public authorities.
                self.trusted = ssl.create_default_context(cafile=authority) if authority else None
            except OSError as error:
                environment.refuse(f"SONIC_LICENSE_CA_FILE={authority!r} cannot be used: {error}")
        if self.mode == AIR_GAPPED:
            try:
                self.public_key = offline.public_key(environment.text("SONIC_LICENSE_PUBLIC_KEY"))
            except ValueError:
                environment.refuse("SONIC_LICENSE_PUBLIC_KEY is no Ed25519 public key in PEM form")


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped. Raises OSError when the state's folder cannot be used."""
    environment = Environment(variables)
    settings = Settings(environment)
    environment.check()
    store = Store(settings.folder)
    audit = AuditLog(store)
    books = Books(store, audit, time.time())
    async with AsyncExitStack() as stack:
        licensing: Connected | AirGapped
        if settings.mode == CONNECTED:
            trusted = settings.trusted or True
            # One that was kept may have died meanwhile, which says nothing of the endpoint.
            limits = httpx.Limits(max_keepalive_connections=0)
            client = httpx.AsyncClient(
                verify=trusted, limits=limits, timeout=TIMEOUT_S, trust_env=False
            )
            licensing = Connected(
                await stack.enter_async_context(client),
                store,
                lambda: telemetry(settings.site, proxy),
                url=settings.url,
                key=settings.keys[0],
                grace_s=settings.grace_s,
                interval_s=settings.interval_s,
                audit=audit,
            )
        else:
            licensing = AirGapped(settings.public_key, store, grace_s=settings.grace_s, audit=audit)
        proxy = Proxy(Authority(settings.keys, licensing), licensing, books, audit)
        keeper = Keeper(proxy, settings)
        audit.add(time.time(), "start", {"installation": books.installation, "mode": settings.mode})
        # What is known is known before anybody asks.
        if isinstance(licensing, Connected):
            await licensing.check()
        keeper.look()
        listener = service.Listener(create_app(proxy), settings.host, settings.port)
        await listener.start()
        jobs: list[asyncio.Task[Any]] = [
            asyncio.create_task(keeper.watch()),
            asyncio.create_task(keeper.write()),
        ]
        if isinstance(licensing, Connected):
            jobs.append(asyncio.create_task(licensing.run()))
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        # None of the jobs ends by itself: one that does has failed, and so has the service.
        done, _others = await asyncio.wait({stopping, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        await listener.stop(5)
        for job in jobs:
            job.cancel()
        books.close(time.time())
        audit.keep()
        for job in done - {stopping}:
            job.result()


def telemetry(site: str, proxy: Proxy) -> dict[str, Any]:
    """Return all that leaves the site; docs/license.md tells it to operators."""
    head = proxy.audit.head
    return {
        "site": site,
        "installation": proxy.books.installation,
        "sent_at": stamp(proxy.clock()),
        "usage": proxy.books.usage(),
        "audit": {"records": head.records, "head": head.hash},
    }


class Keeper:
    """Notices what time does to the licence, and keeps the books."""

    def __init__(self, proxy: Proxy, settings: Settings) -> None:
        self._proxy = proxy
        self._settings = settings
        self._state = ""

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.look()

    async def write(self) -> None:
        """Write down what was used, for ever."""
        while True:
            await asyncio.sleep(self._settings.interval_s)
            self._proxy.books.close(self._proxy.clock())

    def look(self) -> None:
        """Take in a licence file that is new, check the audit log, and log a state that is new."""
        proxy, now = self._proxy, self._proxy.clock()
        try:
            proxy.audit.check()
        except OSError as error:
            log.error("the audit log cannot be checked: %s", error)
        licensing = proxy.licensing
        file = self._settings.file
        if isinstance(licensing, AirGapped) and file and (terms := licensing.seed(Path(file))):
            log.info("licence %s taken from %s", terms.id, file)
        verdict = proxy.authority.verdict()
        if verdict.state == self._state:
            return
        until = "" if verdict.until is None else f", until {stamp(verdict.until)}"
        said = f"state {self._state or 'unknown'} -> {verdict.state}{until}: {verdict.reason}"
        log.log(logging.WARNING if verdict.state in (GRACE, EXPIRED) else logging.INFO, "%s", said)
        proxy.audit.add(
            now, "state",
            {"from": self._state or None, "to": verdict.state, "reason": verdict.reason},
        )  # fmt: skip
        self._state = verdict.state


if __name__ == "__main__":
    sys.exit(service.run("license-proxy", main))
