# SPDX-License-Identifier: Apache-2.0
"""Run the license proxy: ``python3 -m sonic_reference.license_proxy``."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from sonic_reference import service
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.books import Books
from sonic_reference.license_proxy.endpoint import TIMEOUT_S, Connected
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.proxy import Proxy
from sonic_reference.license_proxy.settings import ProxySettings
from sonic_reference.license_proxy.states import EXPIRED, GRACE, stamp
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

# How soon a new state is logged, and a licence file that was replaced is read.
WATCH_S = 1.0


async def main(settings: ProxySettings, stop: asyncio.Event) -> None:
    """Serve until stopped. Raises OSError when the state's folder cannot be used."""
    async with AsyncExitStack() as stack:
        proxy = await build(settings, stack)
        keeper = Keeper(proxy, settings)
        started = {"installation": proxy.books.installation, "mode": settings.mode}
        proxy.audit.add(time.time(), "start", started)
        # The state must be known before the first request.
        if isinstance(proxy.licensing, Connected):
            await proxy.licensing.check()
        keeper.look()
        listener = service.Listener(create_app(proxy), settings.host, settings.port)
        await listener.start()
        jobs: list[asyncio.Task[Any]] = [
            asyncio.create_task(keeper.watch()),
            asyncio.create_task(keeper.write()),
        ]
        if isinstance(proxy.licensing, Connected):
            jobs.append(asyncio.create_task(proxy.licensing.run()))
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        # None of the jobs ends by itself: one that does has failed, and so has the service.
        done, _others = await asyncio.wait({stopping, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        await listener.stop(5)
        for job in jobs:
            job.cancel()
        proxy.books.close(time.time())
        proxy.audit.keep()
        for job in done - {stopping}:
            job.result()


async def build(settings: ProxySettings, stack: AsyncExitStack) -> Proxy:
    """Return the parts of a proxy; the stack closes its connections.

    Raises OSError when the state's folder cannot be used.
    """
    store = Store(settings.folder)
    audit = AuditLog(store)
    books = Books(store, audit, time.time())
    licensing: Connected | AirGapped
    if settings.public_key:
        licensing = AirGapped(settings.public_key, store, grace_s=settings.grace_s, audit=audit)
    else:
        client = httpx.AsyncClient(
            verify=settings.trusted or True,
            # A connection that was kept may have died: that says nothing of the endpoint.
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=TIMEOUT_S,
            trust_env=False,
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
    proxy = Proxy(Authority(settings.keys, licensing), licensing, books, audit)
    return proxy


def telemetry(site: str, proxy: Proxy) -> dict[str, Any]:
    """Return everything that leaves the site; docs/license.md lists it for operators."""
    head = proxy.audit.head
    return {
        "site": site,
        "installation": proxy.books.installation,
        "sent_at": stamp(proxy.clock()),
        "usage": proxy.books.usage(),
        "audit": {"records": head.records, "head": head.hash},
    }


class Keeper:
    """Follows the licence's state over time, and records the usage."""

    def __init__(self, proxy: Proxy, settings: ProxySettings) -> None:
        self._proxy = proxy
        self._settings = settings
        self._state = ""

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.look()

    async def write(self) -> None:
        """Record the usage until cancelled."""
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
        line = f"state {self._state or 'unknown'} -> {verdict.state}{until}: {verdict.reason}"
        log.log(logging.WARNING if verdict.state in (GRACE, EXPIRED) else logging.INFO, "%s", line)
        proxy.audit.add(
            now, "state",
            {"from": self._state or None, "to": verdict.state, "reason": verdict.reason},
        )  # fmt: skip
        self._state = verdict.state


if __name__ == "__main__":
    sys.exit(service.run("license-proxy", ProxySettings, main))
