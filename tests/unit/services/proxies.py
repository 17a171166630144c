# SPDX-License-Identifier: Apache-2.0
"""License proxies inside the test's own process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx
from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.authority import Authority
from sonic_reference.license_proxy.books import Books
from sonic_reference.license_proxy.endpoint import Connected
from sonic_reference.license_proxy.offline import AirGapped
from sonic_reference.license_proxy.proxy import Proxy
from sonic_reference.license_proxy.store import Store

from lab.licences import Vendor


class Clock:
    """Time that the test sets, in seconds since the epoch."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def proxy_of(
    keys: Iterable[str], licensing: Connected | AirGapped, store: Store, clock: Clock
) -> Proxy:
    """A proxy around one way of licensing."""
    audit = licensing.audit
    books = Books(store, audit, clock())
    return Proxy(Authority(keys, licensing, clock), licensing, books, audit, clock)


def licensed(folder: Path, keys: Iterable[str], now: float) -> httpx.ASGITransport:
    """A transport to a proxy with a licence that is in force."""
    vendor, store = Vendor(), Store(folder)
    licensing = AirGapped(offline.public_key(vendor.public_key), store, grace_s=60)
    licensing.accept(vendor.licence(), now)
    return httpx.ASGITransport(create_app(proxy_of(keys, licensing, store, Clock(now))))
