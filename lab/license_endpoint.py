# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the vendor's license endpoint; what it says is in a file that tests change.

    python3 license_endpoint.py FOLDER PORT

Serves HTTPS from Python's own library only. The folder holds ``certificate.pem`` (with its chain),
``key.pem`` and ``account.json``: ``api_key``, the one key that is known; ``valid`` (true), whether
its licence is; ``reason``; ``status`` (200), to fail with; ``silent_s`` (0), to keep the client
waiting. What clients tell is appended to ``received.jsonl``, without their keys. The path and the
answers are what the reference license proxy understands; the vendor's own are not published.
"""

from __future__ import annotations

import hmac
import json
import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LICENSED = timedelta(days=30)
MAX_BODY_BYTES = 65536


class Handler(BaseHTTPRequestHandler):
    """Answers POST; anything else is Python's own 501."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    folder: Path
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Confirm a licence, or refuse it, as the account says."""
        account: dict[str, Any] = json.loads((self.folder / "account.json").read_text("utf-8"))
        length = int(self.headers.get("Content-Length", "0"))
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413, {})
        body = self.rfile.read(length)
        time.sleep(float(account.get("silent_s", 0)))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(key.encode(), str(account["api_key"]).encode()):
            return self._answer(401, {"valid": False, "reason": "no such key"})
        with self.lock, (self.folder / "received.jsonl").open("ab") as received:
            received.write(json.dumps(json.loads(body)).encode() + b"\n")
        end = (datetime.now(UTC) + LICENSED).isoformat(timespec="seconds")
        answer = {"valid": account.get("valid", True), "license": {"expires_at": end}}
        return self._answer(int(account.get("status", 200)), answer | _given(account, "reason"))

    def _answer(self, status: int, fields: dict[str, Any]) -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _given(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: fields[name]} if name in fields else {}


def main(folder: Path, port: int) -> None:
    """Serve until stopped."""
    Handler.folder = folder
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    server = ThreadingHTTPServer(("", port), Handler)
    # Each connection's thread does its handshake, so a hanging one delays no other.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
