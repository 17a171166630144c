# SPDX-License-Identifier: Apache-2.0
"""One speaking process around libespeak-ng; the worker holds one per parallel stream.

The library keeps its state in globals, so parallel streams need processes. Run as a script with the
standard library only, so that it starts fast and stays small.

A voice is a language as a BCP 47 tag in small letters, and after a plus sign the variant. Where
eSpeak NG does not have a language's region, the language without it is spoken.

Standard input: one JSON object a line ``{"text", "voice", "rate", "pitch", "pitch_range",
"marks"}``; an empty line asks for the utterance in progress to end early. Standard output: frames
of a type byte, a 32-bit big-endian length and the content: ``R`` ready (sample rate, 32 bit), ``A``
audio (16-bit little-endian mono), ``M`` marks that begin in audio yet to come (JSON list of ``["w",
character position, ms]`` and ``["p", phoneme, ms]``), ``E`` end of the utterance, ``X`` refused
(why, UTF-8).
The process ends when standard input does.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import struct
import sys

LIBRARY = "libespeak-ng.so.1"
BUFFER_MS = 100
# From espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS_IN_IPA = 0x0003
EVENT_END_OF_LIST = 0
EVENT_WORD = 1
EVENT_PHONEME = 7
CHARS_UTF8 = 1
PARAMETER_RATE = 1
PARAMETER_PITCH = 3
PARAMETER_RANGE = 4
POS_CHARACTER = 1
EE_OK = 0
# Languages that eSpeak NG knows by another name. It has no Tagalog: that is spoken as English is.
NAMES = {
    "zh": "cmn", "zh-hk": "yue", "zh-mo": "yue", "zh-yue": "yue", "no": "nb", "nn": "nb",
    "tl": "en-us", "fil": "en-us", "iw": "he", "in": "id",
}  # fmt: skip


class Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)


class Utterance:
    """The utterance in progress; the library's callback has no place for it."""

    wants_marks = False
    # Samples before the first sound; None after it.
    silence: list[bytes] | None = None


current = Utterance()


def send(kind: bytes, content: bytes = b"") -> None:
    """Write one frame; blocks while the worker does not read, which holds synthesis back."""
    left = memoryview(kind + struct.pack(">I", len(content)) + content)
    while left:
        left = left[os.write(1, left) :]


def asked_to_stop() -> bool:
    """Whether standard input has something: a request to end early, or its end."""
    return bool(select.select([0], [], [], 0)[0])


def marks(events: ctypes._Pointer[Event]) -> list[tuple[str, int | str, int]]:
    """Return the words and phonemes of a list of events."""
    entries: list[tuple[str, int | str, int]] = []
    index = 0
    while events[index].type != EVENT_END_OF_LIST:
        event = events[index]
        if event.type == EVENT_WORD:
            entries.append(("w", event.text_position - 1, event.audio_position))
        elif event.type == EVENT_PHONEME and event.string:
            entries.append(("p", event.string.decode(errors="ignore"), event.audio_position))
        index += 1
    return entries


def says_something(events: ctypes._Pointer[Event]) -> bool:
    """Return whether a list of events has a word or a phoneme."""
    index = 0
    while events[index].type != EVENT_END_OF_LIST:
        event = events[index]
        if event.type == EVENT_WORD or (event.type == EVENT_PHONEME and event.string):
            return True
        index += 1
    return False


def on_audio(
    samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[Event]
) -> int:
    """Take the next samples from the library; returns 1 to end the utterance.

    The library makes a short silence for a text without a sound: nothing is sent then.
    """
    if asked_to_stop():
        return 1
    if current.wants_marks and (entries := marks(events)):
        send(b"M", json.dumps(entries).encode())
    audio = ctypes.string_at(samples, count * 2) if samples and count > 0 else b""
    if current.silence is not None:
        current.silence.append(audio)
        if not says_something(events):
            return 0
        audio, current.silence = b"".join(current.silence), None
    if audio:
        send(b"A", audio)
    return 0


def choose_voice(library: ctypes.CDLL, name: str) -> bool:
    """Choose a voice, or that of the nearest language; returns whether there is one."""
    language, _plus, variant = name.partition("+")
    while language:
        known = NAMES.get(language, language)
        if library.espeak_SetVoiceByName(f"{known}+{variant}".rstrip("+").encode()) == EE_OK:
            return True
        language = language.rpartition("-")[0]
    return False


def main() -> int:
    """Speak what standard input asks for, until it ends."""
    library = ctypes.CDLL(LIBRARY)
    rate = library.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MS, None, PHONEME_EVENTS_IN_IPA
    )
    if rate <= 0:
        send(b"X", b"libespeak-ng did not start: is espeak-ng-data installed?")
        return 1
    callback = SynthCallback(on_audio)
    library.espeak_SetSynthCallback(callback)
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    send(b"R", struct.pack(">I", rate))
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        job = json.loads(line)
        current.wants_marks, current.silence = job["marks"], []
        if not choose_voice(library, job["voice"]):
            send(b"X", f"espeak-ng has no voice {job['voice']}".encode())
            continue
        library.espeak_SetParameter(PARAMETER_RATE, job["rate"], 0)
        library.espeak_SetParameter(PARAMETER_PITCH, job["pitch"], 0)
        library.espeak_SetParameter(PARAMETER_RANGE, job["pitch_range"], 0)
        text = job["text"].encode()
        spoken = library.espeak_Synth(
            text, len(text) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
        )
        if spoken == EE_OK:
            send(b"E")
        else:
            send(b"X", f"espeak-ng failed with status {spoken}".encode())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
