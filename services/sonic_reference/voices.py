# SPDX-License-Identifier: Apache-2.0
"""Voices: those that every site of the reference stack has, and those that come as artifacts.

The former are eSpeak NG's languages and variants. Their ids are derived from their names, so that
all sites have the same ones. An unknown id also speaks, with a variant that is derived from the id:
a client's own voice ids need no change for a rehearsal.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Gender = Literal["masculine", "feminine"]
_NAMESPACE = uuid.UUID("5c2a7f0e-2f0b-5d0c-9a53-5f5a52a1c0de")


@dataclass(frozen=True)
class Variant:
    """A way of speaking that eSpeak NG has for all languages."""

    name: str
    called: str
    gender: Gender


@dataclass(frozen=True)
class Voice:
    """A voice, as the API lists it and as the engine speaks it."""

    id: str
    name: str
    language: str
    locale: str
    gender: Gender
    variant: str
    description: str = ""
    lora: str | None = None


@dataclass(frozen=True)
class Preset:
    """Numbers for eSpeak NG's prosody, in place of a LoRA.

    Pitch and its range from 0 to 99, 50 as the voice has them; speed is a factor.
    """

    pitch: int = 50
    pitch_range: int = 50
    speed: float = 1.0


VARIANTS = (
    Variant("m1", "Alder", "masculine"),
    Variant("m3", "Birch", "masculine"),
    Variant("m7", "Cedar", "masculine"),
    Variant("m4", "Elm", "masculine"),
    Variant("f1", "Hazel", "feminine"),
    Variant("f2", "Iris", "feminine"),
    Variant("f3", "Juniper", "feminine"),
    Variant("f4", "Laurel", "feminine"),
)
# Public language codes with their usual locale; eSpeak NG speaks all of them.
LOCALES = {
    "en": "en-US", "de": "de-DE", "es": "es-ES", "fr": "fr-FR", "hi": "hi-IN", "it": "it-IT",
    "ja": "ja-JP", "ko": "ko-KR", "nl": "nl-NL", "pl": "pl-PL", "pt": "pt-BR", "ru": "ru-RU",
    "sv": "sv-SE", "tr": "tr-TR", "zh": "zh-CN",
}  # fmt: skip


def _voices() -> dict[str, Voice]:
    made = [
        Voice(
            str(uuid.uuid5(_NAMESPACE, f"{language}/{variant.name}")),
            f"{variant.called} ({locale})",
            language,
            locale,
            variant.gender,
            variant.name,
        )
        for language, locale in LOCALES.items()
        for variant in VARIANTS
    ]
    return {voice.id: voice for voice in made}


VOICES = _voices()


class Voices:
    """The current voices of this process's site."""

    def __init__(self) -> None:
        self._shelf: tuple[Mapping[str, Voice], Mapping[str, Preset]] = (VOICES, {})

    def deliver(self, voices: Mapping[str, Voice], presets: Mapping[str, Preset]) -> None:
        """Replace the voices that came as artifacts; the stack's own stay."""
        # One assignment, so that no reader sees a voice of one delivery with a preset of another.
        self._shelf = ({**voices, **VOICES}, presets)

    def all(self) -> list[Voice]:
        """Return all voices, those of artifacts first."""
        return list(self._shelf[0].values())

    def find(self, voice_id: str) -> Voice | None:
        """Return the voice with this id, None if there is none."""
        return self._shelf[0].get(voice_id)

    def look(self, voice_id: str) -> tuple[Voice | None, Preset | None]:
        """Return the voice with this id and its preset."""
        voices, presets = self._shelf
        voice = voices.get(voice_id)
        return voice, presets.get(voice.lora) if voice and voice.lora else None
