# SPDX-License-Identifier: Apache-2.0
"""The engine by itself: what bench_speech compares the whole path with, in a process of its own.

Reads one JSON object (`listeners`, `turns`, `text`, `period_s`) and prints, as JSON, the seconds to
the first audio of each utterance.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import Utterance
from sonic_reference.worker.espeak import EspeakEngine


async def run(listeners: int, turns: int, text: str, period_s: float) -> list[float]:
    """Speak to so many listeners, each of whom begins a turn every period_s seconds."""
    engine = EspeakEngine(listeners)
    await engine.load()
    batcher = Batcher(engine, batch_size=listeners)
    batcher.start()
    took: list[float] = []

    async def listen(number: int) -> None:
        await asyncio.sleep(period_s * number / listeners)
        for _turn in range(turns):
            began = time.perf_counter()
            first = 0.0
            async for block in batcher.speak(Utterance(text, voice_id="")):
                if block.pcm and not first:
                    first = time.perf_counter() - began
            took.append(first)
            await asyncio.sleep(max(0.0, began + period_s - time.perf_counter()))

    try:
        await asyncio.gather(*(listen(number) for number in range(listeners)))
    finally:
        await batcher.stop()
        await engine.close()
    return took


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(**json.load(sys.stdin)))))
