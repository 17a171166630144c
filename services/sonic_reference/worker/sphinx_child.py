# SPDX-License-Identifier: Apache-2.0
"""One listening process around PocketSphinx; the worker holds one per parallel stream.

Standard input and output: frames of a type byte, a 32-bit big-endian length and the content.
In: ``O`` a new stream, ``I`` one with interim transcripts, ``A`` audio (16-bit little-endian mono,
16 kHz), ``F`` transcribe what has come so far, ``Q`` no more of this stream.
Out: ``R`` ready, ``T`` a transcript (JSON ``{"text", "final", "duration", "words": [[word, start,
end], ...]}``), ``C`` an ``A`` worked through, ``D`` after the transcripts of an ``F``, ``E`` after
those of a ``Q``. The process ends when standard input does.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from typing import BinaryIO

from pocketsphinx import Decoder, Endpointer  # type: ignore[import-untyped,unused-ignore]

RATE = 16000
# Seconds of speech between two transcripts that are not final.
PARTIAL_S = 0.5
# Models looked at in a frame: a tenth of the default halves the time it takes.
MAX_MODELS = 3000
# The dictionary's mark of a word's second and later pronunciations.
ALTERNATIVE = re.compile(r"\(\d+\)$")


def send(kind: bytes, content: bytes = b"") -> None:
    """Write one frame."""
    left = memoryview(kind + struct.pack(">I", len(content)) + content)
    while left:
        left = left[os.write(1, left) :]


def receive(source: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next frame, None at the end of standard input."""
    head = source.read(5)
    if len(head) < 5:
        return None
    return head[:1], source.read(struct.unpack(">I", head[1:])[0])


class Listener:
    """One stream: finds speech in the audio, and transcribes it."""

    def __init__(self, decoder: Decoder, interim: bool) -> None:
        self._decoder = decoder
        self._interim = interim
        self._endpointer = Endpointer(sample_rate=RATE)
        self._pending = b""
        self._offset_s = 0.0
        self._speaking = False
        self._start_s = 0.0
        self._speech = bytearray()
        self._reported = 0
        self._heard = 0

    def feed(self, audio: bytes) -> None:
        """Take audio in; transcripts are sent as they come about."""
        self._pending += audio
        size = self._endpointer.frame_bytes
        while len(self._pending) >= size:
            frame, self._pending = self._pending[:size], self._pending[size:]
            self._heard += size
            self._take(self._endpointer.process(frame))
            if self._speaking and not self._endpointer.in_speech:
                self._finish()
        send(b"C")

    def flush(self) -> None:
        """Transcribe everything that has come so far."""
        # The endpointer takes its last frame only once, and less than a whole one.
        if self._endpointer.in_speech or self._pending:
            self._take(self._endpointer.end_stream(self._pending or bytes(2)))
        self._heard += len(self._pending)
        self._pending = b""
        if self._speaking:
            self._finish()
        self._offset_s = self._heard / 2 / RATE
        self._endpointer = Endpointer(sample_rate=RATE)

    def _take(self, speech: bytes | None) -> None:
        if not speech:
            return
        if not self._speaking:
            self._speaking = True
            self._start_s = self._offset_s + self._endpointer.speech_start
            self._speech.clear()
            self._reported = 0
            if self._interim:
                self._decoder.start_utt()
        self._speech += speech
        if not self._interim:
            return
        self._decoder.process_raw(speech)
        if (len(self._speech) - self._reported) / 2 / RATE >= PARTIAL_S:
            self._reported = len(self._speech)
            hypothesis = self._decoder.hyp()
            if hypothesis and hypothesis.hypstr:
                self._tell(hypothesis.hypstr, final=False)

    def _finish(self) -> None:
        self._speaking = False
        if self._interim:
            self._decoder.end_utt()
        # Once more as a whole: means over all of it find far more words than running ones.
        self._decoder.start_utt()
        self._decoder.process_raw(bytes(self._speech), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        if hypothesis and hypothesis.hypstr:
            self._tell(hypothesis.hypstr, final=True)

    def _tell(self, text: str, final: bool) -> None:
        words = []
        for segment in self._decoder.seg() or ():
            word = ALTERNATIVE.sub("", segment.word)
            if final and not word.startswith(("<", "[")):
                start, end = (
                    round(self._start_s + frame / 100, 3)
                    for frame in (segment.start_frame, segment.end_frame + 1)
                )
                words.append((word, start, end))
        fields = {
            "text": text,
            "final": final,
            "duration": round(len(self._speech) / 2 / RATE, 3),
            "words": words,
        }
        send(b"T", json.dumps(fields).encode())


def main() -> int:
    """Transcribe what standard input brings, until it ends."""
    decoder = Decoder(samprate=RATE, maxhmmpf=MAX_MODELS, loglevel="FATAL")
    send(b"R")
    listener = Listener(decoder, interim=False)
    while frame := receive(sys.stdin.buffer):
        match frame:
            case (b"O" | b"I") as kind, _:
                listener = Listener(decoder, interim=kind == b"I")
            case b"A", audio:
                listener.feed(audio)
            case b"F", _:
                listener.flush()
                send(b"D")
            case b"Q", _:
                listener.flush()
                send(b"E")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
