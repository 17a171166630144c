# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from sonic_reference.worker.batcher import AHEAD, Batcher
from sonic_reference.worker.engine import Block, EngineError, Utterance

# A tenth of a second at this rate.
BLOCK = bytes(1600)


@dataclass(eq=False)
class Line:
    """An utterance of the engine below; its text says for how many blocks it lasts."""

    name: str
    left: int


class CountingEngine:
    """Says what its text asks for, and remembers who was stepped together."""

    sample_rate = 8000

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.abandoned: list[str] = []

    async def stepped(self, times: int) -> None:
        while len(self.steps) < times:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def load(self) -> None:
        pass

    async def begin(self, utterance: Utterance) -> Line:
        name, _unused, blocks = utterance.text.partition(" ")
        return Line(name, int(blocks))

    async def step(self, streams: Sequence[Line]) -> list[Block | EngineError]:
        self.steps.append("".join(sorted(line.name for line in streams)))
        await asyncio.sleep(0)
        return [self._advance(line) for line in streams]

    def _advance(self, line: Line) -> Block | EngineError:
        line.left -= 1
        if line.name == "x" and line.left < 2:
            return EngineError("broken")
        return Block(BLOCK, last=line.left == 0)

    def abandon(self, stream: Line) -> None:
        self.abandoned.append(stream.name)

    async def close(self) -> None:
        pass


def batch(
    body: Callable[[CountingEngine, Batcher[Line]], Awaitable[None]],
    *,
    size: int,
    continuous: bool = True,
    pace: float = 0.0,
) -> CountingEngine:
    engine = CountingEngine()

    async def run() -> None:
        batcher = Batcher(engine, batch_size=size, continuous=continuous, pace=pace)
        batcher.start()
        try:
            async with asyncio.timeout(10):
                await body(engine, batcher)
        finally:
            await batcher.stop()

    asyncio.run(run())
    return engine


async def say(batcher: Batcher[Line], text: str) -> int:
    return len([block async for block in batcher.speak(Utterance(text, "v"))])


def test_streams_are_stepped_together() -> None:
    async def body(_engine: CountingEngine, batcher: Batcher[Line]) -> None:
        assert list(await asyncio.gather(say(batcher, "a 3"), say(batcher, "b 3"))) == [3, 3]

    assert batch(body, size=2).steps == ["ab"] * 3


def late(*, continuous: bool) -> list[str]:
    """Who is stepped with whom when c comes while a long and a short one are spoken."""

    async def body(engine: CountingEngine, batcher: Batcher[Line]) -> None:
        async def later() -> None:
            await engine.stepped(2)
            await say(batcher, "c 2")

        await asyncio.gather(say(batcher, "a 8"), say(batcher, "b 2"), later())

    return batch(body, size=2, continuous=continuous).steps


def test_continuous_batching_fills_a_place_at_once() -> None:
    steps = late(continuous=True)
    first = next(number for number, step in enumerate(steps) if "c" in step)
    assert "a" in "".join(steps[first + 1 :])
    assert any("c" in step and "a" in step for step in steps)


def test_static_batching_lets_no_stream_in_before_all_are_done() -> None:
    assert late(continuous=False) == ["ab"] * 2 + ["a"] * 6 + ["c"] * 2


def test_more_streams_than_places_take_turns_and_a_new_one_comes_first() -> None:
    async def body(engine: CountingEngine, batcher: Batcher[Line]) -> None:
        async def later() -> None:
            await engine.stepped(6)
            await say(batcher, "c 1")

        await asyncio.gather(say(batcher, "a 10"), say(batcher, "b 10"), later())

    steps = batch(body, size=1).steps
    # Neither runs ahead of the other, and who has no audio yet has waited long enough.
    assert set(steps[:2]) == {"a", "b"}
    assert abs(steps[:10].count("a") - steps[:10].count("b")) <= 2
    assert "c" in steps[6:9]


def test_a_stream_that_is_not_read_sits_out_and_delays_no_other() -> None:
    async def body(engine: CountingEngine, batcher: Batcher[Line]) -> None:
        async with aclosing(batcher.speak(Utterance("a 100", "v"))) as slow:
            await anext(slow)
            assert await say(batcher, "b 20") == 20
            assert sum("a" in step for step in engine.steps) <= AHEAD + 1
        # A place that was left is known at the next step.
        await say(batcher, "c 1")
        assert engine.abandoned == ["a"]

    batch(body, size=2)


@pytest.mark.parametrize("continuous", [True, False])
def test_an_error_ends_its_own_stream_only(continuous: bool) -> None:
    async def body(_engine: CountingEngine, batcher: Batcher[Line]) -> None:
        broken, well = await asyncio.gather(
            say(batcher, "x 4"), say(batcher, "a 6"), return_exceptions=True
        )
        assert isinstance(broken, EngineError)
        assert well == 6
        assert await say(batcher, "b 1") == 1

    assert batch(body, size=2, continuous=continuous).abandoned == []


def test_a_slow_engine_takes_its_time_for_a_whole_batch() -> None:
    async def body(_engine: CountingEngine, batcher: Batcher[Line]) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(say(batcher, f"{name} 5") for name in "abcd"))
        # Five blocks of 0.1 s at half real time, however many share the steps.
        assert asyncio.get_running_loop().time() - began >= 0.25

    steps = batch(body, size=4, pace=0.5).steps
    assert len(steps) <= 6
    assert steps.count("abcd") >= 4
