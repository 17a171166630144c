# SPDX-License-Identifier: Apache-2.0
"""Remember refused keys; a client that tries many pushes out only its own."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Generic, TypeVar

from starlette.requests import HTTPConnection

MAX_REFUSALS = 4096
MAX_PER_CLIENT = 64
# A client with one IPv6 address usually has all of its /64 network (RFC 6177).
IPV6_NETWORK = 64

Verdict = TypeVar("Verdict")


class Refusals(Generic[Verdict]):
    """At most ``per_client`` refusals of one client, and ``total`` of all; the oldest go first."""

    def __init__(self, total: int = MAX_REFUSALS, per_client: int = MAX_PER_CLIENT) -> None:
        self._total = total
        self._per_client = per_client
        self._clients: OrderedDict[str, OrderedDict[bytes, Verdict]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Return how many are remembered."""
        return self._count

    def find(self, client: str, digest: bytes) -> Verdict | None:
        """Return what this client was refused with, None where it was not."""
        own = self._clients.get(client)
        return None if own is None else own.get(digest)

    def add(self, client: str, digest: bytes, verdict: Verdict) -> None:
        """Remember a refusal."""
        own = self._clients.setdefault(client, OrderedDict())
        self._clients.move_to_end(client)
        self._count += digest not in own
        own[digest] = verdict
        own.move_to_end(digest)
        if len(own) > self._per_client:
            own.popitem(last=False)
            self._count -= 1
        while self._count > self._total:
            oldest, kept = next(iter(self._clients.items()))
            kept.popitem(last=False)
            self._count -= 1
            if not kept:
                del self._clients[oldest]


def client_of(connection: HTTPConnection) -> str:
    """Return the network address of a client, as the ingress in front of this server wrote it.

    The last entry of X-Forwarded-For is the ingress's own. A client that reaches this server
    without an ingress can write anything there, so use the address for bounds only, never for
    access. An IPv6 address stands for its /64 network.
    """
    forwarded = connection.headers.getlist("x-forwarded-for")
    peer = connection.client.host if connection.client else ""
    text = forwarded[-1].rpartition(",")[2].strip() if forwarded else peer
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, IPV6_NETWORK), strict=False))
    return str(address)
