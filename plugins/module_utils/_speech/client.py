# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Send one request for speech as a client of the public API does, and measure the answer.

It needs only the standard library: it runs on a controller, on a host and in the lab.
"""

from __future__ import annotations

import array
import contextlib
import http.client
import io
import json
import math
import socket
import ssl
import sys
import time
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._http.headers import HeaderValueError, header_value, strip_secret

API_VERSION = "2025-04-16"
# The voice of the public API's own examples.
VOICE_ID = "a0e99841-438c-4a64-b679-ae501e7d6091"
# Speech is far above this. 16-bit silence, even dithered, is far below. Full scale is 1.
SILENCE_RMS = 0.001

# Options of the modules that ask for speech. The documentation fragment `speech` describes them.
SPEECH_OPTIONS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "address": {"type": "str"},
    "ca_file": {"type": "path"},
    "ca_pem": {"type": "str"},
    "api_key": {"type": "str", "required": True, "no_log": True},
    "model_id": {"type": "str", "required": True},
    "voice_id": {"type": "str", "default": VOICE_ID},
    "timeout": {"type": "int", "default": 30},
}


class SpeechError(Exception):
    """The API gave no speech. status: HTTP status of the answer, 0 for no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class SpeechRequest:
    """One request for speech.

    url: the API's base, for example https://speech.example.com. The certificate must be for its
    host. address: the IP address or name to connect to, instead of the host. ca_pem, ca_file: the
    certificates to trust, in PEM; the system's if both are empty. timeout_s: seconds for the
    connection and for each wait for data. White space around api_key is removed.
    """

    url: str
    api_key: str = field(repr=False)
    transcript: str = "The quick brown fox jumps over the lazy dog."
    model_id: str = "sonic-reference"
    voice_id: str = VOICE_ID
    sample_rate: int = 24000
    address: str = ""
    ca_pem: str = ""
    ca_file: str = ""
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Remove white space that a file or a vault adds around a key."""
        object.__setattr__(self, "api_key", strip_secret(self.api_key))

    @classmethod
    def of(cls, params: Mapping[str, Any], **more: Any) -> SpeechRequest:
        """Read SPEECH_OPTIONS and the transcript from a module's options."""
        return cls(
            url=params["url"],
            api_key=params["api_key"],
            transcript=params["transcript"],
            model_id=params["model_id"],
            voice_id=params["voice_id"],
            address=params["address"] or "",
            ca_pem=params["ca_pem"] or "",
            ca_file=params.get("ca_file") or "",
            **more,
        )


@dataclass(frozen=True)
class Speech:
    """An answer. duration_s: seconds of audio. rms: its loudness, 0 to 1.

    ttfb_ms: from the request, over an open connection, to the first byte of audio. connect_ms: for
    the connection and its TLS handshake, before that.
    """

    audio: bytes = field(repr=False)
    status: int
    duration_s: float
    rms: float
    ttfb_ms: float
    connect_ms: float
    total_ms: float
    tls_version: str


def speak(request: SpeechRequest) -> Speech:
    """Ask for a transcript as 16-bit WAV and measure the answer.

    Raises:
        SpeechError: the message names the step that failed and what to do. Steps are: the key as
            a header, name resolution, connection, TLS, HTTP status, audio. No message shows the
            key.
    """
    with post(request, "/tts/bytes", _body(request)) as answer:
        first = answer.response.read(1)
        first_at = time.monotonic()
        content = first + answer.response.read()
    ended = time.monotonic()
    duration, rms = measure_wav(content)
    return Speech(
        audio=content,
        status=answer.response.status,
        duration_s=round(duration, 3),
        rms=round(rms, 5),
        ttfb_ms=round((first_at - answer.connected) * 1000, 1),
        connect_ms=round((answer.connected - answer.started) * 1000, 1),
        total_ms=round((ended - answer.started) * 1000, 1),
        tls_version=answer.tls_version,
    )


@dataclass(frozen=True)
class Answer:
    """An answer with status 200. started, connected: times of the monotonic clock, in seconds.

    certificate: what ssl.SSLSocket.getpeercert returns about the certificate that was served.
    """

    response: http.client.HTTPResponse
    started: float
    connected: float
    tls_version: str
    certificate: Mapping[str, Any]


@contextlib.contextmanager
def post(
    request: SpeechRequest, path: str, body: bytes, content_type: str = "application/json"
) -> Iterator[Answer]:
    """Send a request with the site's key and yield the answer, to be read inside the block.

    Raises:
        SpeechError: as speak does, also for errors while the block reads.
    """
    headers = {**headers_of(request), "Content-Type": content_type}
    started = time.monotonic()
    connection = connect(request)
    connected = time.monotonic()
    try:
        connection.request("POST", urlsplit(request.url).path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refusal(request, response.status, response)
        yield Answer(response, started, connected, connection.tls_version, connection.certificate)
    except TimeoutError as error:
        raise SpeechError(f"{request.url}: no answer within {request.timeout_s:g} s") from error
    except http.client.IncompleteRead as error:
        raise SpeechError(
            f"{request.url}: the answer broke off after {len(error.partial)} bytes", 200
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise SpeechError(f"{request.url}: the connection failed: {_reason(error)}") from error
    except ValueError:
        # http.client quotes the refused value. So hide its message and the cause.
        raise SpeechError(f"{request.url}: no HTTP request can be made of this URL") from None
    finally:
        connection.close()


def headers_of(request: SpeechRequest) -> dict[str, str]:
    """Return the headers of each request. Raises SpeechError for a key that no header may hold."""
    try:
        key = header_value(request.api_key, "api_key")
    except HeaderValueError as error:
        raise SpeechError(str(error)) from None
    return {
        "X-API-Key": key,
        "Cartesia-Version": API_VERSION,
        "User-Agent": "baremetal.sonic",
    }


def _body(request: SpeechRequest) -> bytes:
    return json.dumps(speech_fields(request, "wav")).encode()


def speech_fields(request: SpeechRequest, container: str) -> dict[str, Any]:
    """Return the fields of a request for speech. container: wav or raw."""
    return {
        "model_id": request.model_id,
        "transcript": request.transcript,
        "voice": {"mode": "id", "id": request.voice_id},
        "output_format": {
            "container": container,
            "encoding": "pcm_s16le",
            "sample_rate": request.sample_rate,
        },
    }


def _dial(address: str, port: int, timeout: float | None) -> socket.socket:
    plain = socket.create_connection((address, port), timeout)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def plain_socket(request: SpeechRequest) -> socket.socket:
    """Return a connection to the API without TLS. Raises OSError and SpeechError."""
    host, port = host_and_port(request.url)
    return _dial(request.address or host, port, request.timeout_s)


class _HTTPSConnection(http.client.HTTPSConnection):
    """HTTPS to a given address. SNI, Host and certificate are those of the URL's host."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext, timeout: float):
        super().__init__(host, port, timeout=timeout, context=context)
        self.tls_version = ""
        self.certificate: Mapping[str, Any] = {}
        self._address = address
        self._tls = context

    def connect(self) -> None:
        """Connect to the address and do the TLS handshake for the host."""
        plain = _dial(self._address, self.port, self.timeout)
        try:
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        self.sock = wrapped
        self.tls_version = wrapped.version() or ""
        self.certificate = wrapped.getpeercert() or {}


def tls_context(request: SpeechRequest) -> ssl.SSLContext:
    """Return what a client trusts, from TLS 1.2 on. Raises SpeechError for unusable PEM."""
    try:
        context = ssl.create_default_context(
            cafile=request.ca_file or None, cadata=request.ca_pem or None
        )
    except (OSError, ValueError) as error:
        source = request.ca_file or "the text given as CA certificates"
        raise SpeechError(f"{source} cannot be used as PEM: {_reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def connect(request: SpeechRequest) -> _HTTPSConnection:
    """Return a connection after its TLS handshake. Raises SpeechError."""
    host, port = host_and_port(request.url)
    address = request.address or host
    where = f"{request.url} at {address}:{port}" if request.address else request.url
    context = tls_context(request)
    connection = _HTTPSConnection(host, port, address, context, request.timeout_s)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise SpeechError(_untrusted(where, host, error)) from error
    except ssl.SSLError as error:
        raise SpeechError(
            f"{where}: TLS handshake failed: {_reason(error)}. Does the ingress listen there?"
        ) from error
    except socket.gaierror as error:
        raise SpeechError(
            f"{where}: {address} does not resolve: {_reason(error)}. Give the ingress' address."
        ) from error
    except TimeoutError as error:
        raise SpeechError(
            f"{where}: no connection within {request.timeout_s:g} s. Is a firewall in the way?"
        ) from error
    except OSError as error:
        raise SpeechError(
            f"{where}: cannot connect: {_reason(error)}. Does the ingress run there?"
        ) from error
    except ValueError as error:
        # A name with an empty or too long part, or with a null byte.
        raise SpeechError(f"{where}: {address!r} is no host name or address") from error
    return connection


def host_and_port(url: str) -> tuple[str, int]:
    """Return host and port of a URL. Raises SpeechError for an unusable URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise SpeechError(f"url is no https:// URL with a host: {error}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        # The message does not show the URL: it may hold a password or a key.
        raise SpeechError("url holds a user name, a password or a query: give the address alone")
    if parts.scheme != "https" or not host:
        raise SpeechError(f"{url}: not an https:// URL with a host")
    if not host.isascii() or not host.isprintable() or " " in host:
        raise SpeechError(f"{url}: the host is not ASCII: give it in its xn-- form")
    return host, port


def _untrusted(where: str, host: str, error: ssl.SSLCertVerificationError) -> str:
    """Say why a certificate is not accepted, and what to do."""
    why = error.verify_message
    lowered = why.lower()
    if "hostname mismatch" in lowered or "ip address mismatch" in lowered:
        do = f"The certificate served is for another host; give the ingress one for {host}."
    elif "expired" in lowered:
        do = "Renew the certificate."
    elif "not yet valid" in lowered:
        do = "Check the clocks."
    else:
        do = "Give the CA that signed it, and check that the chain is complete."
    return f"{where}: the certificate is not accepted: {why}. {do}"


def _refusal(
    request: SpeechRequest, status: int, response: http.client.HTTPResponse
) -> SpeechError:
    """Return the error for an answer that is not 200, with the API's own message."""
    try:
        text = response.read(2000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        text = _reason(error)
    try:
        answer = json.loads(text)
        words = [str(answer[key]) for key in ("title", "message", "error") if answer.get(key)]
        reason = ": ".join(words) or text
    except (ValueError, AttributeError, TypeError):
        reason = " ".join(text.split())[:300]
    host = urlsplit(request.url).hostname
    hints = {
        401: "The API key is wrong, or the license proxy does not know it.",
        403: "The license does not allow it, or it has expired.",
        404: f"No route for host {host}: is its Ingress there, and is the host right?",
        429: "All workers are busy: add capacity, or try again later.",
        502: "The API pod broke the connection; see its log.",
        503: "The ingress has no ready API pod, or no worker has free capacity.",
        504: "The API did not answer the ingress in time.",
    }
    hint = hints.get(status, "See the log of the API pods." if status >= 500 else "")
    if 300 <= status < 400:
        hint = f"It redirects to {response.getheader('Location', '?')}: give that URL."
    message = f"{request.url}: HTTP {status}" + (f": {reason}" if reason else "")
    return SpeechError(f"{message.rstrip('.')}. {hint}".strip(), status)


def _reason(error: BaseException) -> str:
    """Return an exception's text without its error number."""
    return str(
        getattr(error, "strerror", None)
        or getattr(error, "reason", None)
        or error
        or (type(error).__name__)
    )


def measure_wav(content: bytes) -> tuple[float, float]:
    """Return duration in seconds and root mean square (0 to 1) of 16-bit WAV audio.

    The length in the header of a streamed WAV may be wrong, so the content is measured. Raises
    SpeechError for anything that is not 16-bit PCM WAV.
    """
    try:
        with wave.open(io.BytesIO(content)) as audio:
            width, channels, rate = (
                audio.getsampwidth(),
                audio.getnchannels(),
                audio.getframerate(),
            )
            frames = audio.readframes(audio.getnframes())
    except (wave.Error, EOFError) as error:
        start = content[:40]
        raise SpeechError(
            f"the answer is not WAV audio ({_reason(error)}): {start!r}", 200
        ) from error
    if width != 2:
        raise SpeechError(f"the audio has {width * 8} bits a sample, 16 were asked for", 200)
    samples = len(frames) // width
    return samples / channels / rate, rms_of(frames)


def rms_of(pcm: bytes) -> float:
    """Return the root mean square (0 to 1) of 16-bit little-endian samples; 0 without any."""
    samples = array.array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    if not samples:
        return 0.0
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768


def check_speech(speech: Speech, min_duration_s: float) -> None:
    """Raise SpeechError for audio that is silent or shorter than min_duration_s."""
    if speech.duration_s < min_duration_s:
        raise SpeechError(
            f"{speech.duration_s:g} s of audio came back, at least {min_duration_s:g} s are"
            " wanted: the stream broke off or the worker is faulty",
            speech.status,
        )
    if speech.rms < SILENCE_RMS:
        raise SpeechError(
            f"the audio is silent (rms {speech.rms:g}): see the worker's log", speech.status
        )
