# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Remove secrets and transcripts from texts: by value, and by what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .forms import is_secret, known_forms
from .transcripts import FIELDS, MARK, without_transcripts

__all__ = ["MARK", "PATTERNS", "Redactor", "without_key_ends"]

# Forms are looked up by so many characters at every GRAM-th place of a text, which is fast with
# thousands of forms. A form of 2 * GRAM - 1 characters has one of these places inside.
GRAM = 8
_KEEP = r"(?!\[REDACTED)"
_WORD = _KEEP + r"""[^\s"'\\,;&)\]}]+"""
_VALUE = _KEEP + r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'\\,;&{}\[\]]+)"""
_NAMES = (
    r"x-api-key|api[_-]?key|access[_-]?token|password|passwd|passphrase|client[_-]?secret"
    r"|token|access[_-]?key|private[_-]?key|signature"
)
# Between a name and its value, also in JSON inside JSON.
_IS = r"""\\*["']?\s*[:=,]\s*\[?(?:b(?=["']))?(?:\\+["'])?"""
_PEM = (
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
    r"(?:[\s\S]{0,16384}?-----END [A-Z0-9 ]*PRIVATE KEY-----|[A-Za-z0-9+/=\s\\]*)"
)
_SIGNED = (
    r"(?:[?&]|\\u0026|&amp;)"
    r"(?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|awsaccesskeyid|googleaccessid)="
)
_NAME = _KEEP + r"""[^\s"'\\,;:?&)\]}]+"""
_SCHEME = r"""["']?(?:(?:basic|digest|token)\s+)?(?!bearer\b)"""
# What looks like a secret. The group is what stays of it.
PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # With its end, or in a text that was cut: all that can belong to it.
        rf"(){_PEM}",
        # JSON Web Tokens.
        r"()\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
        rf"(?i)(\bbearer\s+){_WORD}",
        rf"(?i)(\bauthorization{_IS}{_SCHEME}){_WORD}",
        rf"(?i)((?:{_NAMES}){_IS}){_VALUE}",
        # Keys of the vendor's form.
        r"()\bsk[_-][A-Za-z0-9_-]{8,}",
        # Signatures of presigned URLs.
        rf"(?i)({_SIGNED}){_WORD}",
        # User and password in a URL.
        r"""(://)[^/\s:@"']*:[^/\s@"']+(?=@)""",
        # Names of voices, LoRA and dictionaries, in files, objects and paths of the API. JSON may
        # write a slash as \/, and the ingress does.
        rf"(\b(?:voices|loras|pronunciation-dicts)\\*/){_NAME}",
    )
)
_KEPT = rf"\1{MARK}"
_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
_LAST_WORD = re.compile(r"(?:^|\s)([A-Za-z0-9+/=]{16,})\s*$")
_OF_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\"


def without_key_ends(text: str) -> tuple[str, int]:
    """Return a text without private keys whose first lines are missing, and how many there were."""
    if not _END.search(text):
        return text, 0
    lines = text.split("\n")
    count = 0
    for number, line in enumerate(lines):
        match = _END.search(line)
        if not match:
            continue
        count += 1
        lines[number] = line[: match.start()].rstrip(_OF_KEY) + MARK + line[match.end() :]
        before = number - 1
        while before >= 0 and (word := _LAST_WORD.search(lines[before])):
            lines[before] = lines[before][: word.start(1)] + MARK
            before -= 1
    return "\n".join(lines), count


class Redactor:
    """Removes secrets from texts. Counts what it removes."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        texts, self.short = known_forms(secrets)
        # The longest first: a shorter one may be a part of it.
        self._few = sorted((text for text in texts if len(text) < 2 * GRAM - 1), key=len)[::-1]
        self._many: dict[str, list[str]] = {}
        for text in texts:
            if len(text) >= 2 * GRAM - 1:
                for start in range(GRAM):
                    self._many.setdefault(text[start : start + GRAM], []).append(text)
        self.removed = 0

    def values(self, text: str) -> str:
        """Return a text without the values of known secrets, in all their forms."""
        places = {text[start : start + GRAM] for start in range(0, len(text), GRAM)}
        hits = {form for place in places & self._many.keys() for form in self._many[place]}
        for form in [*sorted(hits, key=len, reverse=True), *self._few]:
            count = text.count(form)
            if count:
                text = text.replace(form, MARK)
                self.removed += count
        return text

    def text(self, text: str) -> str:
        """Return a text without known secrets, what looks like one, and transcripts."""
        text, count = without_transcripts(self.values(text))
        self.removed += count
        for pattern in PATTERNS:
            text, count = pattern.subn(_KEPT, text)
            self.removed += count
        text, count = without_key_ends(text)
        self.removed += count
        return text

    def data(self, value: Any, names: bool = False) -> Any:
        """Return JSON data with its texts redacted, and names without known secrets.

        names: whether also to remove all values below a name that forms.is_secret() knows.
        """
        if isinstance(value, Mapping):
            return {
                self.values(str(name)): self._marked()
                if name in FIELDS or (names and inner and is_secret(str(name)))
                else self.data(inner, names)
                for name, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(inner, names) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def _marked(self) -> str:
        self.removed += 1
        return MARK
