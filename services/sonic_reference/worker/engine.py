# SPDX-License-Identifier: Apache-2.0
"""What a worker asks of a speech engine; a model on a GPU fits in behind the same few calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


class EngineError(Exception):
    """Speech failed; ``bad_request`` says whether what was asked for is to blame."""

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


class Engine(Protocol):
    """A text-to-speech engine that serves several streams at a time."""

    @property
    def sample_rate(self) -> int:
        """Samples a second of what :meth:`synthesize` yields; known once loaded."""

    async def load(self) -> None:
        """Get ready to speak. Raises EngineError when that cannot be."""

    def synthesize(self, utterance: Utterance) -> AsyncGenerator[bytes, None]:
        """Yield 16-bit little-endian mono samples as they come.

        Closing the generator, or cancelling the task that reads it, ends the synthesis and frees
        its stream. Raises EngineError.
        """

    async def close(self) -> None:
        """Give everything back."""
