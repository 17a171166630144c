# SPDX-License-Identifier: Apache-2.0
"""Requests as the public Cartesia API defines them, and what its versions change.

Field names, ranges and defaults come from the public API reference and the official Python SDK
(4.x). Fields that this reference does not act on are accepted; unknown ones are ignored.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sonic_reference.errors import ApiError
from sonic_reference.protocol import Container, Encoding, OutputFormat, SpeechJob

# What a request without a Cartesia-Version header gets.
DEFAULT_VERSION = "2026-03-01"
OLDEST_VERSION = "2024-06-10"
# From this version on errors are JSON objects; before it they are lines of text.
STRUCTURED_ERRORS = "2026-03-01"
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


class GenerationConfig(Fields):
    """How the voice speaks."""

    volume: float = Field(default=1.0, ge=0.5, le=2.0)
    speed: float = Field(default=1.0, ge=0.6, le=1.5)
    emotion: str | list[str] | None = None


class SpeechRequest(Fields):
    """The body of POST /tts/bytes."""

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

    @model_validator(mode="after")
    def _makes_sense(self) -> SpeechRequest:
        if not self.transcript.strip():
            raise ValueError("transcript is empty")
        if self.language and self.locale:
            raise ValueError("language and locale cannot both be set")
        return self

    def job(self, request_id: str) -> SpeechJob:
        """Return what a worker is asked to do."""
        config = self.generation_config or GenerationConfig()
        wanted = self.output_format
        emotion = config.emotion
        return SpeechJob(
            request_id=request_id,
            model_id=self.model_id,
            transcript=self.transcript,
            voice_id=self.voice.id,
            language=self.language or self.locale or "en",
            output_format=OutputFormat(
                container=wanted.container,
                encoding=wanted.encoding or "pcm_s16le",
                sample_rate=wanted.sample_rate,
                bit_rate=wanted.bit_rate or 128000,
            ),
            speed=config.speed * SPEED_WORDS[self.speed or "normal"],
            volume=config.volume,
            emotion=", ".join(emotion) if isinstance(emotion, list) else emotion,
            pronunciation_dict_id=self.pronunciation_dict_id,
        )


def parse_speech_request(body: bytes) -> SpeechRequest:
    """Read and check a body. Raises ApiError 400 that names every field at fault."""
    try:
        return SpeechRequest.model_validate(json.loads(body))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ApiError(400, "invalid_request", "Invalid request", problems) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "Invalid JSON", "The body is not valid JSON") from None


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
