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
from sonic_reference import voices
from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import EngineError, Mark, Utterance
from sonic_reference.worker.espeak import EspeakEngine, EspeakStream, spoken_text, voice_name
from sonic_reference.worker.gpu import describe

Speaking = Batcher[EspeakStream]
RATE = 22050
TEXT = "The quick brown fox jumps over the lazy dog."


def speak(body: Callable[[Speaking], Awaitable[None]], streams: int = 1) -> None:
    async def run() -> None:
        engine = EspeakEngine(streams)
        await engine.load()
        batcher = Batcher(engine, batch_size=streams)
        batcher.start()
        try:
            async with asyncio.timeout(20):
                await body(batcher)
        finally:
            await batcher.stop()
            await engine.close()

    asyncio.run(run())


async def all_of(batcher: Speaking, utterance: Utterance) -> bytes:
    return b"".join([block.pcm async for block in batcher.speak(utterance)])


def children() -> list[int]:
    """This process' children that speak; others are of tests that share servers."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    pids = [int(pid) for pid in text.split()]
    return [pid for pid in pids if b"espeak" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.usefixtures("espeak")
def test_speed_is_heard() -> None:
    async def body(batcher: Speaking) -> None:
        normal = await all_of(batcher, Utterance(TEXT, "a"))
        assert 2 < len(normal) / 2 / RATE < 4
        fast = await all_of(batcher, Utterance(TEXT, "a", speed=1.5))
        assert len(fast) < len(normal) * 0.8

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_streams_are_parallel_and_wait_when_all_are_taken() -> None:
    async def body(batcher: Speaking) -> None:
        alone = await all_of(batcher, Utterance(TEXT, "a"))
        together = await asyncio.gather(
            *(all_of(batcher, Utterance(TEXT, "a")) for _unused in range(10))
        )
        # The library adds a little noise, so that no two utterances are quite the same.
        assert [len(one) for one in together] == pytest.approx([len(alone)] * 10, rel=0.05)

    speak(body, streams=3)


@pytest.mark.usefixtures("espeak")
def test_an_utterance_that_is_left_frees_its_stream_at_once() -> None:
    async def body(batcher: Speaking) -> None:
        async with aclosing(batcher.speak(Utterance(TEXT * 200, "a"))) as blocks:
            assert await anext(blocks)
        began = time.monotonic()
        whole = await all_of(batcher, Utterance(TEXT, "a"))
        assert time.monotonic() - began < 1
        assert 2 < len(whole) / 2 / RATE < 4

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_a_process_that_dies_fails_its_utterance_and_is_replaced() -> None:
    async def body(batcher: Speaking) -> None:
        (pid,) = children()
        async with aclosing(batcher.speak(Utterance(TEXT * 200, "a"))) as blocks:
            await anext(blocks)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineError, match="ended"):
                async for _unused in blocks:
                    pass
        assert await all_of(batcher, Utterance(TEXT, "a"))
        assert children() != [pid]

    speak(body)


@pytest.mark.usefixtures("espeak")
def test_an_unknown_language_is_the_requests_fault() -> None:
    async def body(batcher: Speaking) -> None:
        with pytest.raises(EngineError, match="no voice xx") as caught:
            await all_of(batcher, Utterance(TEXT, "a", language="xx"))
        assert caught.value.bad_request
        assert await all_of(batcher, Utterance(TEXT, "a"))

    speak(body)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize("text", ["\0\0", "\udcff", "<break/>", "a\nb", "🙂", "-v de --stdin"])
def test_odd_text_does_no_harm(text: str) -> None:
    async def body(batcher: Speaking) -> None:
        await all_of(batcher, Utterance(text, "a"))
        assert await all_of(batcher, Utterance(TEXT, "a"))

    speak(body)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello, world! It costs 42 dollars.", "en"),
        ("Grüße aus Köln, schön, oder?", "de"),
    ],
)
def test_words_and_phonemes_are_timed(text: str, language: str) -> None:
    async def body(batcher: Speaking) -> None:
        marks: list[Mark] = []
        size = 0
        async for block in batcher.speak(Utterance(text, "a", language, marks=True)):
            marks += block.marks
            size += len(block.pcm)
        seconds = size / 2 / RATE
        words = [mark for mark in marks if mark.kind == "word"]
        assert [mark.text for mark in words] == text.split()
        assert [mark.start_s for mark in words] == sorted(mark.start_s for mark in words)
        assert all(mark.start_s < mark.end_s for mark in words)
        assert words[0].start_s == 0
        assert words[-1].end_s == pytest.approx(seconds)
        phonemes = [mark for mark in marks if mark.kind == "phoneme"]
        assert len(phonemes) > len(words) * 2
        assert max(mark.end_s for mark in phonemes) == pytest.approx(seconds)

    speak(body)


def test_voices_and_texts() -> None:
    hazel = next(one for one in voices.VOICES.values() if one.name == "Hazel (de-DE)")
    assert voice_name(Utterance("", hazel.id, "de"), hazel) == "de+f1"
    assert voice_name(Utterance("", hazel.id, "fr"), hazel) == "fr+f1"

    assert voice_name(Utterance("", "x", "EN"), None).startswith("en-us")
    assert voice_name(Utterance("", "x", "pt_BR"), None).startswith("pt-br")
    assert voice_name(Utterance("", "x"), None) == voice_name(Utterance("", "x"), None)
    assert len({voice_name(Utterance("", str(n)), None) for n in range(50)}) > 4
    assert spoken_text("a\0b\x1b[31m\n") == "a b [31m\n"
    # What only typesetters see does not end a word; joiners belong to it.
    assert spoken_text("co\u00ad\u200eop\ufeff") == "coop"
    assert spoken_text("\u200bhello\u200b").split() == ["hello"]
    assert spoken_text("س\u200cس स्\u200dथान") == "س\u200cس स्\u200dथान"


# Tags as clients write them, those of GET /voices among them, and what eSpeak NG has for them.
@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize(
    ("tag", "same"),
    [
        *((locale, language) for language, locale in voices.LOCALES.items()),
        *(("DE_at", "de"), ("fr-CA", "fr"), ("es-MX", "es"), ("en-IN", "en-GB")),
        *(("zh-Hant-TW", "zh"), ("zh-HK", "yue"), ("nn-NO", "no"), ("fil-PH", "tl")),
        *(("sr-Latn-RS", "sr"), ("iw-IL", "he"), ("de-DE-1996-x-ours", "de"), ("th-TH", "th")),
    ],
)
def test_a_language_that_is_not_there_falls_back_to_its_base(tag: str, same: str) -> None:
    async def body(batcher: Speaking) -> None:
        async def phonemes(language: str) -> list[str]:
            utterance = Utterance("Mama 1 2.", "a", language, marks=True)
            return [
                mark.text
                async for block in batcher.speak(utterance)
                for mark in block.marks
                if mark.kind == "phoneme"
            ]

        assert await phonemes(tag) == await phonemes(same) != []

    speak(body)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize("tag", ["es-419", "pt-PT", "fr-BE", "en-GB"])
def test_a_region_that_is_there_is_spoken(tag: str) -> None:
    async def body(batcher: Speaking) -> None:
        actual = [
            [
                mark.text
                async for block in batcher.speak(
                    Utterance("Cinco, seis, neuf, nonante 71 71.", "a", language, marks=True)
                )
                for mark in block.marks
                if mark.kind == "phoneme"
            ]
            for language in (tag, tag.partition("-")[0])
        ]
        assert actual[0] != actual[1]

    speak(body)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize("text", ["...", "…", "\u2060", "\U0001fae5", "", " "])
def test_of_a_text_without_a_sound_there_is_no_audio(text: str) -> None:
    async def body(batcher: Speaking) -> None:
        assert await all_of(batcher, Utterance(text, "a")) == b""
        assert await all_of(batcher, Utterance(TEXT, "a"))

    speak(body)


def test_gpu_devices_are_reported(tmp_path: Path) -> None:
    assert "GPU devices: none; NVIDIA_VISIBLE_DEVICES: not set" in describe({}, tmp_path)
    for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    lines = describe({"NVIDIA_VISIBLE_DEVICES": "void"}, tmp_path)
    assert f"{tmp_path}/nvidia0, {tmp_path}/nvidia11;" in lines
    assert "nvidiactl" not in lines
    assert "NVIDIA_VISIBLE_DEVICES: void" in lines
