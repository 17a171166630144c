# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Remove what clients said, or had spoken, from log lines.

The services log no transcripts. Other programs may: an ingress with a changed log format, a
sidecar, a worker of another vendor.
"""

from __future__ import annotations

import re

MARK = "[REDACTED]"
FIELDS = ("transcript", "text", "words", "alias", "pronunciation")
# A field's name in quotes. In JSON inside JSON a quote has 1, then 3, then 7 backslashes before it.
_FIELD = re.compile(rf"""(?<!\\)(\\*)(["'])(?:{"|".join(FIELDS)})\1\2\s*[:=]\s*""")
# As programs write keyword arguments: to the end of the quotes, or of the line.
_ARGUMENT = re.compile(
    rf"""(?<![\w"'])({"|".join(FIELDS)})=("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[^\n]*)"""
)
# How pydantic shows a value that it refused.
_REFUSED = re.compile(r"(input_value=).*?(?=, input_type=|$)", re.MULTILINE)
_BRACKETS = {"[": "]", "{": "}"}
LONGEST = 200_000


def without_transcripts(text: str) -> tuple[str, int]:
    """Return a text without the values of FIELDS, and how many were removed.

    A value without an end, in a line that was cut, is removed up to the end of the line.
    """
    pieces: list[str] = []
    done = count = 0
    for match in _FIELD.finditer(text):
        if match.start() < done:
            continue
        escape, quote = match.group(1), match.group(2)
        end = _end(text, match.end(), escape, quote)
        if end == match.end():
            continue
        pieces += [text[done : match.end()], f"{escape}{quote}{MARK}{escape}{quote}"]
        done = end
        count += 1
    rest = "".join([*pieces, text[done:]])
    for pattern, replacement in ((_ARGUMENT, rf"\1={MARK}"), (_REFUSED, rf"\1{MARK}")):
        rest, more = pattern.subn(replacement, rest)
        count += more
    return rest, count


def _end(text: str, start: int, escape: str, quote: str) -> int:
    """Return the place after a value: a text, a list or an object; `start` for any other value."""
    opening = text[start : start + 1]
    if text.startswith(escape + quote, start):
        return _end_of_string(text, start + len(escape) + 1, escape, quote, _line_end(text, start))
    if opening not in _BRACKETS:
        return start
    limit = min(len(text), start + LONGEST)
    depth, place = 0, start
    while place < limit:
        character = text[place]
        if text.startswith(escape + quote, place):
            place = _end_of_string(text, place + len(escape) + 1, escape, quote, limit)
            continue
        if character in _BRACKETS:
            depth += 1
        elif character in _BRACKETS.values():
            depth -= 1
            if depth == 0:
                return place + 1
        place += 1
    return _line_end(text, start)


def _end_of_string(text: str, start: int, escape: str, quote: str, limit: int) -> int:
    """Return the place after the quote that ends a string, or the limit without one."""
    level = len(escape)
    place = text.find(quote, start, limit)
    while place >= 0:
        run = 0
        while place - run > start and text[place - run - 1] == "\\":
            run += 1
        # A quote inside the string has one more level of escaping.
        if run >= level and (run - level) // (level + 1) % 2 == 0:
            return place + 1
        place = text.find(quote, place + 1, limit)
    return limit


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return end if end >= 0 else len(text)
