# SPDX-License-Identifier: Apache-2.0
"""Requests as the public Cartesia API defines them, and what its versions change.

Field names, ranges and defaults come from the public API reference and the official Python SDK
(4.x). Fields that this reference does not act on are accepted; unknown ones are ignored.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sonic_reference import tags
from sonic_reference.api.credentials import LONGEST_S
from sonic_reference.artifacts.catalogue import MAX_ITEMS
from sonic_reference.dictionary import Item
from sonic_reference.errors import ApiError
from sonic_reference.protocol import (
    AudioEncoding,
    Container,
    Encoding,
    OutputFormat,
    SpeechJob,
    TranscriptionJob,
)
from sonic_reference.voices import Voices

# The version of requests without a Cartesia-Version header.
DEFAULT_VERSION = "2026-03-01"
OLDEST_VERSION = "2024-06-10"
# From this version on errors are JSON objects; before it they are lines of text.
STRUCTURED_ERRORS = "2026-03-01"
# From this version on voices come in pages; before it all at once.
PAGED_VOICES = "2024-11-13"
MAX_TRANSCRIPT = 20_000
MP3_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_BIT_RATES = (32000, 64000, 96000, 128000, 192000)

# The older "speed" field's words, as factors.
SPEED_WORDS = {"slow": 0.8, "normal": 1.0, "fast": 1.2}


def _voice_from_text(value: object) -> object:
    return {"mode": "id", "id": value} if isinstance(value, str) else value


class Fields(BaseModel):
    """Base of all request parts."""

    model_config = ConfigDict(extra="ignore")


class Voice(Fields):
    """Which voice speaks; newer versions of the API also take the bare id."""

    mode: Literal["id"] = "id"
    id: str = Field(min_length=1, max_length=128)


class RequestedFormat(Fields):
    """The audio's container, encoding and rates."""

    container: Container
    encoding: Encoding | None = None
    sample_rate: int = Field(ge=8000, le=48000)
    bit_rate: int | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> RequestedFormat:
        if self.container != "mp3":
            if self.encoding is None:
                raise ValueError(f"encoding is required for container {self.container}")
            return self
        if self.sample_rate not in MP3_SAMPLE_RATES:
            raise ValueError(f"sample_rate for mp3 must be one of {MP3_SAMPLE_RATES}")
        if self.bit_rate is not None and self.bit_rate not in MP3_BIT_RATES:
            raise ValueError(f"bit_rate must be one of {MP3_BIT_RATES}")
        return self


Emotion = Annotated[str, Field(max_length=64)]


class GenerationConfig(Fields):
    """How the voice speaks."""

    volume: float = Field(default=1.0, ge=0.5, le=2.0)
    speed: float = Field(default=1.0, ge=0.6, le=1.5)
    emotion: Emotion | Annotated[list[Emotion], Field(max_length=16)] | None = None


class SpeechFields(Fields):
    """What all requests for speech have."""

    model_id: str = Field(min_length=1, max_length=128)
    transcript: str = Field(max_length=MAX_TRANSCRIPT)
    voice: Annotated[Voice, BeforeValidator(_voice_from_text)]
    output_format: RequestedFormat
    language: str | None = Field(
        default=None, max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$"
    )
    locale: str | None = Field(
        default=None, max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$"
    )
    generation_config: GenerationConfig | None = None
    speed: Literal["slow", "normal", "fast"] | None = None
    pronunciation_dict_id: str | None = Field(default=None, max_length=128)

    add_timestamps: bool | None = None
    add_phoneme_timestamps: bool | None = None

    @model_validator(mode="after")
    def _one_language(self) -> Self:
        if self.language and self.locale:
            raise ValueError("language and locale cannot both be set")
        return self

    def spoken_language(self, voices: Voices) -> str:
        """Return the BCP 47 tag of the speech: the requested one, or the voice's own."""
        voice = voices.find(self.voice.id)
        return self.language or self.locale or (voice.language if voice else "en")

    def job(self, request_id: str, voices: Voices, transcript: str | None = None) -> SpeechJob:
        """Return the job for a worker: to speak this text, or the request's own."""
        config = self.generation_config or GenerationConfig()
        output = self.output_format
        emotion = config.emotion
        return SpeechJob(
            request_id=request_id,
            model_id=self.model_id,
            transcript=self.transcript if transcript is None else transcript,
            voice_id=self.voice.id,
            language=self.spoken_language(voices),
            output_format=OutputFormat(
                container=output.container,
                encoding=output.encoding or "pcm_s16le",
                sample_rate=output.sample_rate,
                bit_rate=output.bit_rate or 128000,
            ),
            speed=config.speed * SPEED_WORDS[self.speed or "normal"],
            volume=config.volume,
            emotion=", ".join(emotion) if isinstance(emotion, list) else emotion,
            word_timestamps=bool(self.add_timestamps),
            phoneme_timestamps=bool(self.add_phoneme_timestamps),
        )


class SpeechRequest(SpeechFields):
    """The body of POST /tts/bytes."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not tags.says_something(self.transcript):
            raise ValueError("transcript is empty or contains only punctuation")
        return self


class EventsRequest(SpeechRequest):
    """The body of POST /tts/sse: its audio has no header, since it comes in pieces."""

    context_id: str | None = Field(default=None, max_length=256)

    @model_validator(mode="after")
    def _is_raw(self) -> Self:
        if self.output_format.container != "raw":
            raise ValueError("output_format.container must be raw")
        return self


class ContextRequest(SpeechFields):
    """A message on WS /tts/websocket that adds text to a context."""

    context_id: str = Field(default_factory=lambda: str(uuid.uuid4()), min_length=1, max_length=256)
    more: bool | None = Field(default=None, alias="continue")
    flush: bool | None = None
    max_buffer_delay_ms: int | None = Field(default=None, ge=0, le=5000)

    @property
    def closes(self) -> bool:
        """Whether it only says that the context gets no more text."""
        return not self.more and not self.transcript.strip()

    @model_validator(mode="after")
    def _is_raw(self) -> Self:
        if self.output_format.container != "raw":
            raise ValueError("output_format.container must be raw")
        return self


class CancelRequest(Fields):
    """A message on WS /tts/websocket that ends a context."""

    context_id: str = Field(min_length=1, max_length=256)
    cancel: Literal[True]


class ListenRequest(Fields):
    """The query of WS /stt/websocket; of POST /stt the fields and the query together."""

    model: str = Field(min_length=1, max_length=128)
    language: str = Field(
        default="en", max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$"
    )
    encoding: AudioEncoding = "pcm_s16le"
    sample_rate: int = Field(default=16000, ge=8000, le=48000)

    def job(self, request_id: str, interim: bool) -> TranscriptionJob:
        """Return the job for a worker, with interim transcripts or without."""
        return TranscriptionJob(
            request_id=request_id,
            model_id=self.model,
            language=self.language,
            interim=interim,
            encoding=self.encoding,
            sample_rate=self.sample_rate,
        )


class LiveListenRequest(ListenRequest):
    """The query of WS /stt/websocket, where the audio does not tell its own format."""

    encoding: AudioEncoding
    sample_rate: int = Field(ge=8000, le=48000)


class PageRequest(Fields):
    """The query of lists."""

    limit: int = Field(default=10, ge=1, le=100)
    starting_after: str | None = Field(default=None, max_length=128)
    ending_before: str | None = Field(default=None, max_length=128)

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.starting_after and self.ending_before:
            raise ValueError("starting_after and ending_before cannot both be set")
        return self


class VoicesRequest(PageRequest):
    """The query of GET /voices."""

    q: str | None = Field(default=None, max_length=200)
    gender: Literal["masculine", "feminine", "gender_neutral"] | None = None
    is_owner: bool | None = None


class DictionaryRequest(Fields):
    """The body of POST /pronunciation-dicts."""

    name: str = Field(min_length=1, max_length=200)
    items: list[Item] | None = Field(default=None, max_length=MAX_ITEMS)


class DictionaryChange(Fields):
    """The body of PATCH /pronunciation-dicts/ID."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    items: list[Item] | None = Field(default=None, max_length=MAX_ITEMS)


class Grants(Fields):
    """What an access token allows."""

    tts: bool | None = None
    stt: bool | None = None
    agent: bool | None = None


class TokenRequest(Fields):
    """The body of POST /access-token."""

    grants: Grants | None = None
    expires_in: int | None = Field(default=None, ge=1, le=LONGEST_S)


Request = TypeVar("Request", bound=Fields)


def parse_json(model: type[Request], body: str | bytes) -> Request:
    """Read and check JSON. Raises ApiError 400 that names every field at fault."""
    try:
        return parse(model, json.loads(body))
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "Invalid JSON", "This is not valid JSON") from None


def parse(model: type[Request], fields: object) -> Request:
    """Check fields. Raises ApiError 400 that names every one at fault."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ApiError(400, "invalid_request", "Invalid request", problems) from None


def parse_version(value: str | None) -> str:
    """Return the API version that a Cartesia-Version header means.

    A version newer than the newest known one behaves as that one. Raises ApiError 400 for what is
    no date, or older than the oldest version.
    """
    if not value:
        return DEFAULT_VERSION
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) or value < OLDEST_VERSION:
        raise ApiError(
            400,
            "invalid_version",
            "Invalid version",
            f"Cartesia-Version must be a date (YYYY-MM-DD), {OLDEST_VERSION} or later",
        )
    return value
