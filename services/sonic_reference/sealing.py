# SPDX-License-Identifier: Apache-2.0
"""Seal what an API pod and a worker send each other, so that no third one reads or forges it.

All workers of one operation share a NATS user, so its permissions cannot keep them apart. Each
worker process therefore has a key pair. The API pod encrypts a job to the worker that it picked
(HPKE, RFC 9180, base mode), together with two random keys. Each later message of this job is
encrypted with one of them (AES-256-GCM, RFC 5116), each direction with its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_KEY_BYTES = 32
_COUNTER = struct.Struct(">Q")
# A nonce of AES-GCM has 96 bits.
_NONCE_HEAD = bytes(4)
_FINGERPRINT_CHARACTERS = 32


class SealError(Exception):
    """A message is not from the one who holds the key, was changed, or came a second time."""


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
        public = self._private.public_key().public_bytes_raw()
        readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in host)
        self.key = base64.urlsafe_b64encode(public).decode()
        self.name = f"{readable}-{_fingerprint(public)}"

    def open(self, job: str, payload: bytes) -> tuple[Session, bytes]:
        """Return the session of a job that was offered to this worker, and the job.

        Raises SealError: the job was not sealed for this worker, or under another name.
        """
        try:
            content = _SUITE.decrypt(payload, self._private, info=job.encode())
        except (InvalidTag, ValueError):
            raise SealError("not sealed for this worker") from None
        if len(content) < 2 * _KEY_BYTES:
            raise SealError("no keys")
        to_worker, to_api = content[:_KEY_BYTES], content[_KEY_BYTES : 2 * _KEY_BYTES]
        return Session(to_api, to_worker), content[2 * _KEY_BYTES :]


def offer(job: str, content: bytes, key: str) -> tuple[Session, bytes]:
    """Return a new session with the worker of this public key, and the payload of the offer.

    Raises SealError: this is no key.
    """
    to_worker, to_api = (secrets.token_bytes(_KEY_BYTES) for _unused in range(2))
    try:
        public = X25519PublicKey.from_public_bytes(_raw(key))
        payload = _SUITE.encrypt(to_worker + to_api + content, public, info=job.encode())
    except ValueError as error:
        raise SealError(f"no key: {error}") from None
    return Session(to_worker, to_api), payload


def owns(name: str, key: str) -> bool:
    """Whether a worker's name is the one that belongs to its key."""
    try:
        return name.endswith(f"-{_fingerprint(_raw(key))}")
    except ValueError:
        return False


def new_job() -> str:
    """Return a name for a job that nobody guesses: 128 random bits."""
    return secrets.token_hex(16)


def offering_key(master: str, operation: str, model: str) -> str:
    """Return the key of one offering's workers, derived from the key that the API pods have.

    The Ansible filter nats_offering_key derives it in the same way.
    """
    return _mac(master, f"offering {operation}/{model}")


def proof(key: str, worker: str) -> str:
    """Return what a worker shows for its offering; it is worth nothing under another name."""
    return _mac(key, f"worker {worker}")


def proven(given: str, master: str, operation: str, model: str, worker: str) -> bool:
    """Whether a worker has the key of the offering that it announces."""
    wanted = proof(offering_key(master, operation, model), worker)
    return hmac.compare_digest(given.encode(), wanted.encode())


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
