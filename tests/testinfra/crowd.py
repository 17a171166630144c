# SPDX-License-Identifier: Apache-2.0
"""Listeners who keep a site's workers busy: each hears speech at the speed at which it is spoken.

They come through the ingress as any client does. Speech is made much faster than it is heard, so
a listener takes what comes at the pace of a loudspeaker and lets the rest wait: a stream then lasts
as long as the speech, less what the buffers on the way hold (measured: some 30 s of it), and
costs hardly any processor.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps for a while. "
# Samples a second and bytes in each, as asked for below.
BYTES_A_SECOND = 48000 * 4
PIECE_S = 0.1
# Small, so that what is under way is in the site and not here.
RECEIVE_BUFFER = 64 * 1024
# The answers of a site that has no free stream: a listener tries again.
FULL = (429, 503)


@dataclass
class Heard:
    """What became of the requests: heard to the end, refused because of no free stream, or cut.

    lengths: in bytes, of what was heard to the end; all ask for the same text.
    """

    whole: int = 0
    refused: int = 0
    broken: list[str] = field(default_factory=list)
    lengths: set[int] = field(default_factory=set)


class Crowd:
    """So many listeners, from `with` to its end, each asking again when it has heard all.

    Ends by itself after `limit_s` seconds. When it ends every stream is still heard to its end,
    as fast as it comes.
    """

    def __init__(
        self, info: dict[str, Any], size: int, sentences: int = 12, limit_s: float = 300
    ) -> None:
        self.heard = Heard()
        self._info = info
        self._host = str(urlsplit(info["ingress_url"]).hostname)
        self._context = ssl.create_default_context(cafile=info["ca_file"])
        self._transcript = SENTENCE * sentences
        self._deadline = time.monotonic() + limit_s
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._listeners = [
            threading.Thread(target=self._listen, daemon=True) for _each in range(size)
        ]

    def __enter__(self) -> Crowd:
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> Heard:
        """Ask for nothing more, hear out what is under way, and say how it went."""
        self._leaving.set()
        for listener in self._listeners:
            listener.join(60)
        late = sum(listener.is_alive() for listener in self._listeners)
        if late:
            self._note(broken=f"{late} streams did not end within 60 s")
        return self.heard

    @property
    def _over(self) -> bool:
        return self._leaving.is_set() or time.monotonic() > self._deadline

    def _note(self, *, whole: int = 0, length: int = 0, refused: int = 0, broken: str = "") -> None:
        with self._lock:
            self.heard.lengths |= {length} if whole else set()
            self.heard.whole += whole
            self.heard.refused += refused
            self.heard.broken += [broken] if broken else []

    def _listen(self) -> None:
        while not self._over:
            try:
                status, length = self._hear()
            except (OSError, http.client.HTTPException) as error:
                self._note(broken=f"{type(error).__name__}: {error}")
                self._leaving.wait(1)
                continue
            if status == 200:
                self._note(whole=1, length=length)
            elif status in FULL:
                self._note(refused=1)
                self._leaving.wait(0.2)
            else:
                self._note(broken=f"HTTP {status}")
                self._leaving.wait(1)

    def _hear(self) -> tuple[int, int]:
        """Make one request and hear it to its end; returns the status and the bytes heard.

        Raises OSError or HTTPException when the answer does not come, or ends too early.
        """
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        plain.settimeout(30)
        connection = http.client.HTTPConnection(self._host)
        try:
            plain.connect((self._info["ingress_address"], 443))
            connection.sock = self._context.wrap_socket(plain, server_hostname=self._host)
            connection.request("POST", "/tts/bytes", self._body(), self._headers())
            answer = connection.getresponse()
            started, heard = time.monotonic(), 0
            # Without the end that HTTP asks for, read() raises IncompleteRead.
            while piece := answer.read(int(BYTES_A_SECOND * PIECE_S)):
                heard += len(piece)
                ahead = started + heard / BYTES_A_SECOND - time.monotonic()
                if answer.status == 200 and ahead > 0 and not self._over:
                    self._leaving.wait(ahead)
            return answer.status, heard
        finally:
            connection.close()
            plain.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Cartesia-Version": "2026-03-01",
            "X-API-Key": self._info["api_key"],
        }

    def _body(self) -> str:
        return json.dumps(
            {
                "model_id": "sonic-reference",
                "transcript": self._transcript,
                "voice": {"mode": "id", "id": "en-us"},
                "output_format": {
                    "container": "raw",
                    "encoding": "pcm_f32le",
                    "sample_rate": BYTES_A_SECOND // 4,
                },
            }
        )
