# SPDX-License-Identifier: Apache-2.0
"""The messages of API pods and workers over NATS; docs/nats-protocol.md explains them."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "sonic.v2"
# Seconds. While both sides live, neither is silent on a stream for longer than two beats.
BEAT_S = 1.0
# A worker ends a job whose API pod has been silent for this long.
ORPHAN_S = 10.0
ANNOUNCE_S = 1.0
# A worker that has not announced itself for this long is gone.
ROSTER_TTL_S = 3.5
# Bytes of audio that a worker may be ahead of what the API pod has handed to its client, and that
# an API pod may be ahead of what a worker has transcribed. See Window.
WINDOW_BYTES = 1024 * 1024
# A receiver gives up a sender that is ahead by more than this.
OVERRUN_BYTES = 2 * WINDOW_BYTES
# Bytes of audio in one message, well below NATS's default max_payload of 1 MiB.
CHUNK_BYTES = 128 * 1024

ROLL_CALL = f"{PREFIX}.rollcall"
WORKERS = f"{PREFIX}.workers"
REPLIES = f"{PREFIX}.replies"
CONTROL = f"{PREFIX}.control"
# The key-value store of the pronunciation dictionaries that clients make.
DICTIONARIES = "sonic-v1-dictionaries"
# Where answers to the API pods' own requests come, such as those of the store.
API_INBOX = "_INBOX_api"

Container = Literal["raw", "wav", "mp3"]
Encoding = Literal["pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"]
AudioEncoding = Literal["pcm_s16le", "pcm_s32le", "pcm_f16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"]

# Hz; what sound files are sent to workers at.
FILE_RATE = 16000
SAMPLE_BYTES: dict[AudioEncoding, int] = {
    "pcm_s16le": 2,
    "pcm_s32le": 4,
    "pcm_f16le": 2,
    "pcm_f32le": 4,
    "pcm_mulaw": 1,
    "pcm_alaw": 1,
}

_PLAIN = frozenset(string.ascii_letters + string.digits + "-_")
_MEDIA_TYPES: dict[Container, str] = {"raw": "audio/pcm", "wav": "audio/wav", "mp3": "audio/mpeg"}


class Message(BaseModel):
    """Base of all payloads: immutable, and tolerant of fields that a newer side adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class OutputFormat(Message):
    """How the audio is sent; bit_rate (bit/s) counts for mp3 only, encoding for the others."""

    container: Container
    encoding: Encoding = "pcm_s16le"
    sample_rate: int = Field(ge=8000, le=48000)
    bit_rate: int = 128000

    @property
    def media_type(self) -> str:
        """The HTTP content type of such audio."""
        return _MEDIA_TYPES[self.container]


class SpeechJob(Message):
    """One utterance to speak.

    Speed and volume are factors of the voice's own; language is a BCP 47 tag.
    """

    request_id: str
    operation: Literal["tts"] = "tts"
    model_id: str
    transcript: str
    voice_id: str
    language: str = "en"
    output_format: OutputFormat
    speed: float = 1.0
    volume: float = 1.0
    emotion: str | None = None
    word_timestamps: bool = False
    phoneme_timestamps: bool = False


class TranscriptionJob(Message):
    """One stream of audio to transcribe: mono samples in this encoding and at this rate (Hz)."""

    request_id: str
    operation: Literal["stt"] = "stt"
    model_id: str
    language: str = "en"
    interim: bool = True
    encoding: AudioEncoding
    sample_rate: int = Field(ge=8000, le=48000)


Job = SpeechJob | TranscriptionJob


class Announcement(Message):
    """A worker's state, sent each ANNOUNCE_S, on change, and at a roll call.

    Also the payload of "busy", so that the pod that offered a job has the newest state. ``key`` is
    the worker's public key (sealing.Identity). ``proof`` shows that the worker has its offering's
    key, if the offering has one.
    """

    worker: str
    operation: str
    model: str
    capacity: int
    load: int
    draining: bool = False
    key: str = ""
    proof: str = ""

    @property
    def free(self) -> int:
        """Number of streams that it can still take."""
        return 0 if self.draining else self.capacity - self.load


class Accepted(Message):
    """The first event of a job: which worker took it."""

    worker: str


class Finished(Message):
    """The last event of a job: how many bytes were sent, so that a loss shows."""

    sent: int


class Marks(Message):
    """When words and phonemes sound: text, start and end in seconds of the utterance."""

    words: list[tuple[str, float, float]] = []
    phonemes: list[tuple[str, float, float]] = []


class Transcript(Message):
    """Text of the audio since the last final transcript; words in seconds of the stream."""

    text: str
    is_final: bool
    duration: float
    words: list[tuple[str, float, float]] = []


class Window:
    """Flow control of a job's audio in one direction, for either end of it.

    Both ends count bytes from the job's start. The sender is at most one piece more than
    WINDOW_BYTES ahead of what the receiver has confirmed. The receiver confirms what it has used up
    by sending that number as decimal text.
    """

    def __init__(self) -> None:
        # Bytes that were sent or received, used up by the receiver, and confirmed by it.
        self.total = 0
        self.used = 0
        self.confirmed = 0
        self._changed = asyncio.Event()
        self._released = False

    # The sender's end

    async def send(self, audio: bytes, publish: Callable[[bytes], Awaitable[None]]) -> None:
        """Publish audio in pieces of at most CHUNK_BYTES, each when the window has room for it."""
        for start in range(0, len(audio), CHUNK_BYTES):
            while self.total - self.confirmed > WINDOW_BYTES and not self._released:
                self._changed.clear()
                await self._changed.wait()
            piece = audio[start : start + CHUNK_BYTES]
            await publish(piece)
            self.total += len(piece)

    def confirm(self, content: bytes) -> None:
        """Take in the receiver's confirmation; ignore one that is lower or no number."""
        if content.isdigit():
            self.confirmed = max(self.confirmed, int(content))
            self._changed.set()

    def release(self) -> None:
        """Wait for no more confirmations: the job has ended, so none will come."""
        self._released = True
        self._changed.set()

    # The receiver's end

    @property
    def due(self) -> bool:
        """Whether enough was used up since the last confirmation to send another one."""
        return self.used - self.confirmed > WINDOW_BYTES // 4

    @property
    def overrun(self) -> bool:
        """Whether the sender is ahead by more than OVERRUN_BYTES."""
        return self.total - self.confirmed > OVERRUN_BYTES

    def confirmation(self) -> bytes:
        """Return the confirmation to send now."""
        self.confirmed = self.used
        return str(self.confirmed).encode()


def token(name: str) -> str:
    """Return a name as one token of a subject; other characters than [A-Za-z0-9_-] become =XX."""
    return "".join(
        c if c in _PLAIN else "".join(f"={byte:02X}" for byte in c.encode()) for c in name
    )


def job_subject(operation: str, model: str, worker: str) -> str:
    """Return the subject on which jobs of one offering are offered to one worker."""
    return f"{PREFIX}.jobs.{token(operation)}.{token(model)}.{token(worker)}"


def control_subject(operation: str, worker: str, job: str, verb: str) -> str:
    """Return the subject on which an API pod speaks to the worker of a job.

    A wildcard as worker, job or verb stays one.
    """
    names = [name if name == "*" else token(name) for name in (operation, worker, job, verb)]
    return f"{CONTROL}.{'.'.join(names)}"


def worker_subject(operation: str, worker: str) -> str:
    """Return the subject on which a worker announces itself."""
    return f"{WORKERS}.{token(operation)}.{token(worker)}"
