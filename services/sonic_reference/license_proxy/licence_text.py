# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Reads an offline licence: one verdict for the same bytes, wherever they are read.

The license proxy reads licences with it, from files and from POST /license. The collection's
preflight and its module ``license`` do, too: plugins/module_utils/_license/licence_text.py is a
link to this file. So it needs nothing but the standard library of Python 3.10. The caller verifies
the signature. docs/license.md describes the format.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# A licence has less than a thousandth of that.
MAX_BYTES = 65536
# Clocks differ a little: a licence may be issued that far in the future.
SKEW = timedelta(minutes=5)
TYPE = "sonic-license/1"
OPERATIONS = frozenset({"tts", "stt"})
UNREADABLE, SIGNATURE, EXPIRED, NOT_YET, SUPERSEDED = (
    "license_unreadable",
    "license_signature",
    "license_expired",
    "license_not_yet",
    "license_superseded",
)
MARK = b"\xef\xbb\xbf"
WHITESPACE = b" \t\r\n"
# RFC 3339; years that leave room for a grace period on both sides.
TIME = re.compile(r"(2\d{3}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
NAME = re.compile(r"[\x21-\x7e]{1,100}")


class LicenceError(Exception):
    """A licence is not taken; ``status`` and ``code`` are what HTTP clients get."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Terms:
    """What a licence says; ``operations`` is None where it is for all of them."""

    id: str
    customer: str
    issued_at: datetime
    expires_at: datetime
    operations: frozenset[str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the terms as JSON has them, times as RFC 3339 has them."""
        return {
            "type": TYPE,
            "id": self.id,
            "customer": self.customer,
            "issued_at": shown(self.issued_at),
            "expires_at": shown(self.expires_at),
            "operations": None if self.operations is None else sorted(self.operations),
        }


def unpack(given: str | bytes) -> tuple[bytes, bytes]:
    """Return the bytes of a licence's terms, and their signature, which is not verified here.

    A byte order mark of UTF-8 and white space around the JSON object, line ends of any kind among
    it, say nothing and are taken off.

    Raises:
        LicenceError: 400 when it is no licence, or longer than MAX_BYTES.
    """
    try:
        content = given.encode() if isinstance(given, str) else given
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
        fields = _object(content.removeprefix(MARK).strip(WHITESPACE))
        terms, signature = (_decoded(fields, name) for name in ("license", "signature"))
    except (ValueError, RecursionError) as error:
        message = "this is not a licence: a JSON object with license and signature, both base64"
        raise LicenceError(400, UNREADABLE, f"{message} ({_short(error)})") from None
    return terms, signature


def terms_of(content: bytes) -> Terms:
    """Return what signed terms say. Raises LicenceError 400 when they cannot be read."""
    try:
        fields = _object(content)
        if fields.get("type") != TYPE:
            raise ValueError(f"type is not {TYPE}")
        issued_at, expires_at = (_time(fields, name) for name in ("issued_at", "expires_at"))
        if expires_at <= issued_at:
            raise ValueError("expires_at is not after issued_at")
        name = fields.get("id")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError("id is not 1 to 100 visible ASCII characters")
        return Terms(name, _customer(fields), issued_at, expires_at, _operations(fields))
    except (ValueError, RecursionError) as error:
        message = f"the licence is signed, but its terms cannot be read: {_short(error)}"
        raise LicenceError(400, UNREADABLE, message) from None


def wrong_signature() -> LicenceError:
    """Return what to raise for a licence whose signature does not fit."""
    message = "the signature is not the vendor's: the licence was changed, or is for other keys"
    return LicenceError(403, SIGNATURE, message)


def check_time(terms: Terms, now: float) -> None:
    """Refuse a licence whose time is over, or has not come.

    Args:
        terms: what it says.
        now: seconds since the epoch.

    Raises:
        LicenceError: 422.
    """
    if terms.expires_at.timestamp() <= now:
        message = f"the licence {terms.id} ended {shown(terms.expires_at)}"
        raise LicenceError(422, EXPIRED, message)
    if terms.issued_at.timestamp() - SKEW.total_seconds() > now:
        issued = shown(terms.issued_at)
        message = f"the licence {terms.id} is of {issued}, which is yet to come: set the clock"
        raise LicenceError(422, NOT_YET, message)


def shown(when: datetime) -> str:
    """Return a time as RFC 3339 has it."""
    return when.isoformat().replace("+00:00", "Z")


def time_of(text: str) -> datetime:
    """Return a time as RFC 3339 has it, with its zone. Raises ValueError for anything else."""
    found = TIME.fullmatch(text)
    if found is None:
        raise ValueError("no time with a zone, as RFC 3339 has it, from the year 2000 on")
    day, clock, fraction, zone = found.groups()
    # Python 3.10 knows neither Z nor fractions of other lengths.
    zone = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{day}T{clock}{fraction or '.':0<7}{zone}")
    except ValueError:
        raise ValueError("a time that does not exist") from None


def _object(content: bytes) -> dict[str, Any]:
    """Return a JSON object in UTF-8. Raises ValueError, RecursionError."""
    fields = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    return fields


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError("a name in it comes twice")
        fields[name] = value
    return fields


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _decoded(fields: dict[str, Any], name: str) -> bytes:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return base64.b64decode(value, validate=True)


def _time(fields: dict[str, Any], name: str) -> datetime:
    value = fields.get(name)
    try:
        return time_of(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{name} is {error}") from None


def _customer(fields: dict[str, Any]) -> str:
    value = fields.get("customer")
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("customer is no text of at most 200 characters")
    value.encode()  # Half a pair of surrogates is no character: no answer could have it.
    return value


def _operations(fields: dict[str, Any]) -> frozenset[str] | None:
    value = fields.get("operations")
    if value is None:
        return None
    if not isinstance(value, list) or not value or any(one not in ("tts", "stt") for one in value):
        raise ValueError("operations is no list of tts and stt")
    return frozenset(value)


def _short(error: Exception) -> str:
    """Return what is wrong without what was given."""
    if isinstance(error, RecursionError):
        return "too deeply nested"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeError):
        return "no text in UTF-8"
    if isinstance(error, binascii.Error):
        return "not base64"
    if "int string conversion" in str(error):
        return "a number in it is too long"
    return str(error)
