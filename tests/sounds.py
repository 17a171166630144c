# SPDX-License-Identifier: Apache-2.0
"""Sound files as telephones, browsers and pipes make them, for tests."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

TONE_HZ = 440


class Pipe(io.RawIOBase):
    """Keeps the written bytes, and like a pipe cannot be rewound to fill in a length."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, content: object) -> int:
        """Take the next bytes."""
        part = bytes(content)  # type: ignore[call-overload]
        self.content += part
        return len(part)


def sound(
    container: str,
    codec: str,
    *,
    rate: int = 48000,
    layout: str = "mono",
    seconds: int = 2,
    pipe: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """Return a tone as FFmpeg writes it into a file or a pipe; container is FFmpeg's name."""
    target = Pipe() if pipe else io.BytesIO()
    with av.open(target, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        if not isinstance(stream, av.AudioStream):
            raise TypeError(f"{codec} is no codec for audio")
        kind = stream.codec_context.format.name
        channels = av.AudioLayout(layout).nb_channels
        tone = np.sin(2 * np.pi * TONE_HZ * np.arange(rate) / rate) * 0.3
        resampler = av.AudioResampler(format=kind, layout=layout, rate=rate)
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(
                np.repeat(tone.astype("f4"), channels).reshape(1, -1), format="flt", layout=layout
            )
            frame.sample_rate, frame.pts = rate, second * rate
            frame.time_base = Fraction(1, rate)
            for part in resampler.resample(frame):
                file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return bytes(target.content) if isinstance(target, Pipe) else target.getvalue()
