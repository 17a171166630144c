# SPDX-License-Identifier: Apache-2.0
"""Measures how many words come back: spoken by the TTS worker, heard by the STT worker.

Both go through the API, by the vendor's own client. The figure is that of the reference engines
(eSpeak NG, PocketSphinx), and shows that words survive the way; it says nothing of the vendor's
models.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import cartesia
from cartesia.types import RawOutputFormatParam

from lab.processes import KEY, Stack

SOUND: RawOutputFormatParam = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
# Iris (en-US), of the voices the one that is understood best.
VOICE = "2302ccaa-c0de-59e4-bff1-756f9fe1f152"
# PocketSphinx makes out few words of a synthetic voice; digits are what it knows best.
TEXTS = {
    "digits": (
        "one two three four five",
        "six seven eight nine zero",
        "four one nine two seven",
        "three eight five six zero",
    ),
    "sentences": (
        "the birch canoe slid on the smooth planks",
        "glue the sheet to the dark blue background",
        "these days a chicken leg is a rare dish",
        "the box was thrown beside the parked truck",
    ),
}


def changes(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many words must be put in, taken out or changed to make one text the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(spoken, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def error_rate(reference: str, heard: str) -> float:
    """Return the word error rate: changes for each spoken word."""
    return changes(reference.split(), heard.split()) / len(reference.split())


def measure(stack: Stack) -> None:
    """Print the word error rate of each kind of text.

    Raises:
        cartesia.APIError: the API does not speak, or does not hear.
    """
    print(f"\n{'word error rate':<22}{'words':>8}{'rate':>8}")
    with cartesia.Cartesia(api_key=KEY, base_url=stack.url) as client:
        for kind, texts in TEXTS.items():
            wrong = sum(changes(text.split(), again(client, text).split()) for text in texts)
            words = sum(len(text.split()) for text in texts)
            print(f"{kind:<22}{words:>8}{wrong / words:>8.2f}")


def again(client: cartesia.Cartesia, text: str) -> str:
    """Return what is heard of a text that is spoken."""
    recording = ("said.wav", spoken(client, text))
    return client.stt.transcribe(file=recording, model="ink-2").text.lower()


def spoken(client: cartesia.Cartesia, text: str) -> bytes:
    """Return a text as a WAV file, spoken so that it is understood as well as may be."""
    pcm = client.tts.generate(
        model_id="sonic-latest",
        transcript=text,
        voice={"id": VOICE},
        output_format=SOUND,
        generation_config={"speed": 0.8},
    ).read()
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setparams((1, 2, SOUND["sample_rate"], 0, "NONE", ""))
        made.writeframes(pcm)
    return file.getvalue()
