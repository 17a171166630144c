# SPDX-License-Identifier: Apache-2.0
"""The interface of a worker's engines; a model on a GPU can implement the same calls.

A text-to-speech engine is stepped: each step advances a batch of streams by one block of audio, as
a batched model does. The scheduler (batcher.py) chooses the batch. A recognizer is
fed audio and gives text back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar


class EngineError(Exception):
    """Speech failed; ``bad_request`` says whether the request caused it."""

    def __init__(self, message: str, bad_request: bool = False) -> None:
        super().__init__(message)
        self.bad_request = bad_request


@dataclass(frozen=True)
class Utterance:
    """What to say and how: speed is a factor of the voice's own, language a BCP 47 tag."""

    text: str
    voice_id: str
    language: str = "en"
    speed: float = 1.0
    emotion: str | None = None
    marks: bool = False


@dataclass(frozen=True)
class Mark:
    """When a word or a phoneme sounds, in seconds from the utterance's start."""

    kind: Literal["word", "phoneme"]
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Block:
    """What one step gave for one stream: 16-bit little-endian mono samples, and what is in them.

    After the ``last`` block the stream is over and need not be abandoned.
    """

    pcm: bytes = b""
    marks: tuple[Mark, ...] = ()
    last: bool = False


Stream = TypeVar("Stream")


class Engine(Protocol[Stream]):
    """A text-to-speech engine; ``Stream`` is whatever it keeps of an utterance in progress."""

    @property
    def sample_rate(self) -> int:
        """Samples a second of all blocks; known once loaded."""

    async def load(self) -> None:
        """Prepare to speak. Raises EngineError."""

    async def begin(self, utterance: Utterance) -> Stream:
        """Prepare an utterance; may wait for room. Raises EngineError."""

    async def step(self, streams: Sequence[Stream]) -> list[Block | EngineError]:
        """Advance each of these streams by one block; an error ends its own stream only."""

    def abandon(self, stream: Stream) -> None:
        """Forget a stream that is not at its end; never called while a step has it."""

    async def close(self) -> None:
        """Release everything."""


@dataclass(frozen=True)
class Transcript:
    """Text of the audio since the last final transcript; words have seconds from the start."""

    text: str
    final: bool
    duration_s: float
    words: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Taken:
    """The audio of one more call of ``feed`` has been worked through."""


@dataclass(frozen=True)
class Flushed:
    """All audio before a call of ``finalize`` has been transcribed."""


class Recognition(Protocol):
    """One stream of speech to text."""

    async def feed(self, pcm: bytes) -> None:
        """Take 16-bit little-endian mono samples at the recognizer's rate."""

    async def finalize(self) -> None:
        """Transcribe what has come so far."""

    async def finish(self) -> None:
        """Say that no more audio comes."""

    def results(self) -> AsyncGenerator[Transcript | Taken | Flushed, None]:
        """Yield what comes out until the end. Raises EngineError; closing it frees the stream."""


class Recognizer(Protocol):
    """A speech-to-text engine that serves several streams at a time."""

    @property
    def sample_rate(self) -> int:
        """Samples a second that it wants."""

    async def load(self) -> None:
        """Prepare to listen. Raises EngineError."""

    async def open(self, language: str, interim: bool) -> Recognition:
        """Begin a stream, with interim transcripts or without; may wait for room.

        Raises EngineError.
        """

    async def close(self) -> None:
        """Release everything."""
