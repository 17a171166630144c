# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import io
import resource
import struct
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped,unused-ignore]
from sonic_reference.api import decode_child, recordings
from sonic_reference.api.recordings import Budget, Recordings, read_audio
from sonic_reference.errors import ApiError

from lab.processes import KEY, SERVICES, Stack
from tests.sounds import TONE_HZ, sound

RATE = 16000


def vorbis() -> bytes:
    """A tone as the reference library for Vorbis writes it."""
    held = io.BytesIO()
    tone = np.sin(2 * np.pi * TONE_HZ * np.arange(2 * 44100) / 44100) * 0.3
    soundfile.write(held, np.stack([tone, tone], axis=1), 44100, format="OGG", subtype="VORBIS")
    return held.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "flac": lambda: sound("flac", "flac"),
    "m4a of a telephone": lambda: sound("ipod", "aac", rate=44100),
    "m4a without loss": lambda: sound("ipod", "alac", rate=44100),
    "mp3": lambda: sound("mp3", "libmp3lame", rate=44100, layout="stereo"),
    "mp3 of a pipe": lambda: sound("mp3", "libmp3lame", rate=44100, pipe=True),
    "mp4": lambda: sound("mp4", "aac", layout="stereo"),
    "mp4 in pieces, as browsers record": lambda: sound(
        "mp4", "aac", pipe=True, options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "mpeg": lambda: sound("mpeg", "mp2", rate=44100),
    "mpga": lambda: sound("mp2", "mp2", rate=44100),
    "ogg with Opus": lambda: sound("ogg", "libopus"),
    "oga with FLAC": lambda: sound("oga", "flac", rate=44100),
    "ogg with Vorbis": vorbis,
    "webm": lambda: sound("webm", "libopus"),
    "webm of a browser, of unknown length": lambda: sound("webm", "libopus", pipe=True),
    "mkv": lambda: sound("matroska", "flac"),
    "mov": lambda: sound("mov", "pcm_s16le"),
    "aac without a container": lambda: sound("adts", "aac", rate=44100),
    "caf": lambda: sound("caf", "pcm_s16le"),
    "aiff": lambda: sound("aiff", "pcm_s16be"),
    "wav": lambda: sound("wav", "pcm_s16le", rate=8000),
    "wav of a pipe": lambda: sound("wav", "pcm_s16le", pipe=True),
    "wav with floats": lambda: sound("wav", "pcm_f32le", layout="stereo"),
    "wav with 24 bits, 5.1": lambda: sound("wav", "pcm_s24le", layout="5.1"),
    "wav with mu-law": lambda: sound("wav", "pcm_mulaw", rate=8000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_as_phones_browsers_and_pipes_make_them(kind: str) -> None:
    samples = np.frombuffer(read_audio(KINDS[kind]()), "<i2").astype(float)
    assert len(samples) / RATE == pytest.approx(2, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * RATE / len(samples) == pytest.approx(TONE_HZ, abs=2)
    assert 0.1 < np.abs(samples[RATE // 2 : RATE]).max() / 32768 < 0.7


def wav(says: int, seconds: float = 1, rate: int = RATE, channels: int = 1) -> bytes:
    """A WAV file whose header says some number of bytes."""
    audio = bytes(int(seconds * rate) * 2 * channels)
    return (
        struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", says, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * 2 * channels),
            *(2 * channels, 16, b"data", says),
        )
        + audio
    )


@pytest.mark.parametrize("says", [0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
def test_a_wav_file_is_read_whatever_length_it_says(says: int) -> None:
    assert len(read_audio(wav(says))) == 2 * RATE


def test_a_flac_file_of_unknown_length_is_read() -> None:
    content = bytearray(sound("flac", "flac"))
    # Of STREAMINFO, 36 bits from the middle of byte 21 on are the number of samples.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert len(read_audio(bytes(content))) == pytest.approx(4 * RATE, abs=100)


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg with Opus", "webm", "wav", "mpeg"])
def test_of_a_file_that_is_cut_off_the_part_that_is_there_is_read(kind: str) -> None:
    content = KINDS[kind]()
    assert 0.5 < len(read_audio(content[: len(content) // 2])) / 2 / RATE < 1.5


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no audio that can be read"),
        (b"\0" * 1000, "no audio that can be read"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm" + bytes(80), "no audio"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom" + bytes(64), "no audio that can be read"),
        # Files that would have others opened.
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "no audio that can be"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "no audio that can be read"),
        (wav(0, seconds=0), "there is no audio in it"),
        (wav(2000, rate=1, seconds=600), "1 samples a second; 4000 to 192000 can be read"),
        (wav(2000, rate=3999), "3999 samples a second"),
        (wav(2000, rate=655350), "655350 samples a second"),
        (wav(2000, channels=9), "9 channels; at most 8 can be read"),
        (wav(0, rate=4000, seconds=1801), "longer than 1800 s"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(ApiError, match=f"file: .*{why}") as caught:
        read_audio(content)
    assert caught.value.status == 400


def test_a_small_file_takes_little_memory_here() -> None:
    """56 KB of FLAC took 225 MiB in this process, and a WAV file of 1 Hz 331 MiB."""
    hostile = [
        sound("flac", "flac", rate=96000, layout="7.1", seconds=10),
        wav(0, rate=1, seconds=1200),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(read_audio(hostile[0])) == pytest.approx(10 * 2 * RATE, abs=100)
    with pytest.raises(ApiError, match="1 samples a second"):
        read_audio(hostile[1])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def child(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Have files read by a program of the test's own."""
    script = folder / "child.py"
    script.write_text(code, encoding="utf-8")
    monkeypatch.setattr(recordings, "CHILD", script)
    monkeypatch.syspath_prepend(str(SERVICES))


LIMITED = """
import sys
from sonic_reference.api import decode_child
decode_child.{name} = {value}
{more}
sys.exit(decode_child.main())
"""


@pytest.mark.parametrize(
    ("name", "value", "spends"),
    [
        # The libraries alone have 120 MiB of address space.
        ("MEMORY", 200 << 20, "decode_child.decode = lambda file: len(bytearray(150 << 20))"),
        ("CPU_S", 1, "decode_child.decode = lambda file: max(iter(int, 1))"),
    ],
)
def test_memory_and_time_of_reading_are_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: int, spends: str
) -> None:
    child(monkeypatch, tmp_path, LIMITED.format(name=name, value=value, more=spends))
    with pytest.raises(ApiError, match="too much memory") as caught:
        read_audio(b"")
    assert caught.value.status == 400


def test_frames_times_channels_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert decode_child.MAX_SAMPLES == 1800 * 48_000 * 2
    child(monkeypatch, tmp_path, LIMITED.format(name="MAX_SAMPLES", value=100_000, more=""))
    assert len(read_audio(wav(0, seconds=6.2))) == 2 * 99_200
    for content in (
        wav(0, seconds=6.3),
        wav(0, seconds=0.9, channels=8),
        sound("flac", "flac", rate=96_000, layout="stereo", seconds=1),
    ):
        with pytest.raises(ApiError, match="more than 100000 samples, over all channels"):
            read_audio(content)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(3600)",
        # Ten times what the longest recording has.
        "import os, struct\nwhile True: os.write(1, b'A' + struct.pack('>I', 4) + b'1234')",
        "import os, struct\nos.write(1, b'A' + struct.pack('>I', 2**31) + bytes(4096))",
        "import os\nos.write(1, b'nonsense')",
        "import os; os.abort()",
    ],
)
def test_a_process_that_was_taken_over_can_do_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    child(monkeypatch, tmp_path, code)
    monkeypatch.setattr(recordings, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(recordings, "MAX_BYTES", 1_000_000)
    with pytest.raises(ApiError, match="or is damaged"):
        read_audio(b"")


def test_the_process_gets_none_of_our_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "import os, struct, sys\nsaid = repr([*os.environ, os.listdir('/proc/self/fd')]).encode()"
    )
    code += "\nos.write(1, b'X' + struct.pack('>I', len(said)) + said)"
    child(monkeypatch, tmp_path, code)
    monkeypatch.setenv("CARTESIA_API_KEY", "secret")
    with pytest.raises(ApiError) as caught:
        read_audio(b"")
    assert "CARTESIA_API_KEY" not in caught.value.message
    assert "PYTHONPATH" in caught.value.message


def test_few_files_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    begun = threading.Semaphore(0)
    running = []

    def slow(content: bytes) -> bytes:
        running.append(content)
        begun.release()
        release.wait(20)
        return content

    async def body() -> None:
        files = Recordings()
        tasks = [asyncio.create_task(files.read(bytes([number]))) for number in range(5)]
        for _unused in range(recordings.DECODERS):
            await asyncio.to_thread(begun.acquire, timeout=20)
        # The turn of a client that leaves stays taken while its file is still being read.
        tasks[0].cancel()
        await asyncio.sleep(0.05)
        assert len(running) == recordings.DECODERS
        monkeypatch.setattr(recordings, "PATIENCE_S", 0.01)
        with pytest.raises(ApiError) as caught:
            await files.read(b"late")
        assert caught.value.status == 429
        release.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[1:] == [b"\x01", b"\x02", b"\x03", b"\x04"]

    monkeypatch.setattr(recordings, "read_audio", slow)
    asyncio.run(body())


def test_the_memory_of_all_recordings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        files = Recordings()
        async with files.receive() as first:
            first.take(recordings.MAX_BODIES - 10)
            async with files.receive() as second:
                second.take(10)
                with pytest.raises(ApiError) as caught:
                    second.take(1)
                assert (caught.value.status, caught.value.headers["Connection"]) == (429, "close")
                # What has been read counts as samples, no more as a body.
                assert await first.decode(b"ab") == b"ab"
                assert (files.bodies.held, files.samples.held) == (10, 2)
        assert (files.bodies.held, files.samples.held) == (0, 0)
        monkeypatch.setattr(recordings, "read_audio", lambda _content: 1 / 0)
        async with files.receive() as third:
            third.take(5)
            with pytest.raises(ZeroDivisionError):
                await third.decode(b"ab")
        assert (files.bodies.held, files.samples.held) == (0, 0)

        budget = Budget(10)
        await budget.reserve(8)
        waiting = asyncio.create_task(budget.reserve(3))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.give(8)
        await waiting
        assert budget.held == 3
        monkeypatch.setattr(recordings, "PATIENCE_S", 0.01)
        with pytest.raises(ApiError) as caught:
            await budget.reserve(8)
        assert caught.value.status == 429

    monkeypatch.setattr(recordings, "read_audio", bytes)
    asyncio.run(body())


@pytest.mark.parametrize("kind", ["m4a of a telephone", "webm", "flac", "wav of a pipe"])
def test_uploads_are_read_by_the_api(quiet_stack: Stack, kind: str) -> None:
    answer = httpx.post(
        f"{quiet_stack.url}/stt?model=ink-whisper", headers={"X-API-Key": KEY}, timeout=60,
        files={"file": ("recording", KINDS[kind]())}, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == pytest.approx(2, abs=0.1)


def test_the_api_serves_others_while_a_file_is_read(quiet_stack: Stack) -> None:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(4000)
        file.writeframes(bytes(2 * 4000 * 1801))
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(
            httpx.post(
                f"{quiet_stack.url}/stt?model=ink-whisper", headers={"X-API-Key": KEY}, timeout=60,
                files={"file": ("recording", held.getvalue())}, trust_env=False,
            )
        )  # fmt: skip

    sending = threading.Thread(target=send)
    sending.start()
    served = 0
    while sending.is_alive():
        assert quiet_stack.status(f"{quiet_stack.url}/status") == 200
        served += 1
        time.sleep(0.01)
    sending.join()
    assert served > 0
    assert (answers[0].status_code, answers[0].json()["message"]) == (
        400, "file: longer than 1800 s"
    )  # fmt: skip
