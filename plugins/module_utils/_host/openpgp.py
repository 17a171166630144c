# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read the fingerprints of OpenPGP public keys (RFC 4880, RFC 9580) without gpg.

The reader is strict. If it read a text differently from gpgv, a key could escape the comparison.
So it refuses text outside the armour, packets that no public key has, and unknown versions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"
FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")

# Packet tags, RFC 9580 section 5: signature, primary key, user ID, subkey, user attribute.
_PRIMARY = 6
_OF_A_KEY = frozenset({2, _PRIMARY, 13, 14, 17})


def normalized(fingerprint: str) -> str:
    """Return a fingerprint in upper case, without the spaces that gpg and web pages print."""
    return "".join(fingerprint.split()).upper()


def fingerprints(text: str) -> list[str]:
    """Return the fingerprints of all primary keys of an ASCII-armoured text, in upper case.

    Raises:
        ValueError: the text holds something other than public keys of known versions.
    """
    of_keys = []
    for block in _blocks(text):
        for tag, body in _packets(block):
            if tag not in _OF_A_KEY:
                raise ValueError(f"a packet with tag {tag} belongs to no public key")
            if tag == _PRIMARY:
                of_keys.append(_fingerprint(body))
    if not of_keys:
        raise ValueError("it holds no public key")
    return of_keys


def _blocks(text: str) -> Iterator[bytes]:
    """Yield the decoded blocks of an armoured text."""
    lines = [line.strip() for line in text.strip().splitlines()]
    while lines:
        if lines[0] != BEGIN or END not in lines:
            raise ValueError(f"it is not an ASCII-armoured public key ({BEGIN} to {END})")
        end = lines.index(END)
        content = lines[1:end]
        # Headers end with an empty line, and may be missing.
        content = content[content.index("") + 1 :] if "" in content else content
        # The line with = is a checksum, which gpgv no longer requires.
        encoded = "".join(line for line in content if not line.startswith("="))
        try:
            yield base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"its armour is damaged: {error}") from error
        lines = lines[end + 1 :]
        while lines and not lines[0]:
            lines.pop(0)


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of each packet."""
    at = 0
    while at < len(data):
        tag, start, length = _header(data, at)
        at = start + length
        if at > len(data):
            raise ValueError("it is cut off")
        yield tag, data[start:at]


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return a packet's tag, the place of its body, and the body's length in bytes."""
    first, rest = data[at], data[at + 1 : at + 6].ljust(5, b"\0")
    if not first & 0x80:
        raise ValueError("it does not consist of OpenPGP packets")
    if not first & 0x40:
        size = (1, 2, 4, 0)[first & 3]
        if not size:
            raise ValueError("it has a packet without a length")
        return (first >> 2) & 0xF, at + 1 + size, int.from_bytes(rest[:size], "big")
    tag = first & 0x3F
    if rest[0] < 192:
        return tag, at + 2, rest[0]
    if rest[0] < 224:
        return tag, at + 3, ((rest[0] - 192) << 8) + rest[1] + 192
    if rest[0] == 255:
        return tag, at + 6, int.from_bytes(rest[1:5], "big")
    raise ValueError("it has a packet in parts, which no key needs")


def _fingerprint(body: bytes) -> str:
    """Return a primary key's fingerprint (RFC 9580, section 5.5.4)."""
    version = body[0] if body else 0
    if version == 4:
        # The format prescribes SHA-1. The pinned fingerprint is compared in full.
        framed = b"\x99" + len(body).to_bytes(2, "big") + body
        return hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper()
    if version == 6:
        framed = b"\x9b" + len(body).to_bytes(4, "big") + body
        return hashlib.sha256(framed).hexdigest().upper()
    raise ValueError(f"keys of version {version} are not supported")
