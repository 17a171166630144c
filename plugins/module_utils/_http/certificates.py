# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read which certificates servers show to clients."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

# Seconds for one connection with its handshake.
CONNECT_TIMEOUT = 5.0
# Seconds between two connections to a server that shows another certificate.
PAUSE = 0.5
# haproxy-ingress shows this certificate without a valid one (pkg/controller/services/ssl.go).
FAKE = b"Kubernetes Ingress Controller Fake Certificate"
# The object identifier of a common name, DER (X.520, 2.5.4.3).
_COMMON_NAME = bytes.fromhex("0603550403")


@dataclass(frozen=True)
class Wanted:
    """A server, the name that a client asks for (or empty), and the certificate it must show."""

    address: str
    port: int
    name: str
    sha256: str


def certificate(address: str, port: int, name: str) -> bytes:
    """Return the certificate (DER) that a server shows to a client that asks for a name.

    The certificate is not validated: the caller compares it.

    Raises:
        OSError: no connection or no handshake within CONNECT_TIMEOUT.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, port), CONNECT_TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=name or None) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def difference(wanted: Wanted) -> str:
    """Return what a server shows instead of the wanted certificate; empty if it shows it."""
    asked = wanted.name or "a client that names no host"
    where = f"{wanted.address}:{wanted.port} for {asked}"
    try:
        shown = certificate(wanted.address, wanted.port, wanted.name)
    except OSError as error:
        return f"{where}: no certificate, {error}"
    if hashlib.sha256(shown).hexdigest() == wanted.sha256.lower():
        return ""
    if FAKE in shown:
        return f"{where}: the controller's own fake certificate: it has no valid one for that name"
    names = ", ".join(common_names(shown)) or "without a common name"
    return f"{where}: another certificate ({names})"


def wait(wanted: Sequence[Wanted], timeout: float) -> list[str]:
    """Wait until every server shows its certificate; return what still differs at the timeout.

    Args:
        wanted: the servers and their certificates.
        timeout: seconds to wait at most. Each server is asked at least once.
    """
    end = time.monotonic() + timeout
    left = list(wanted)
    while True:
        seen = [(item, difference(item)) for item in left]
        left = [item for item, problem in seen if problem]
        if not left or time.monotonic() >= end:
            return [problem for _item, problem in seen if problem]
        time.sleep(PAUSE)


def common_names(der: bytes) -> list[str]:
    """Return the common names in a certificate, the issuer's before the subject's, each once."""
    names: dict[str, None] = {}
    for part in der.split(_COMMON_NAME)[1:]:
        # A tag, a length of one byte, and the text (X.690, 8.1). Longer texts are left out.
        if len(part) > 2 and part[1] < 0x80:
            names[part[2 : 2 + part[1]].decode("utf-8", "replace")] = None
    return list(names)
