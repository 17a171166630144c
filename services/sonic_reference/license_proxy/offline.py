# SPDX-License-Identifier: Apache-2.0
"""Offline licences: signed by the vendor, checked here, the latest one counts.

A licence is a JSON object ``{"license": BASE64, "signature": BASE64}``. The first text holds the
terms, a JSON object of its own; the second an Ed25519 signature (RFC 8032) of the terms' bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sonic_reference.license_proxy import licence_text, states
from sonic_reference.license_proxy.audit import AuditLog
from sonic_reference.license_proxy.licence_text import LicenceError, Terms
from sonic_reference.license_proxy.states import Verdict
from sonic_reference.license_proxy.store import Store

__all__ = ["AirGapped", "LicenceError", "Terms", "public_key", "read"]

log = logging.getLogger(__name__)

STORED = "license.json"


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
    content, signature = licence_text.unpack(text)
    try:
        key.verify(signature, content)
    except InvalidSignature:
        raise licence_text.wrong_signature() from None
    return licence_text.terms_of(content)


class AirGapped:
    """Air-gapped mode: the licence with the latest issued_at, kept in the store.

    Which one that is, and the latest time that was seen, is kept with the audit log, too: neither
    a file that is removed nor a clock that is set back brings an older licence into force.
    """

    mode = states.AIR_GAPPED

    def __init__(
        self,
        key: Ed25519PublicKey,
        store: Store,
        *,
        grace_s: float,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises OSError when the audit log cannot be read."""
        # Before anything else is written to the folder.
        self.audit = audit or AuditLog(store)
        self._key = key
        self._store = store
        self._grace_s = grace_s
        self._clock = clock
        # The last log line about the file.
        self.reported = ""
        self.terms: Terms | None = None
        if kept := store.text(STORED):
            try:
                self.terms = self._restored(kept)
            except LicenceError as error:
                log.error("the licence that was kept is not used: %s", error)

    @property
    def expires_at(self) -> float | None:
        """The licence's end."""
        return self.terms.expires_at.timestamp() if self.terms else None

    def verdict(self, now: float) -> Verdict:
        """See :func:`states.air_gapped`; at the latest time seen, the clock's among them."""
        at = self.audit.see(now)
        if self.terms is not None:
            issued = (self.terms.expires_at.timestamp(), self.terms.operations)
            return states.with_clock(states.air_gapped(issued, at, self._grace_s), now, at)
        verdict = states.air_gapped(None, at, self._grace_s)
        if newest := self.audit.mark.licence:
            reason = (
                f"the licence {newest} was in force, and its file is gone from the volume: hand in"
                " that one again, or a newer one"
            )
            return Verdict(verdict.state, reason)
        return verdict

    def accept(self, text: str | bytes, now: float) -> Terms | None:
        """Take a licence that was handed in; None when it is the one in force already.

        Raises:
            LicenceError: as :func:`read`; 409 for one that is not newer than the newest that was
                ever taken; 422 for one whose time is over, or has not come.
            OSError: it cannot be kept; the former one stays in force.
        """
        terms = read(text, self._key)
        if terms == self.terms:
            return None
        self.audit.see(now)
        licence_text.check_time(terms, self.audit.mark.sure(now))
        self._check_newer(terms)
        self._store.write(STORED, text if isinstance(text, bytes) else text.encode())
        self.terms = terms
        issued_at = terms.issued_at.timestamp()
        self.audit.licensed(terms.id, issued_at, now, terms.as_json())
        return terms

    def seed(self, path: Path) -> Terms | None:
        """Take the licence of a file as :meth:`accept` would; None if nothing came of it.

        It is called repeatedly, so that a new file counts without a restart, and so does one that
        was refused because the clock was wrong. When the proxy has no licence, one that has ended
        still sets the start of the grace period: so the grace period outlives a lost volume.
        """
        try:
            with path.open("rb") as file:
                content = file.read(licence_text.MAX_BYTES + 1)
            return self.accept(content, self._clock())
        except LicenceError as error:
            if error.code == licence_text.SUPERSEDED:
                self._report(logging.INFO, f"the licence in {path} is not used: {error}")
                return None
            self._report(logging.ERROR, f"the licence in {path} is not used: {error}")
            if error.code == licence_text.EXPIRED and self.terms is None:
                self._fall_back(read(content, self._key))
        except OSError as error:
            self._report(logging.ERROR, f"{path} cannot be read, or its licence be kept: {error}")
        return None

    def _restored(self, kept: str) -> Terms:
        """Return the terms of the licence that was kept. Raises LicenceError."""
        terms = read(kept, self._key)
        issued_at = terms.issued_at.timestamp()
        newest = self.audit.mark.issued_at
        if newest is not None and issued_at < newest:
            message = (
                f"the licence {self.audit.mark.licence} was in force, the volume has the older"
                f" {terms.id} in its place"
            )
            raise LicenceError(409, licence_text.SUPERSEDED, message)
        self.audit.begin(issued_at)
        return terms

    def _check_newer(self, terms: Terms) -> None:
        """Refuse a licence that is not newer than all before. Raises LicenceError 409."""
        mark, issued_at = self.audit.mark, terms.issued_at.timestamp()
        newest, name = mark.issued_at, mark.licence
        if self.terms is not None and (newest is None or self.terms.issued_at.timestamp() > newest):
            newest, name = self.terms.issued_at.timestamp(), self.terms.id
        again = self.terms is None and (issued_at, terms.id) == (newest, name)
        if newest is None or issued_at > newest or again:
            return
        was = "is in force" if self.terms else "was in force before"
        message = (
            f"the licence {terms.id} is not newer than {name}, which {was}"
            f" (issued {licence_text.shown(datetime.fromtimestamp(newest, UTC))})"
        )
        raise LicenceError(409, licence_text.SUPERSEDED, message)

    def _fall_back(self, terms: Terms) -> None:
        """Use a licence that has ended for the grace period when there is no other."""
        try:
            self._check_newer(terms)
        except LicenceError:
            return
        self.terms = terms
        self.audit.begin(terms.issued_at.timestamp())

    def _report(self, level: int, message: str) -> None:
        """Log what came of the file, once."""
        if message != self.reported:
            log.log(level, "%s", message)
        self.reported = message
