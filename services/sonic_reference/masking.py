# SPDX-License-Identifier: Apache-2.0
"""Keep the keys of clients out of logs."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote_plus

# Names of query parameters that carry a key or a token.
SECRET_NAMES = frozenset({"api_key", "access_token"})
MASK = "***"

_PARAMETER = re.compile(r"""([?&])([^\s=&"']+)=([^\s&"']*)""")
_HEADER = re.compile(r"""(?i)(\bbearer\s+|\bx-api-key['"]?\s*[:=,]\s*b?['"]?)[^\s'",)\]]+""")


def mask(text: str) -> str:
    """Return a text with the keys in its URLs and headers replaced by ``***``.

    A parameter's name counts as the server reads it, percent-encoded or not.
    """

    def hidden(match: re.Match[str]) -> str:
        mark, name, _value = match.groups()
        if unquote_plus(name).lower() not in SECRET_NAMES:
            return match.group()
        return f"{mark}{name}={MASK}"

    return _HEADER.sub(rf"\g<1>{MASK}", _PARAMETER.sub(hidden, text))


class MaskingFormatter(logging.Formatter):
    """Formats records, tracebacks included, without the keys of clients."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        return mask(super().format(record))
