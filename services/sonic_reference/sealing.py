# SPDX-License-Identifier: Apache-2.0
"""Encrypt messages between API pods and workers: no other program can read or forge them.

All workers of one operation share a NATS user, so its permissions cannot keep them apart. Each
worker process therefore has a key pair. An API pod encrypts a random secret to each worker (HPKE,
RFC 9180, base mode), and sends it with each job. Both derive a job's two keys from the secret and
the job's name (HKDF, RFC 5869), one for each direction, and encrypt the job and all later messages
of it with them (AES-256-GCM, RFC 5116).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from collections import OrderedDict
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_KEY_BYTES = 32
_INFO = b"sonic.v2 secret"
# The secret, the ephemeral public key of HPKE, and the tag.
_WRAPPED_BYTES = _KEY_BYTES + 32 + 16
# Number of secrets that are remembered, of workers or of API pods. A forgotten one costs time only.
_REMEMBERED = 1024

_K = TypeVar("_K")
_V = TypeVar("_V")
_COUNTER = struct.Struct(">Q")
# A nonce of AES-GCM has 96 bits.
_NONCE_HEAD = bytes(4)
_FINGERPRINT_CHARACTERS = 32


class SealError(Exception):
    """A message was not made with the key, was changed, or came a second time."""


class Session:
    """The two ways of one job; ``sending`` and ``receiving`` are keys of 32 bytes."""

    def __init__(self, sending: bytes, receiving: bytes) -> None:
        self._sending = AESGCM(sending)
        self._receiving = AESGCM(receiving)
        self._sent = 0
        self._received = 0

    def seal(self, kind: str, content: bytes) -> bytes:
        """Return a message's payload; ``kind`` is the event or verb in its subject."""
        self._sent += 1
        counter = _COUNTER.pack(self._sent)
        return counter + self._sending.encrypt(_NONCE_HEAD + counter, content, kind.encode())

    def open(self, kind: str, payload: bytes) -> bytes:
        """Return what was sealed as this kind. Raises SealError.

        Messages may be lost, and those that arrive are in order (NATS keeps it), so an older
        counter is a repeated message.
        """
        counter, sealed = payload[: _COUNTER.size], payload[_COUNTER.size :]
        if len(counter) < _COUNTER.size:
            raise SealError("no counter")
        [number] = _COUNTER.unpack(counter)
        if number <= self._received:
            raise SealError("repeated")
        try:
            content = self._receiving.decrypt(_NONCE_HEAD + counter, sealed, kind.encode())
        except (InvalidTag, ValueError):
            raise SealError("not sealed with this job's key") from None
        self._received = number
        return content


class Identity:
    """A worker process: its key pair, and a name that only the holder of that key can use."""

    def __init__(self, host: str) -> None:
        self._private = X25519PrivateKey.generate()
        self._secrets: OrderedDict[bytes, bytes] = OrderedDict()
        public = self._private.public_key().public_bytes_raw()
        readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in host)
        self.key = base64.urlsafe_b64encode(public).decode()
        self.name = f"{readable}-{_fingerprint(public)}"

    def open(self, job: str, payload: bytes) -> tuple[Session, bytes]:
        """Return the session of a job that was offered to this worker, and the job.

        Raises SealError: the job was not sealed for this worker, or under another name.
        """
        wrapped, sealed = payload[:_WRAPPED_BYTES], payload[_WRAPPED_BYTES:]
        secret = self._secrets.get(wrapped)
        if secret is None:
            try:
                secret = _SUITE.decrypt(wrapped, self._private, info=_INFO)
            except (InvalidTag, ValueError):
                raise SealError("not sealed for this worker") from None
            _remember(self._secrets, wrapped, secret)
        to_worker, to_api = _keys(secret, job)
        session = Session(to_api, to_worker)
        return session, session.open("job", sealed)


class Offers:
    """An API pod's side: one secret for each worker, made when it is first given a job."""

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()

    def seal(self, job: str, content: bytes, key: str) -> tuple[Session, bytes]:
        """Return a new session with the worker of this public key, and the payload of the offer.

        Raises SealError: this is no key.
        """
        known = self._secrets.get(key)
        if known is None:
            secret = secrets.token_bytes(_KEY_BYTES)
            try:
                public = X25519PublicKey.from_public_bytes(_raw(key))
                known = secret, _SUITE.encrypt(secret, public, info=_INFO)
            except ValueError as error:
                raise SealError(f"no key: {error}") from None
            _remember(self._secrets, key, known)
        secret, wrapped = known
        to_worker, to_api = _keys(secret, job)
        session = Session(to_worker, to_api)
        return session, wrapped + session.seal("job", content)


def owns(name: str, key: str) -> bool:
    """Whether a worker's name is the one that belongs to its key."""
    try:
        return name.endswith(f"-{_fingerprint(_raw(key))}")
    except ValueError:
        return False


def new_job() -> str:
    """Return a name for a job that cannot be guessed: 128 random bits."""
    return secrets.token_hex(16)


def offering_key(master: str, operation: str, model: str) -> str:
    """Return the key of one offering's workers, derived from the key that the API pods have.

    The Ansible filter nats_offering_key derives it in the same way.
    """
    return _mac(master, f"offering {operation}/{model}")


def proof(key: str, worker: str) -> str:
    """Return a worker's proof that it has its offering's key; it holds for this name only."""
    return _mac(key, f"worker {worker}")


def proven(given: str, master: str, operation: str, model: str, worker: str) -> bool:
    """Whether a worker has the key of the offering that it announces."""
    expected = proof(offering_key(master, operation, model), worker)
    return hmac.compare_digest(given.encode(), expected.encode())


def _keys(secret: bytes, job: str) -> tuple[bytes, bytes]:
    """Return a job's key for messages to the worker, and the one for messages to the API pod."""
    derived = HKDF(hashes.SHA256(), 2 * _KEY_BYTES, salt=None, info=job.encode()).derive(secret)
    return derived[:_KEY_BYTES], derived[_KEY_BYTES:]


def _remember(known: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    known[key] = value
    if len(known) > _REMEMBERED:
        known.popitem(last=False)


def _mac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:_FINGERPRINT_CHARACTERS]


def _raw(key: str) -> bytes:
    """Return the bytes of a public key. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key):
        raise ValueError("a key has 32 bytes in base64")
    try:
        return base64.urlsafe_b64decode(key)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
