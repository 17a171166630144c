# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import pytest
from sonic_reference.masking import MaskingFormatter, mask

KEY = "sk_secret-0123"


@pytest.mark.parametrize(
    "text",
    [
        f'1.2.3.4:5 - "WebSocket /tts/websocket?api_key={KEY}&cartesia_version=2026" [accepted]',
        f'1.2.3.4:5 - "GET /voices?limit=1&access_token={KEY} HTTP/1.1" 200',
        f"/stt/websocket?API_KEY={KEY}",
        f"/stt/websocket?api%5Fkey={KEY}&x=1",
        f"/stt/websocket?%61pi_key={KEY}",
        f"Authorization: Bearer {KEY}",
        f"{{'x-api-key': '{KEY}'}}",
        f"(b'x-api-key', b'{KEY}')",
    ],
)
def test_no_key_of_a_client_is_logged(text: str) -> None:
    shown = mask(text)
    assert KEY not in shown
    assert "***" in shown


def test_the_rest_of_a_line_stays() -> None:
    line = '"GET /artifacts?have=12&wait=25 HTTP/1.1" 200'
    assert mask(line) == line
    assert mask(f"/tts?a=1&api_key={KEY}&b=2 [accepted]") == "/tts?a=1&api_key=***&b=2 [accepted]"


def test_tracebacks_are_masked_too() -> None:
    formatter = MaskingFormatter("%(message)s")
    error = ValueError(f"cannot open wss://site/tts/websocket?api_key={KEY}")
    record = logging.LogRecord(
        "a", logging.ERROR, "", 1, "failed: %s", (error,), (ValueError, error, None)
    )
    shown = formatter.format(record)
    assert "ValueError" in shown
    assert KEY not in shown
