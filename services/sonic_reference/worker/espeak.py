# SPDX-License-Identifier: Apache-2.0
"""The CPU engine for text to speech: eSpeak NG, one process for each parallel stream."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sonic_reference.voices import VARIANTS, Preset, Voice, Voices
from sonic_reference.worker.child import Child, Pool
from sonic_reference.worker.engine import Block, EngineError, Mark, Utterance

CHILD = Path(__file__).with_name("espeak_child.py")
WORDS_A_MINUTE = 175
# The public API's regions for languages without one. eSpeak NG's own choices differ.
LANGUAGES = {"en": "en-us", "pt": "pt-br"}


def voice_name(utterance: Utterance, voice: Voice | None) -> str:
    """Return the eSpeak NG voice for an utterance: the same voice id, always the same voice.

    The process takes the nearest language that eSpeak NG has: of de-AT that is de.
    """
    language = utterance.language.lower().replace("_", "-")
    if voice:
        variant = voice.variant
    else:
        number = zlib.crc32(utterance.voice_id.encode("utf-8", "surrogatepass"))
        variant = VARIANTS[number % len(VARIANTS)].name
    return f"{LANGUAGES.get(language, language)}+{variant}"


def spoken_text(text: str) -> str:
    """Return text without control characters, lone surrogates and characters for layout only.

    Examples are soft hyphens and direction marks: they do not end a word. The joiners inside words
    of some scripts (and of emoji) stay.
    """
    clean = ""
    for c in text:
        if c.isprintable() or c in "\n\t\u200c\u200d":
            clean += c
        elif c not in "\u00ad\u061c\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff" and not (
            "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"
        ):
            clean += " "
    return clean.encode("utf-8", "ignore").decode()


class EspeakStream:
    """One utterance in progress."""

    def __init__(self, child: Child, text: str, sample_rate: int) -> None:
        self.child = child
        self._sample_rate = sample_rate
        self._words = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
        self._open: dict[str, tuple[str, float]] = {}
        self._word = -1
        self._samples = 0

    def block(self, pcm: bytes) -> Block:
        """Return a block of audio."""
        self._samples += len(pcm) // 2
        return Block(pcm)

    def marks(self, content: bytes) -> list[Mark]:
        """Return the marks that end where those begin that the process found."""
        done: list[Mark] = []
        for kind, what, ms in json.loads(content):
            if kind == "p":
                done += self._next("phoneme", what, ms / 1000)
                continue
            # eSpeak NG reads one word as several where it is a number: they count as one.
            index = sum(start <= what for start, _unused in self._words) - 1
            if index > self._word:
                self._word = index
                done += self._next("word", self._words[index][1], ms / 1000)
        return done

    def rest(self) -> Block:
        """Return what is still open at the end."""
        end_s = self._samples / self._sample_rate
        marks = [*self._next("phoneme", "", end_s), *self._next("word", "", end_s)]
        return Block(marks=tuple(marks), last=True)

    def _next(self, kind: Literal["word", "phoneme"], text: str, start_s: float) -> list[Mark]:
        before, self._open[kind] = self._open.get(kind), (text, start_s)
        return [Mark(kind, *before, start_s)] if before else []


class EspeakEngine:
    """Keeps up to ``streams`` utterances in progress; more wait for their turn.

    ``voices`` may change at any time: an utterance in progress keeps what it began with. With
    ``use_lora`` those that have a LoRA speak with it, which for this engine is a preset of prosody.
    """

    def __init__(self, streams: int, voices: Voices | None = None, use_lora: bool = False) -> None:
        self._voices = voices or Voices()
        self._use_lora = use_lora
        # The process needs nothing but the standard library, and starts fast without the rest.
        self._pool = Pool(CHILD, ("-I", "-S"), streams, stop=b"\n", last=b"EX")
        self._sample_rate = 0

    @property
    def sample_rate(self) -> int:
        """Samples a second; 0 before :meth:`load`."""
        return self._sample_rate

    async def load(self) -> None:
        """Start the processes. Raises EngineError."""
        (self._sample_rate,) = struct.unpack(">I", await self._pool.fill())

    async def begin(self, utterance: Utterance) -> EspeakStream:
        """Give an utterance to an idle process, or to the next that becomes idle."""
        child = await self._pool.take()
        text = spoken_text(utterance.text)
        voice, lora = self._voices.look(utterance.voice_id)
        preset = lora if lora and self._use_lora else Preset()
        job = {
            "text": text,
            "voice": voice_name(utterance, voice),
            "rate": round(WORDS_A_MINUTE * utterance.speed * preset.speed),
            "pitch": preset.pitch,
            "pitch_range": preset.pitch_range,
            "marks": utterance.marks,
        }
        child.write(json.dumps(job).encode() + b"\n")
        return EspeakStream(child, text, self._sample_rate)

    async def step(self, streams: Sequence[EspeakStream]) -> list[Block | EngineError]:
        """Advance each stream by one block, about 0.1 s of audio."""
        return list(await asyncio.gather(*map(self._advance, streams)))

    async def _advance(self, stream: EspeakStream) -> Block | EngineError:
        marks: list[Mark] = []
        try:
            while True:
                kind, content = await stream.child.receive()
                match kind:
                    case b"A":
                        return replace(stream.block(content), marks=tuple(marks))
                    case b"M":
                        marks += stream.marks(content)
                    case b"X":
                        self._pool.give(stream.child)
                        return EngineError(content.decode(errors="replace"), bad_request=True)
                    case _:
                        self._pool.give(stream.child)
                        rest = stream.rest()
                        return replace(rest, marks=(*marks, *rest.marks))
        except EngineError as error:
            self.abandon(stream)
            return error

    def abandon(self, stream: EspeakStream) -> None:
        """End an utterance early."""
        self._pool.recover(stream.child)

    async def close(self) -> None:
        """End all processes."""
        await self._pool.close()
