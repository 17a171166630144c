# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Secrets that travel in an HTTP header: strip what a file adds, check the rest.

http.client and urllib3 put a value that they refuse into their exception. A secret must not get
that far.
"""

from __future__ import annotations

import unicodedata

# What an editor or a shell leaves around a secret: white space, a byte order mark.
AROUND = "\ufeff\u200b"


class HeaderValueError(ValueError):
    """A value that no HTTP header may hold. The message never shows the value."""


def strip_secret(text: str) -> str:
    """Remove white space, line ends and byte order marks around a secret."""
    while (shorter := text.strip().strip(AROUND)) != text:
        text = shorter
    return text


def header_problem(text: str) -> str:
    """Say why a header cannot hold a stripped value, without the value; empty when it can.

    RFC 9110, section 5.5: visible characters of US-ASCII, spaces and tabs between them.
    """
    if not text:
        return "is empty"
    for place, character in enumerate(text, start=1):
        if not (" " <= character <= "~" or character == "\t"):
            kind = unicodedata.name(character, f"control character U+{ord(character):04X}")
            return f"holds a character that no HTTP header may hold, at place {place}: {kind}"
    return ""


def header_value(text: str, name: str) -> str:
    """Return a secret as a header may hold it.

    Args:
        text: the secret, perhaps with white space around it.
        name: what the message calls it.

    Raises:
        HeaderValueError: nothing is left of it, or it holds a character that no header may hold.
    """
    value = strip_secret(text)
    if problem := header_problem(value):
        raise HeaderValueError(f"{name} {problem}; give the key as it was issued, in one line")
    return value
