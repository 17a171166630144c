# SPDX-License-Identifier: Apache-2.0
"""The voices that every site of the reference stack has: eSpeak NG's languages and variants.

Their ids follow from their names, so that they are the same everywhere and for ever. Any other
voice id speaks too, with a variant that follows from the id: a client's own voice ids need no
change for a rehearsal.
"""

from __future__ import annotations

import uuid
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
    """A voice, as the API tells it and as the engine speaks it."""

    id: str
    name: str
    language: str
    locale: str
    gender: Gender
    variant: str


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


def find(voice_id: str) -> Voice | None:
    """Return the voice of that id, None if it is not one of these."""
    return VOICES.get(voice_id)
