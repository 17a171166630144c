# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The forms in which a secret can stand in a text."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

# Shorter ones are parts of ordinary words: to replace them would make texts useless.
SHORTEST = 6
# A line of a longer secret counts alone from here on: logs cut at line ends.
SHORTEST_LINE = 16
# Names whose values are secret, in variables and in JSON.
SECRET_NAME = re.compile(r"password|passwd|passphrase|token|secret|pem|auth$|key", re.IGNORECASE)
# These name a secret, a place or something public.
PUBLIC_NAME = re.compile(
    r"(_file|_url|_uri|_path|_name|_ttl|public_key|_secret|_pem_roots)$|^key_url$", re.IGNORECASE
)


def is_secret(name: str) -> bool:
    """Whether a variable or field of this name holds a secret."""
    return bool(SECRET_NAME.search(name)) and not PUBLIC_NAME.search(name)


def forms(secret: bytes) -> set[str]:
    """Return the texts that give a secret away: itself, its lines, and encodings of both.

    Empty for a secret that is shorter than SHORTEST bytes.
    """
    texts: set[str] = set()
    for part in _parts(secret):
        texts |= {text for text in _encoded(part) if len(text) >= SHORTEST}
    return texts


def _parts(secret: bytes) -> Iterator[bytes]:
    for whole in dict.fromkeys((secret, secret.strip())):
        if len(whole) >= SHORTEST:
            yield whole
    lines = secret.split(b"\n")
    if len(lines) > 1:
        for line in lines:
            short = line.strip()
            # The first and the last line of PEM are in every PEM.
            if len(short) >= SHORTEST_LINE and not short.startswith(b"-----"):
                yield short
    for leaf in _leaves(secret):
        if len(leaf) >= SHORTEST:
            yield leaf
            yield from (line for line in leaf.split(b"\n") if len(line) >= SHORTEST_LINE)


def _leaves(secret: bytes) -> Iterator[bytes]:
    """Yield the secret values inside a JSON object, such as a service account's private key."""
    if not secret.lstrip().startswith(b"{"):
        return
    try:
        loaded = json.loads(secret)
    except ValueError:
        return
    yield from (text.encode() for text in secret_leaves(loaded))


def secret_leaves(value: Any, secret: bool = False) -> Iterator[str]:
    """Yield the texts below names that is_secret() knows."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from secret_leaves(inner, secret or is_secret(str(name)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from secret_leaves(inner, secret)
    elif secret and value is not None and not isinstance(value, bool):
        yield str(value)


def _encoded(part: bytes) -> Iterator[str]:
    yield from _base64(part)
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return
    yield text
    yield part.hex()
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)
    once = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    # Go's encoder also escapes what HTML would read.
    once |= {
        item.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
        for item in once
    }
    # HAProxy's encoder also escapes slashes.
    once |= {item.replace("/", r"\/") for item in once}
    for item in once:
        yield item
        yield json.dumps(item)[1:-1]


def _base64(part: bytes) -> Iterator[str]:
    """Yield what base64 of a longer text has of this part, for each place where it can begin."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + part).decode()
        # The first characters also hold bits of what is before the part, the last ones of what
        # comes after it.
        text = encoded[(0, 2, 3)[offset] : (offset + len(part)) * 8 // 6]
        yield text
        yield text.replace("+", "-").replace("/", "_")


def known_forms(secrets: Iterable[bytes]) -> tuple[set[str], int]:
    """Return the forms of all secrets, and how many secrets are too short to have one."""
    texts: set[str] = set()
    short = 0
    for secret in set(secrets):
        if len(secret.strip()) < SHORTEST:
            short += bool(secret.strip())
            continue
        texts |= forms(secret)
    return texts, short
