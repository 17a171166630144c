# SPDX-License-Identifier: Apache-2.0
"""The ingress from outside: redirect, TLS, the certificate, keys, and speech."""

from __future__ import annotations

import array
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

SPEECH = {
    "model_id": "sonic-reference",
    "transcript": "The lab speaks.",
    "language": "en",
    "voice": {"mode": "id", "id": "en-us"},
    "output_format": {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 22050},
}
VERSION = "2026-03-01"


@pytest.fixture(scope="module")
def host(info: dict[str, Any]) -> str:
    """The name that the certificate is for."""
    name = urlsplit(info["ingress_url"]).hostname
    assert name
    return str(name)


@pytest.fixture(scope="module")
def https(info: dict[str, Any], host: str) -> Iterator[urllib3.HTTPSConnectionPool]:
    """Connections to the ingress host by its name, that trust the lab's authority only."""
    with urllib3.HTTPSConnectionPool(
        info["ingress_address"],
        443,
        ca_certs=info["ca_file"],
        cert_reqs="CERT_REQUIRED",
        server_hostname=host,
        assert_hostname=host,
        headers={"Host": host, "Cartesia-Version": VERSION},
        timeout=30,
        retries=False,
    ) as pool:
        yield pool


def speak(
    https: urllib3.HTTPSConnectionPool, key: dict[str, str], **changes: Any
) -> urllib3.BaseHTTPResponse:
    """Ask for speech with these headers for a key, and return the answer."""
    headers = dict(https.headers) | {"Content-Type": "application/json"} | key
    return https.request("POST", "/tts/bytes", body=json.dumps(SPEECH | changes), headers=headers)


def handshake(
    info: dict[str, Any], host: str, version: ssl.TLSVersion, ciphers: str = "ALL"
) -> str | None:
    """Return the protocol that the ingress speaks with a client that knows only ``version``.

    Raises OSError when it refuses.
    """
    context = ssl.create_default_context(cafile=info["ca_file"])
    # Without this the client itself would refuse old protocols, whatever the server does.
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((info["ingress_address"], 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.version()


def samples(wav: bytes) -> array.array[int]:
    """Return the samples of a 16-bit WAV file whose lengths may be open, as a stream's are."""
    assert wav[:4] == b"RIFF"
    assert wav[8:12] == b"WAVE"
    start = wav.index(b"data") + 8
    body = wav[start:]
    return array.array("h", body[: len(body) - len(body) % 2])


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/status", "/status"),
        ("/tts/websocket?cartesia_version=2026-03-01&access_token=secret", "/tts/websocket"),
        ("/tts/websocket?api_key=secret", "/tts/websocket"),
        ("/status%3Fapi_key=secret", "/status"),
        ("/status;access_token=secret", "/status"),
    ],
)
def test_http_is_redirected_without_the_query(
    info: dict[str, Any], host: str, asked: str, path: str
) -> None:
    with urllib3.HTTPConnectionPool(info["ingress_address"], 80, timeout=10, retries=False) as pool:
        answer = pool.request("GET", asked, headers={"Host": f"{host}:80"}, redirect=False)
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://{host}{path}"
    assert b"secret" not in answer.data


def test_browsers_stay_with_https(https: urllib3.HTTPSConnectionPool) -> None:
    header = https.request("GET", "/status").headers["Strict-Transport-Security"]
    assert header.startswith("max-age=15768000")


def test_client_that_never_speaks_is_dropped(info: dict[str, Any], host: str) -> None:
    """As one that opens connections until the ingress has no more, without a handshake."""
    context = ssl.create_default_context(cafile=info["ca_file"])
    where = (info["ingress_address"], 443)
    with (
        socket.create_connection(where, 10) as silent,
        socket.create_connection(where, 10) as begun,
        context.wrap_socket(socket.create_connection(where, 10), server_hostname=host) as secure,
    ):
        # The head of a ClientHello whose body never comes.
        begun.sendall(bytes.fromhex("16030100c8"))
        for each in (silent, begun):
            each.settimeout(45)
            assert each.recv(1) == b""
        secure.settimeout(45)
        answer = b"".join(iter(lambda: secure.recv(4096), b""))
    assert not answer or answer.startswith(b"HTTP/1.1 408 ")


def test_wrong_keys_are_limited(info: dict[str, Any], host: str) -> None:
    """The address has to wait: it can neither guess fast nor keep the license proxy busy."""
    with urllib3.HTTPSConnectionPool(
        info["ingress_address"], 443, ca_certs=info["ca_file"], server_hostname=host,
        assert_hostname=host, headers={"Host": host, "Cartesia-Version": VERSION}, timeout=30,
        retries=False, maxsize=16,
    ) as pool:  # fmt: skip

        def guess(number: int) -> urllib3.BaseHTTPResponse:
            headers = dict(pool.headers) | {"X-API-Key": f"sk_wrong_{number}"}
            return pool.request("GET", "/voices?limit=1", headers=headers)

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(guess, range(240)))
        statuses = {answer.status for answer in answers}
        assert statuses == {401, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["error_code"] == "rate_limited"
        # HAProxy weighs in the second before this one.
        time.sleep(2.5)
        headers = dict(pool.headers) | {"X-API-Key": info["api_key"]}
        assert pool.request("GET", "/voices?limit=1", headers=headers).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(info: dict[str, Any], host: str, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(info, host, version)


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_current_tls_is_accepted(
    info: dict[str, Any], host: str, version: ssl.TLSVersion, name: str
) -> None:
    assert handshake(info, host, version) == name


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "ciphers",
    [
        "kRSA",  # a stolen key opens all that was recorded
        "DHE",
        "SHA1",  # CBC modes
        "SHA256",
        "CAMELLIA",
        "aNULL:eNULL",
    ],
)
def test_weak_ciphers_are_refused(info: dict[str, Any], number: int, ciphers: str) -> None:
    weak = f"{ciphers}:!ECDHE+AESGCM:!ECDHE+CHACHA20"
    # The server's refusal, not the client's that it knows none of these.
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.handshake.failure"):
        handshake(info, info["ingress_hosts"][number], ssl.TLSVersion.TLSv1_2, weak)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("cipher", ["AESGCM", "CHACHA20"])
def test_modern_ciphers_are_accepted(info: dict[str, Any], number: int, cipher: str) -> None:
    host = info["ingress_hosts"][number]
    assert handshake(info, host, ssl.TLSVersion.TLSv1_2, f"ECDHE+{cipher}") == "TLSv1.2"


def test_every_host_has_its_certificate_and_chain(info: dict[str, Any]) -> None:
    # The client knows the root only: without the intermediate certificate it would refuse.
    context = ssl.create_default_context(cafile=info["ca_file"])
    assert len(info["ingress_hosts"]) > 1
    for host in info["ingress_hosts"]:
        with (
            socket.create_connection((info["ingress_address"], 443), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(f"GET /status HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            assert secure.recv(64).split(b" ")[1] == b"200"


def test_certificate_is_not_for_other_names(info: dict[str, Any]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(info, "other.lab.test", ssl.TLSVersion.TLSv1_3)


def test_status_needs_no_key(https: urllib3.HTTPSConnectionPool) -> None:
    assert https.request("GET", "/status").status == 200


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_text_becomes_speech(
    https: urllib3.HTTPSConnectionPool, info: dict[str, Any], header: str
) -> None:
    value = info["api_key"] if header == "X-API-Key" else f"Bearer {info['api_key']}"
    answer = speak(https, {header: value})
    assert answer.status == 200, answer.data[:500]
    assert answer.headers["Content-Type"].startswith("audio/")
    heard = samples(answer.data)
    assert len(heard) > 22050 // 2, "less than half a second"
    assert max(map(abs, heard)) > 1000, "silence"


def test_longer_text_makes_longer_speech(
    https: urllib3.HTTPSConnectionPool, info: dict[str, Any]
) -> None:
    key = {"X-API-Key": info["api_key"]}
    short = samples(speak(https, key, transcript="Yes.").data)
    long = samples(
        speak(https, key, transcript="Yes, and this goes on for quite a while longer.").data
    )
    assert len(long) > 2 * len(short)


@pytest.mark.parametrize("key", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_no_speech_without_the_key(https: urllib3.HTTPSConnectionPool, key: dict[str, str]) -> None:
    answer = speak(https, key)
    assert answer.status == 401
    error = answer.json()
    assert error.keys() >= {"error_code", "title", "message", "request_id"}
    assert all(
        isinstance(error[name], str) and error[name] for name in ("error_code", "title", "message")
    )


def test_bad_request_gets_an_error(
    https: urllib3.HTTPSConnectionPool, info: dict[str, Any]
) -> None:
    answer = speak(https, {"X-API-Key": info["api_key"]}, output_format={"container": "tape"})
    assert answer.status == 400
    assert answer.json().keys() >= {"error_code", "title", "message", "request_id"}


def test_metrics_stay_inside(https: urllib3.HTTPSConnectionPool) -> None:
    assert https.request("GET", "/metrics").status == 404


# HAProxy's statistics, health and metrics, the controller's, kube-vip's, the API's own ports.
@pytest.mark.parametrize("port", [1936, 2112, 5000, 8080, 8443, 9101, 10253, 10254])
def test_nothing_else_is_open(info: dict[str, Any], port: int) -> None:
    addresses = [h["address"] for h in info["hosts"].values() if "ingress" in h["groups"]]
    for address in addresses:
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            socket.create_connection((address, port), 2).close()


def test_too_large_a_body_is_refused(
    https: urllib3.HTTPSConnectionPool, info: dict[str, Any]
) -> None:
    headers = dict(https.headers) | {"Content-Length": str(1 << 30), "Connection": "close"}
    headers["X-API-Key"] = info["api_key"]
    answer = https.request("POST", "/tts/bytes", body=b"{}", headers=headers)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error_code"] == "request_too_large"


def test_a_body_says_its_length(info: dict[str, Any], host: str) -> None:
    context = ssl.create_default_context(cafile=info["ca_file"])
    with (
        socket.create_connection((info["ingress_address"], 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        # The body never follows: a client that still sends it may find the connection closed.
        head = f"POST /tts/bytes HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {info['api_key']}\r\n"
        secure.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        assert answer.status == 411
        assert json.load(answer)["error_code"] == "length_required"


def test_a_body_says_its_length_in_http_2_too(
    info: dict[str, Any], host: str, machines: Callable[[str], Any]
) -> None:
    # Python's own client knows HTTP/1 only; the lab's hosts have curl.
    asked = "printf x | curl --silent --insecure --http2 --write-out '%{http_code}'"
    asked += f" --output /dev/null --resolve {host}:443:{info['ingress_address']} --request POST"
    address = f"https://{host}/tts/bytes"
    output = machines("gpu1").run(f"{asked} --data x {address}")
    assert output.stdout == "401", "the API would have answered"
    # HAProxy 2.6 ends the stream without its answer while the body is under way.
    output = machines("gpu1").run(f"{asked} --upload-file - {address}")
    assert output.stdout in {"411", "000"}


@pytest.mark.parametrize(("kib", "status"), [(12, 200), (20, 400)])
def test_headers_have_a_limit(https: urllib3.HTTPSConnectionPool, kib: int, status: int) -> None:
    answer = https.request("GET", "/status", headers=dict(https.headers) | {"X": "x" * kib * 1024})
    assert answer.status == status


def test_unknown_host_gets_an_error(https: urllib3.HTTPSConnectionPool) -> None:
    answer = https.request("GET", "/status", headers={"Host": "other.lab.test"})
    assert answer.status == 404
    assert answer.json()["error_code"] == "not_found"
