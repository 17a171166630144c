# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""One request for speech, as a client of the public API makes it, with what can be measured of it.

Only the standard library: it runs on a controller, on a host and in the lab's command line.
"""

from __future__ import annotations

import array
import http.client
import io
import json
import math
import socket
import ssl
import sys
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._http.headers import HeaderValueError, header_value, strip_secret

API_VERSION = "2025-04-16"
# The voice of the public API's own examples.
VOICE_ID = "a0e99841-438c-4a64-b679-ae501e7d6091"
# Speech is far above this; 16-bit silence, also when dithered, is far below. Full scale is 1.
SILENCE_RMS = 0.001

# Of the modules that listen from outside; the fragment speech documents them.
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
    """No speech came back. status: the answer's HTTP status, 0 when there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class SpeechRequest:
    """What to ask and whom.

    url: the API's base, for example https://speech.example.com; its host is checked against the
    certificate. address: the IP address or name to connect to instead of resolving the host.
    ca_pem, ca_file: the certificates to trust, in PEM; the system's when both are empty.
    timeout_s: for the connection and for each wait for data. White space around api_key is removed.
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
        """Remove what a file or a vault adds around a key."""
        object.__setattr__(self, "api_key", strip_secret(self.api_key))

    @classmethod
    def of(cls, params: Mapping[str, Any], **more: Any) -> SpeechRequest:
        """From the options that the modules have in common which ask for speech."""
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
    """What came back. duration_s of audio, rms from 0 to 1, ttfb_ms to the first byte of audio.

    ttfb_ms counts from when the request was sent over a connection that stood already;
    connect_ms is what the connection with its TLS handshake took before.
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
    """Asks for a transcript as 16-bit WAV and measures it.

    Raises SpeechError, saying which step failed and what to look at: a key that no header may
    hold, name resolution, connection, TLS, the HTTP status with the API's own message, or an answer
    that is not speech. No message shows the key.
    """
    headers = _headers(request)
    started = time.monotonic()
    connection = _connect(request)
    connected = time.monotonic()
    try:
        connection.request("POST", _path(request.url), _body(request), headers)
        response = connection.getresponse()
        status = response.status
        if status != 200:
            raise _refusal(request, status, response)
        first = response.read(1)
        first_at = time.monotonic()
        content = first + response.read()
    except TimeoutError as error:
        raise SpeechError(f"{request.url}: no answer within {request.timeout_s:g} s") from error
    except http.client.IncompleteRead as error:
        raise SpeechError(
            f"{request.url}: the answer broke off after {len(error.partial)} bytes", 200
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise SpeechError(f"{request.url}: the connection failed: {_said(error)}") from error
    except ValueError:
        # http.client quotes the refused value, so pass on neither its message nor the cause.
        raise SpeechError(f"{request.url}: no HTTP request can be made of this URL") from None
    finally:
        connection.close()
    ended = time.monotonic()
    duration, rms = measure_wav(content)
    return Speech(
        audio=content,
        status=status,
        duration_s=round(duration, 3),
        rms=round(rms, 5),
        ttfb_ms=round((first_at - connected) * 1000, 1),
        connect_ms=round((connected - started) * 1000, 1),
        total_ms=round((ended - started) * 1000, 1),
        tls_version=connection.tls_version,
    )


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/") + "/tts/bytes"


def _headers(request: SpeechRequest) -> dict[str, str]:
    try:
        key = header_value(request.api_key, "api_key")
    except HeaderValueError as error:
        raise SpeechError(str(error)) from None
    return {
        "Content-Type": "application/json",
        "X-API-Key": key,
        "Cartesia-Version": API_VERSION,
        "User-Agent": "baremetal.sonic",
    }


def _body(request: SpeechRequest) -> bytes:
    wanted: dict[str, Any] = {
        "model_id": request.model_id,
        "transcript": request.transcript,
        "voice": {"mode": "id", "id": request.voice_id},
        "output_format": {
            "container": "wav",
            "encoding": "pcm_s16le",
            "sample_rate": request.sample_rate,
        },
    }
    return json.dumps(wanted).encode()


class _HTTPSConnection(http.client.HTTPSConnection):
    """HTTPS to one address under the name of another: SNI, Host and certificate stay the url's."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext, timeout: float):
        super().__init__(host, port, timeout=timeout, context=context)
        self.tls_version = ""
        self._address = address
        self._tls = context

    def connect(self) -> None:
        """Connects to the address and does the TLS handshake for the host."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        self.sock = wrapped
        self.tls_version = wrapped.version() or ""


def _connect(request: SpeechRequest) -> _HTTPSConnection:
    host, port = _host(request.url)
    address = request.address or host
    where = f"{request.url} at {address}:{port}" if request.address else request.url
    try:
        context = ssl.create_default_context(
            cafile=request.ca_file or None, cadata=request.ca_pem or None
        )
    except (OSError, ValueError) as error:
        source = request.ca_file or "the text given as CA certificates"
        raise SpeechError(f"{source} cannot be used as PEM: {_said(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    connection = _HTTPSConnection(host, port, address, context, request.timeout_s)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise SpeechError(_untrusted(where, host, error)) from error
    except ssl.SSLError as error:
        raise SpeechError(
            f"{where}: TLS handshake failed: {_said(error)}. Is it the ingress that listens there?"
        ) from error
    except socket.gaierror as error:
        raise SpeechError(
            f"{where}: {address} does not resolve: {_said(error)}. Give the ingress' address."
        ) from error
    except TimeoutError as error:
        raise SpeechError(
            f"{where}: no connection within {request.timeout_s:g} s. Is a firewall in the way?"
        ) from error
    except OSError as error:
        raise SpeechError(
            f"{where}: cannot connect: {_said(error)}. Does the ingress run there?"
        ) from error
    except ValueError as error:
        # A name with an empty or too long part, or with a null byte.
        raise SpeechError(f"{where}: {address!r} is no host name or address") from error
    return connection


def _host(url: str) -> tuple[str, int]:
    """Return host and port of a URL. Raises SpeechError for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise SpeechError(f"url is no https:// URL with a host: {error}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not with the URL: a password or a key may be in it.
        raise SpeechError("url holds a user name, a password or a query: give the address alone")
    if parts.scheme != "https" or not host:
        raise SpeechError(f"{url}: not an https:// URL with a host")
    if not host.isascii() or not host.isprintable() or " " in host:
        raise SpeechError(f"{url}: the host is not ASCII: give it in its xn-- form")
    return host, port


def _untrusted(where: str, host: str, error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate was not accepted, and what to do about it."""
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
    """The error for an answer that is not 200, with the API's own words."""
    try:
        text = response.read(2000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        text = _said(error)
    try:
        found = json.loads(text)
        words = [str(found[key]) for key in ("title", "message", "error") if found.get(key)]
        told = ": ".join(words) or text
    except (ValueError, AttributeError, TypeError):
        told = " ".join(text.split())[:300]
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
    message = f"{request.url}: HTTP {status}" + (f": {told}" if told else "")
    return SpeechError(f"{message.rstrip('.')}. {hint}".strip(), status)


def _said(error: BaseException) -> str:
    """An exception's own words without its error number."""
    return str(
        getattr(error, "strerror", None)
        or getattr(error, "reason", None)
        or error
        or (type(error).__name__)
    )


def measure_wav(content: bytes) -> tuple[float, float]:
    """Duration in seconds and root mean square (0 to 1) of 16-bit WAV audio.

    A streamed WAV may give a length in its header that is not the content's: what counts is the
    content. Raises SpeechError for anything that is not 16-bit PCM WAV.
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
            f"the answer is not WAV audio ({_said(error)}): {start!r}", 200
        ) from error
    if width != 2:
        raise SpeechError(f"the audio has {width * 8} bits a sample, 16 were asked for", 200)
    samples = array.array("h", frames[: len(frames) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    if not samples:
        return 0.0, 0.0
    mean = sum(sample * sample for sample in samples) / len(samples)
    return len(samples) / channels / rate, math.sqrt(mean) / 32768


def check_speech(speech: Speech, min_duration_s: float) -> None:
    """Raises SpeechError for audio that is silent or shorter than min_duration_s."""
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
