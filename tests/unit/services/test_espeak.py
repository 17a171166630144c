# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from sonic_reference.worker.engine import EngineError, Utterance
from sonic_reference.worker.espeak import EspeakEngine, spoken_text, voice_name
from sonic_reference.worker.gpu import describe

TEXT = "The quick brown fox jumps over the lazy dog."


def speak(body: Callable[[EspeakEngine], Awaitable[None]], streams: int = 1) -> None:
    async def run() -> None:
        engine = EspeakEngine(streams)
        await engine.load()
        try:
            async with asyncio.timeout(20):
                await body(engine)
        finally:
            await engine.close()

    asyncio.run(run())


async def all_of(engine: EspeakEngine, utterance: Utterance) -> bytes:
    return b"".join([block async for block in engine.synthesize(utterance)])


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in text.split()]


@pytest.mark.usefixtures("espeak")
def test_speed_is_heard() -> None:
    async def body(engine: EspeakEngine) -> None:
        assert engine.sample_rate == 22050
        normal = await all_of(engine, Utterance(TEXT, "a"))
        assert 2 < len(normal) / 2 / engine.sample_rate < 4
        fast = await all_of(engine, Utterance(TEXT, "a", speed=1.5))
        assert len(fast) < len(normal) * 0.8

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_streams_are_parallel_and_wait_when_all_are_taken() -> None:
    async def body(engine: EspeakEngine) -> None:
        alone = await all_of(engine, Utterance(TEXT, "a"))
        together = await asyncio.gather(
            *(all_of(engine, Utterance(TEXT, "a")) for _unused in range(10))
        )
        # The library adds a little noise, so that no two utterances are quite the same.
        assert [len(one) for one in together] == pytest.approx([len(alone)] * 10, rel=0.05)

    speak(body, streams=3)


@pytest.mark.usefixtures("espeak")
def test_an_utterance_that_is_left_frees_its_stream_at_once() -> None:
    async def body(engine: EspeakEngine) -> None:
        async with aclosing(engine.synthesize(Utterance(TEXT * 200, "a"))) as blocks:
            assert await anext(blocks)
        began = time.monotonic()
        whole = await all_of(engine, Utterance(TEXT, "a"))
        assert time.monotonic() - began < 1
        assert 2 < len(whole) / 2 / engine.sample_rate < 4

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_a_process_that_dies_fails_its_utterance_and_is_replaced() -> None:
    async def body(engine: EspeakEngine) -> None:
        (pid,) = children()
        async with aclosing(engine.synthesize(Utterance(TEXT * 200, "a"))) as blocks:
            await anext(blocks)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineError, match="ended"):
                async for _unused in blocks:
                    pass
        assert await all_of(engine, Utterance(TEXT, "a"))
        assert children() != [pid]

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_an_unknown_language_is_the_requests_fault() -> None:
    async def body(engine: EspeakEngine) -> None:
        with pytest.raises(EngineError, match="no voice xx") as caught:
            await all_of(engine, Utterance(TEXT, "a", language="xx"))
        assert caught.value.bad_request
        assert await all_of(engine, Utterance(TEXT, "a"))

    speak(body)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize("text", ["\0\0", "\udcff", "<break/>", "a\nb", "🙂", "-v de --stdin"])
def test_odd_text_does_no_harm(text: str) -> None:
    async def body(engine: EspeakEngine) -> None:
        await all_of(engine, Utterance(text, "a"))
        assert await all_of(engine, Utterance(TEXT, "a"))

    speak(body)


def test_voices_and_texts() -> None:
    assert voice_name(Utterance("", "x", "EN")).startswith("en-us")
    assert voice_name(Utterance("", "x", "pt_BR")).startswith("pt-br")
    assert voice_name(Utterance("", "x")) == voice_name(Utterance("", "x"))
    assert len({voice_name(Utterance("", str(n))) for n in range(50)}) > 4
    assert spoken_text("a\0b\x1b[31m\n") == "a b [31m\n"


def test_gpu_devices_are_reported(tmp_path: Path) -> None:
    assert "GPU devices: none; NVIDIA_VISIBLE_DEVICES: not set" in describe({}, tmp_path)
    for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    said = describe({"NVIDIA_VISIBLE_DEVICES": "void"}, tmp_path)
    assert f"{tmp_path}/nvidia0, {tmp_path}/nvidia11;" in said
    assert "nvidiactl" not in said
    assert "NVIDIA_VISIBLE_DEVICES: void" in said
