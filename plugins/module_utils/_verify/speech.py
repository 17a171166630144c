# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that a client makes: speech by each call of the API, its key, and what else listens."""

from __future__ import annotations

import dataclasses
import errno
import socket
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .._speech import streams
from .._speech.client import Speech, SpeechError, SpeechRequest, check_speech, connect, speak
from .._speech.load import percentile
from .checks import FAIL, PASS, SKIPPED, WARN, Check, End, Figure
from .security import day_of
from .site import Definition, Result, each

# Ports without authentication, that a firewall or a Service of the wrong type opens.
CLOSED_PORTS = {
    2381: "etcd's metrics",
    4222: "NATS",
    6222: "NATS' cluster",
    8222: "NATS' monitoring",
    8080: "the license proxy, or an old API server",
    9090: "Prometheus",
    9093: "Alertmanager",
    10248: "the kubelet's health",
    10249: "kube-proxy's metrics",
    10255: "the kubelet's read-only port",
}
PROBE_SECONDS = 1.0
# Seconds between two requests while no worker serves.
PAUSE = 2.0
UNAVAILABLE, UNAUTHORIZED = 503, 401
WRONG_KEY = "sk-verify-wrong-key"
# Checks of the cluster whose failure leaves clients without speech.
CAUSES = ("nodes", "gpus", "nats", "workers", "rollouts", "licence", "policies")


@dataclass
class Client:
    """What the checks share.

    stt_model: empty where no worker transcribes. requests: how many measure the first audio.
    patience_s: seconds to ask again while no worker serves. hosts: addresses that the ports'
    check connects to. now: seconds since the epoch. heard: the answers of the check speech.
    """

    request: SpeechRequest
    stt_model: str
    requests: int
    min_duration_s: float
    patience_s: float
    hosts: Sequence[str]
    now: float
    heard: list[Speech] = field(default_factory=list)


def certificate(client: Client, limit: float) -> Result:
    """The ingress' certificate is accepted and ends in more than limit days."""
    connection = connect(client.request)
    connection.close()
    end = float(ssl.cert_time_to_seconds(str(connection.certificate["notAfter"])))
    days = (end - client.now) / 86400
    names = sorted(str(value) for _kind, value in connection.certificate.get("subjectAltName", ()))
    return Result(
        PASS if days > limit else WARN,
        f"{connection.tls_version}, for {', '.join(names)}, ends in {days:.0f} days",
        ends=(End(f"certificate of {names[0]}", "certificate", day_of(end), "docs/ingress.md"),),
    )


def spoken(client: Client, _limit: float) -> Result:
    """POST /tts/bytes answers with audio that is long enough and not silent."""
    speech = _patient(client)
    check_speech(speech, client.min_duration_s)
    client.heard.append(speech)
    return Result(PASS, f"{speech.duration_s:g} s of audio, rms {speech.rms:.3f}")


def _patient(client: Client) -> Speech:
    """Ask until a worker serves. Waiting does not help against another status."""
    end = time.monotonic() + client.patience_s
    while True:
        try:
            return speak(client.request)
        except SpeechError as error:
            if error.status != UNAVAILABLE or time.monotonic() + PAUSE > end:
                raise
            time.sleep(PAUSE)


def first_audio(client: Client, limit: float) -> Result:
    """The 95th percentile of the time to the first audio is at most limit milliseconds."""
    while len(client.heard) < client.requests:
        client.heard.append(speak(client.request))
    points = tuple(speech.ttfb_ms for speech in client.heard)
    worst = percentile(points, 0.95)
    text = f"p95 {worst:.0f} ms, median {percentile(points, 0.5):.0f} ms of {len(points)} requests"
    figure = Figure("time to first audio", "ms", points, limit)
    return Result(PASS if worst <= limit else FAIL, text, (figure,))


def events(client: Client, _limit: float) -> Result:
    """POST /tts/sse answers with a whole stream of events."""
    return _streamed(client, streams.sse(client.request))


def websocket(client: Client, _limit: float) -> Result:
    """WS /tts/websocket answers a context with a whole stream of events."""
    return _streamed(client, streams.websocket(client.request))


def _streamed(client: Client, heard: streams.Streamed) -> Result:
    seconds = streams.validate(heard, client.request.sample_rate, client.min_duration_s)
    return Result(
        PASS,
        f"{seconds:.2f} s of audio, times of {len(heard.words)} words,"
        f" the first audio after {heard.ttfb_ms:.0f} ms",
    )


def transcribed(client: Client, limit: float) -> Result:
    """POST /stt recognizes words, and at least a share (0 to 1) of those that were spoken."""
    if not client.stt_model:
        return Result(SKIPPED, "no worker of the site transcribes")
    speech = client.heard[0] if client.heard else speak(client.request)
    recognized = _words(streams.transcribe(client.request, speech.audio, client.stt_model))
    wanted = _words(client.request.transcript)
    share = len(wanted & recognized) / max(len(wanted), 1)
    # The text is not shown: a report holds no transcript.
    text = f"{len(recognized)} words were recognized, {share:.0%} of those spoken"
    if recognized and share >= limit:
        return Result(PASS, text)
    return Result(FAIL, f"{text}; {limit:.0%} are wanted" if recognized else "no word came back")


def _words(text: str) -> set[str]:
    return {word.strip(".,;:!?\"'").lower() for word in text.split()} - {""}


def wrong_key(client: Client, _limit: float) -> Result:
    """A request with a wrong key is refused with 401."""
    try:
        speak(dataclasses.replace(client.request, api_key=WRONG_KEY))
    except SpeechError as error:
        if error.status == UNAUTHORIZED:
            return Result(PASS, "a wrong key gets HTTP 401")
        raise
    return Result(FAIL, "a wrong key gets speech")


def ports(client: Client, _limit: float) -> Result:
    """No port without authentication can be connected to from where clients are."""
    if not client.hosts:
        return Result(SKIPPED, "no address to connect to is given")
    pairs = [(host, port) for host in client.hosts for port in CLOSED_PORTS]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(_opens, pairs))
    problems = [
        f"{host}:{port} is open ({CLOSED_PORTS[port]})"
        for (host, port), opens in zip(pairs, answers, strict=True)
        if opens
    ]
    good = (
        f"{len(CLOSED_PORTS)} ports without authentication are closed on {len(client.hosts)} hosts"
    )
    return Result(FAIL if problems else PASS, "; ".join(problems) or good)


def _opens(pair: tuple[str, int]) -> bool:
    """Return whether a port can be connected to. Raises OSError for lack of local resources."""
    try:
        socket.create_connection(pair, PROBE_SECONDS).close()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL):
            raise
        return False
    return True


DEFINITIONS = (
    Definition(
        "speech-certificate",
        "Clients accept the certificate, for more than so many days",
        certificate,
        "See docs/ingress.md: name, chain and dates of the certificate, and site_ca_file",
        "runbooks/IngressCertificateExpires.md",
        after=("nodes",),
        limit=14.0,
    ),
    Definition(
        "speech",
        "POST /tts/bytes speaks",
        spoken,
        "See the logs of the API's pods and of the workers, in this order",
        "runbooks/SpeechNoCapacity.md",
        after=(*CAUSES, "speech-certificate"),
    ),
    Definition(
        "speech-first-audio",
        "The first audio comes within so many milliseconds (95th percentile)",
        first_audio,
        "See inferno_worker_load and inferno_worker_ttfa of the workers",
        "runbooks/SpeechSlowFirstAudio.md",
        after=(*CAUSES, "speech-certificate", "speech"),
        limit=5000.0,
    ),
    Definition(
        "speech-sse",
        "POST /tts/sse speaks, with times of words",
        events,
        "See the logs of the API's pods",
        after=(*CAUSES, "speech-certificate", "speech"),
    ),
    Definition(
        "speech-websocket",
        "WS /tts/websocket speaks a text that comes in pieces, with times of words",
        websocket,
        "See the logs of the API's pods, and whether a proxy before the ingress passes WebSockets",
        after=(*CAUSES, "speech-certificate", "speech"),
    ),
    Definition(
        "speech-transcription",
        "POST /stt recognizes words, and this share of those that the site spoke",
        transcribed,
        "See the log of the workers that transcribe",
        after=(*CAUSES, "speech-certificate", "speech"),
        # A model for another language recognizes words, but others. Set your own share.
        limit=0.0,
    ),
    Definition(
        "speech-key",
        "A wrong key is refused",
        wrong_key,
        "See the log of the license proxy: who may speak is its decision",
        after=(*CAUSES, "speech-certificate"),
    ),
    Definition(
        "closed-ports",
        "From outside, no port without authentication is open",
        ports,
        "Close the port in the host's firewall, see docs/security.md",
    ),
)


def run(
    client: Client, limits: Mapping[str, float], failed: Collection[str], skip: Collection[str]
) -> list[Check]:
    """Run the checks in their order.

    Args:
        client: what they share.
        limits: limits by id, in place of the defaults.
        failed: ids of checks of the cluster that have failed.
        skip: ids of checks not to run.
    """

    def ask(item: Definition, limit: float) -> Result:
        if item.id in skip:
            return Result(SKIPPED, "skipped by verify_skip")
        try:
            return item.function(client, limit)
        except SpeechError as error:
            return Result(FAIL, str(error))

    return each(DEFINITIONS, limits, ask, failed, skip)
