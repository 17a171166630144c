# SPDX-License-Identifier: Apache-2.0
"""Offline licences: signed by the vendor, checked here, the latest one counts.

A licence is a JSON object ``{"license": BASE64, "signature": BASE64}``. The first text holds the
terms, a JSON object of its own; the second an Ed25519 signature (RFC 8032) of the terms' bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sonic_reference.license_proxy import states
from sonic_reference.license_proxy.states import Verdict
from sonic_reference.license_proxy.store import Store

log = logging.getLogger(__name__)

STORED = "license.json"
# Clocks differ a little.
TOLERANCE = timedelta(minutes=5)


class LicenceError(Exception):
    """A licence is not taken; ``status`` and ``code`` are what HTTP clients get."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Terms(BaseModel):
    """What a licence says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["sonic-license/1"]
    id: str = Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")
    customer: str = Field(max_length=200)
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    operations: frozenset[Literal["tts", "stt"]] | None = None


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of a PEM text. Raises ValueError when it is not an Ed25519 public key."""
    key = load_pem_public_key(text.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


def read(text: str | bytes, key: Ed25519PublicKey) -> Terms:
    """Return a licence's terms when the key's owner signed them.

    Raises:
        LicenceError: 400 for what is no licence, 403 for one that this key did not sign.
    """
    try:
        fields = json.loads(text)
        terms, signature = (
            base64.b64decode(fields[name], validate=True) for name in ("license", "signature")
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        message = "this is not a licence: a JSON object with license and signature, both base64"
        raise LicenceError(400, "license_unreadable", message) from None
    try:
        key.verify(signature, terms)
    except InvalidSignature:
        message = "the signature is not the vendor's: the licence was changed, or is for other keys"
        raise LicenceError(403, "license_signature", message) from None
    try:
        return Terms.model_validate_json(terms)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, item["loc"])) or "all" for item in error.errors())
        message = f"the licence is signed, but its terms cannot be read: {where}"
        raise LicenceError(400, "license_unreadable", message) from None


class AirGapped:
    """Air-gapped mode: the licence with the latest issued_at, kept in the store."""

    mode = states.AIR_GAPPED

    def __init__(self, key: Ed25519PublicKey, store: Store, *, grace_s: float) -> None:
        self._key = key
        self._store = store
        self._grace_s = grace_s
        self._seeded = ""
        self.terms: Terms | None = None
        if kept := store.text(STORED):
            try:
                self.terms = read(kept, key)
            except LicenceError as error:
                log.error("the licence that was kept is not used: %s", error)

    @property
    def expires_at(self) -> float | None:
        """The licence's end."""
        return self.terms.expires_at.timestamp() if self.terms else None

    def verdict(self, now: float) -> Verdict:
        """See :func:`states.air_gapped`."""
        if self.terms is None:
            return states.air_gapped(None, now, self._grace_s)
        issued = (self.terms.expires_at.timestamp(), self.terms.operations)
        return states.air_gapped(issued, now, self._grace_s)

    def accept(self, text: str | bytes, now: float) -> Terms | None:
        """Take a licence that was handed in; None when it is the one in force already.

        Raises:
            LicenceError: as :func:`read`; 409 for one that is not newer than the one in force; 422
                for one whose time is over, or has not come.
            OSError: it cannot be kept; the former one stays in force.
        """
        terms = read(text, self._key)
        if terms == self.terms:
            return None
        if terms.expires_at.timestamp() <= now:
            ended = states.stamp(terms.expires_at.timestamp())
            raise LicenceError(422, "license_expired", f"the licence {terms.id} ended {ended}")
        if (terms.issued_at - TOLERANCE).timestamp() > now:
            issued = states.stamp(terms.issued_at.timestamp())
            message = f"the licence {terms.id} is of {issued}, which is yet to come: see the clock"
            raise LicenceError(422, "license_not_yet", message)
        if self.terms and terms.issued_at <= self.terms.issued_at:
            message = (
                f"the licence {terms.id} is not newer than {self.terms.id}, which is in force"
                f" (issued {states.stamp(self.terms.issued_at.timestamp())})"
            )
            raise LicenceError(409, "license_superseded", message)
        self._keep(text, terms)
        return terms

    def seed(self, path: Path) -> Terms | None:
        """Take the licence of a file if it is newer; None if nothing came of it.

        Called again and again: a file that is replaced counts without a restart.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            text = ""
            if str(error) != self._seeded:
                log.error("%s cannot be read: %s", path, error)
            self._seeded = str(error)
        if not text.strip() or text == self._seeded:
            return None
        self._seeded = text
        try:
            terms = read(text, self._key)
        except LicenceError as error:
            log.error("the licence in %s is not used: %s", path, error)
            return None
        if self.terms and terms.issued_at <= self.terms.issued_at:
            return None
        try:
            self._keep(text, terms)
        except OSError as error:
            # The file is there at the next start, too.
            log.error("the licence in %s counts, but cannot be kept: %s", path, error)
            self.terms = terms
        return terms

    def _keep(self, text: str | bytes, terms: Terms) -> None:
        self._store.write(STORED, text if isinstance(text, bytes) else text.encode())
        self.terms = terms
