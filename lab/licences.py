# SPDX-License-Identifier: Apache-2.0
"""A vendor of licences for tests and measurements: a key of its own, and what it signs."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Vendor:
    """Signs offline licences as docs/license.md describes them."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        """The key that sites know, as PEM text."""
        form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self._key.public_key().public_bytes(*form).decode()

    def licence(
        self,
        name: str = "L-1",
        *,
        issued: datetime | None = None,
        life: timedelta = timedelta(days=30),
        **more: Any,
    ) -> str:
        """Return a licence, issued now unless it says otherwise; ``more`` are its other terms."""
        issued = issued or datetime.now(UTC)
        terms = {
            "type": "sonic-license/1",
            "id": name,
            "customer": "Example Ltd",
            "issued_at": issued.isoformat(),
            "expires_at": (issued + life).isoformat(),
        }
        return self.sign(json.dumps(terms | more).encode())

    def sign(self, terms: bytes) -> str:
        """Return the licence of any terms."""
        parts = {"license": terms, "signature": self._key.sign(terms)}
        return json.dumps({k: base64.b64encode(v).decode() for k, v in parts.items()})
