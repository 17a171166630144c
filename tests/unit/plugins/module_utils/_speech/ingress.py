# SPDX-License-Identifier: Apache-2.0
"""An ingress on the loopback, with its certificate, that gives the answers a test sets."""

from __future__ import annotations

import array
import io
import json
import math
import ssl
import threading
import wave
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "speech.lab.test"


def wav(seconds: float = 1.0, amplitude: int = 8000, rate: int = 24000) -> bytes:
    samples = array.array(
        "h", (int(amplitude * math.sin(i / 20)) for i in range(int(seconds * rate)))
    )
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(rate)
        audio.writeframes(samples.tobytes())
    return buffer.getvalue()


def certificate(folder: Path, host: str, days: int) -> tuple[Path, Path]:
    """A self-signed certificate and its key; negative days: it has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / f"{host}{days}.pem", folder / f"{host}{days}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, key_pem


class QuietServer(ThreadingHTTPServer):
    """A server that keeps to itself that a client refused its certificate or left."""

    def handle_error(self, *args: Any) -> None:
        pass


class Site:
    """An ingress on the loopback that gives set answers and keeps its requests."""

    def __init__(self, pem: Path, key: Path) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] = reply(200, wav())
        self.bodies: list[bytes] = []
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                site.bodies.append(body)
                sent = json.loads(body) if body.startswith(b"{") else None
                site.seen.append((self.path, dict(self.headers), sent))
                site.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def reply(
    status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(length or len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
