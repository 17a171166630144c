# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import math
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import client as speech

from tests.unit.plugins.module_utils._speech.ingress import HOST, Site, certificate, reply, wav


def refused(request: speech.SpeechRequest) -> speech.SpeechError:
    with pytest.raises(speech.SpeechError) as caught:
        speech.speak(request)
    return caught.value


def test_speech(site: Site, request_: speech.SpeechRequest) -> None:
    spoken = speech.speak(request_)
    assert spoken.audio == wav()
    assert (spoken.status, spoken.duration_s, spoken.tls_version) == (200, 1.0, "TLSv1.3")
    assert 0.1 < spoken.rms < 0.2
    assert 0 < spoken.ttfb_ms <= spoken.total_ms
    speech.check_speech(spoken, 0.5)
    ((path, headers, body),) = site.seen
    assert path == "/tts/bytes"
    assert headers["X-API-Key"] == "sk_1"
    assert headers["Cartesia-Version"] == "2025-04-16"
    assert headers["Host"] == f"{HOST}:{site.port}"
    assert body == {
        "model_id": "sonic-reference",
        "transcript": "Hello.",
        "voice": {"mode": "id", "id": speech.VOICE_ID},
        "output_format": {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 24000},
    }


def test_ca_from_a_file(request_: speech.SpeechRequest, pair: tuple[Path, Path]) -> None:
    from_file = dataclasses.replace(request_, ca_pem="", ca_file=str(pair[0]))
    assert speech.speak(from_file).status == 200


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, b'{"title": "Unauthorized", "message": "no such key"}', "no such key. The API key"),
        (403, b"license expired", "HTTP 403: license expired. The license"),
        (404, b"<html>default backend - 404</html>", f"No route for host {HOST}"),
        (429, b'{"error": "busy"}', "HTTP 429: busy. All workers are busy"),
        (500, b"", "HTTP 500. See the log of the API pods."),
        (503, b"<html>\n503 Service\n</html>", "no ready API pod"),
        (504, b"[1]", "The API did not answer the ingress in time"),
    ],
)
def test_refusals(
    site: Site, request_: speech.SpeechRequest, status: int, body: bytes, says: str
) -> None:
    site.answer = reply(status, body)
    error = refused(request_)
    assert error.status == status
    assert says in str(error)


def test_redirect(site: Site, request_: speech.SpeechRequest) -> None:
    site.answer = reply(308, b"", {"Location": "https://other.test/"})
    assert "It redirects to https://other.test/: give that URL." in str(refused(request_))


def test_answer_that_breaks_off(site: Site, request_: speech.SpeechRequest) -> None:
    site.answer = reply(200, wav(), length=len(wav()) + 10)
    assert "broke off after" in str(refused(request_))


def test_no_answer_in_time(site: Site, request_: speech.SpeechRequest) -> None:
    released = threading.Event()
    site.answer = lambda handler: [None for _unused in [released.wait(5)]].clear()
    error = refused(dataclasses.replace(request_, timeout_s=0.3))
    released.set()
    assert "no answer within 0.3 s" in str(error)


def test_wrong_host(site: Site, request_: speech.SpeechRequest) -> None:
    error = refused(dataclasses.replace(request_, url=f"https://other.test:{site.port}"))
    assert "give the ingress one for other.test" in str(error)
    assert error.status == 0


def test_unknown_ca(request_: speech.SpeechRequest) -> None:
    assert "Give the CA that signed it" in str(refused(dataclasses.replace(request_, ca_pem="")))


def test_expired_certificate(request_: speech.SpeechRequest, folder: Path) -> None:
    pem, key = certificate(folder, HOST, -1)
    old = Site(pem, key)
    error = refused(
        dataclasses.replace(
            request_, url=f"https://{HOST}:{old.port}", ca_pem=pem.read_text(), api_key="k"
        )
    )
    old.server.shutdown()
    old.server.server_close()
    assert "Renew the certificate." in str(error)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "http://a.test"}, "not an https:// URL"),
        ({"ca_pem": "nonsense"}, "cannot be used as PEM"),
        ({"ca_pem": "", "ca_file": "/does/not/exist"}, "/does/not/exist cannot be used as PEM"),
        ({"url": "https://a.test:1"}, "cannot connect"),
        ({"address": "nowhere.invalid"}, "does not resolve"),
    ],
)
def test_bad_input(request_: speech.SpeechRequest, changes: dict[str, str], says: str) -> None:
    error = refused(dataclasses.replace(request_, **changes))  # type: ignore[arg-type]
    assert says in str(error)


def test_plain_http_port_is_reported(request_: speech.SpeechRequest) -> None:
    class Plain(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"https://{HOST}:{server.server_address[1]}"
    error = refused(dataclasses.replace(request_, url=url))
    server.shutdown()
    server.server_close()
    assert "TLS handshake failed" in str(error)


def test_streamed_wav_counts_its_content() -> None:
    content = bytearray(wav(2.0))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    duration, rms = speech.measure_wav(bytes(content))
    assert duration == pytest.approx(2.0)
    assert rms == pytest.approx(8000 / math.sqrt(2) / 32768, rel=0.01)


@pytest.mark.parametrize("content", [b"", b"{}", b"RIFF\0\0\0\0WAVE", wav()[:30]])
def test_not_wav(content: bytes) -> None:
    with pytest.raises(speech.SpeechError, match="not WAV audio"):
        speech.measure_wav(content)


def spoken(duration_s: float, rms: float) -> speech.Speech:
    return speech.Speech(b"", 200, duration_s, rms, 1, 1, 1, "TLSv1.3")


def test_silence_and_shortness_fail() -> None:
    with pytest.raises(speech.SpeechError, match=r"the audio is silent \(rms 0.0001\)"):
        speech.check_speech(spoken(2, 0.0001), 0.5)
    with pytest.raises(speech.SpeechError, match=r"0\.2 s of audio came back"):
        speech.check_speech(spoken(0.2, 0.1), 0.5)


SECRET = "sk-not-a-real-key-0123"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\ufeff{}"])
def test_what_a_file_adds_to_a_key_is_not_sent(
    site: Site, request_: speech.SpeechRequest, around: str
) -> None:
    speech.speak(dataclasses.replace(request_, api_key=around.format(SECRET)))
    assert site.seen[0][1]["X-API-Key"] == SECRET


@pytest.mark.parametrize(
    "key", [f"{SECRET}\n{SECRET}", f"{SECRET}\u2013", f"{SECRET}\0x", f"\u00e9{SECRET}", "\n"]
)
def test_a_key_that_no_header_holds_is_refused_and_not_shown(
    site: Site, request_: speech.SpeechRequest, key: str
) -> None:
    error = refused(dataclasses.replace(request_, api_key=key))
    text = "".join(traceback.format_exception(error))
    assert "api_key" in str(error)
    assert SECRET not in text
    assert site.seen == []


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@speech.lab.test",
        f"https://speech.lab.test/?api_key={SECRET}",
        "https://speech.lab.test:port",
        "https://sp\u00e9ech.lab.test",
        "https://[::1",
        f"https://{'a' * 64}.lab.test",
        "https://a..b",
    ],
)
def test_a_url_that_cannot_be_asked_is_refused_without_its_secret(url: str) -> None:
    error = refused(speech.SpeechRequest(url=url, api_key="sk_1", timeout_s=1))
    assert SECRET not in "".join(traceback.format_exception(error))
    assert error.status == 0
