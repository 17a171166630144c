# SPDX-License-Identifier: Apache-2.0
"""The vendor's own Python client, unchanged, against a site: what it can call.

The site is the reference services as processes (tests/unit/services) or the lab behind its ingress
(tests/testinfra): the fixture ``site``.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import cartesia
import numpy as np
import pytest
import soxr  # type: ignore[import-untyped,unused-ignore]
from sonic_reference import voices

from lab.bench_words import error_rate, spoken
from tests.sites import Site

TEXT = "The quick brown fox jumps over the lazy dog."
IRIS = next(voice.id for voice in voices.VOICES.values() if voice.name == "Iris (en-US)")
RAW: Any = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
# PocketSphinx makes out few words of eSpeak NG's voices; these it knows.
DIGITS = "one two three four five"


def run_async(site: Site, body: Any) -> None:
    async def run() -> None:
        async with cartesia.AsyncCartesia(**site.options) as client:
            async with asyncio.timeout(30):
                await body(client)

    asyncio.run(run())


def seconds(pcm: bytes, rate: int = 24000) -> float:
    return len(pcm) / 2 / rate


def listen(connection: Any, pcm: bytes) -> tuple[str, list[str]]:
    for start in range(0, len(pcm), 3200):
        connection.send_raw(pcm[start : start + 3200])
    connection.send("finalize")
    text = ""
    kinds: list[str] = []
    for event in connection:
        kinds.append(event.type)
        if event.type == "transcript" and event.is_final:
            text += event.text
        if event.type == "flush_done":
            connection.send("close")
    return text, kinds


class SdkTests:
    """Every call that the client has."""

    @pytest.fixture
    def client(self, site: Site) -> Iterator[cartesia.Cartesia]:
        with cartesia.Cartesia(**site.options) as made:
            yield made

    @pytest.fixture
    def recording(self, site: Site) -> bytes:
        """A WAV file of counting, spoken by the site itself."""
        with cartesia.Cartesia(**site.options) as client:
            return spoken(client, DIGITS)

    def test_status(self, client: cartesia.Cartesia) -> None:
        assert client.get_status().ok

    @pytest.mark.parametrize("voice", [IRIS, {"id": IRIS}, {"mode": "id", "id": IRIS}])
    def test_generate(self, client: cartesia.Cartesia, voice: Any) -> None:
        wanted: Any = {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 24000}
        output = client.tts.generate(
            model_id="sonic-latest",
            transcript=TEXT,
            voice=voice,
            output_format=wanted,
            language="en",
        ).read()
        assert output[:4] == b"RIFF"
        assert 2 < seconds(output) < 5

    def test_generate_streams(self, client: cartesia.Cartesia) -> None:
        with client.tts.with_streaming_response.generate(
            model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW
        ) as response:
            parts = list(response.iter_bytes())
        assert len(parts) > 5
        assert 2 < seconds(b"".join(parts)) < 5

    def test_sse(self, client: cartesia.Cartesia) -> None:
        events = list(
            client.tts.generate_sse(
                model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW,
                add_timestamps=True, add_phoneme_timestamps=True, context_id="mine",
            )
        )  # fmt: skip
        assert {event.type for event in events} == {
            "chunk", "timestamps", "phoneme_timestamps", "done"
        }  # fmt: skip
        assert events[-1].type == "done"
        assert all(getattr(event, "context_id", None) == "mine" for event in events)
        audio = b"".join(base64.b64decode(event.data) for event in events if event.type == "chunk")
        assert 2 < seconds(audio) < 5
        words = [
            w for event in events if event.type == "timestamps" for w in event.word_timestamps.words
        ]
        assert words == TEXT.split()

    def test_errors_are_the_sdks_own(self, client: cartesia.Cartesia, site: Site) -> None:
        with pytest.raises(cartesia.BadRequestError, match="nothing"):
            client.tts.generate(
                model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW,
                pronunciation_dict_id="nothing",
            )  # fmt: skip
        with pytest.raises(cartesia.NotFoundError):
            client.tts.generate(model_id="whisper", transcript=TEXT, voice=IRIS, output_format=RAW)
        stranger = cartesia.Cartesia(api_key="sk_wrong", base_url=site.url, max_retries=0)
        with stranger, pytest.raises(cartesia.AuthenticationError):
            stranger.tts.generate(model_id="sonic", transcript=TEXT, voice=IRIS, output_format=RAW)

    def test_websocket_context_with_continuations(self, client: cartesia.Cartesia) -> None:
        with client.tts.websocket_connect() as connection:
            context = connection.context(
                model_id="sonic-latest",
                voice=IRIS,
                output_format=RAW,
                add_timestamps=True,
                timeout=10,
            )
            for text in ("The quick brown ", "fox jumps. ", "Over the lazy ", "dog it goes."):
                context.push(text)
            context.no_more_inputs()
            audio = b""
            words: list[str] = []
            ends: list[float] = []
            for event in context.receive():
                if event.type == "chunk":
                    audio += event.audio or b""
                elif event.type == "timestamps" and event.word_timestamps:
                    words += event.word_timestamps.words
                    ends += event.word_timestamps.end
            assert event.type == "done"
        assert words == "The quick brown fox jumps. Over the lazy dog it goes.".split()
        assert ends == sorted(ends)
        assert ends[-1] == pytest.approx(seconds(audio), abs=0.1)

    def test_websocket_contexts_side_by_side(self, client: cartesia.Cartesia) -> None:
        with client.tts.websocket_connect() as connection:
            contexts = [
                connection.context(
                    model_id="sonic-latest", voice=IRIS, output_format=RAW, timeout=10
                )
                for _unused in range(6)
            ]
            for context in contexts:
                context.push(TEXT)
                context.no_more_inputs()
            for context in contexts:
                events = list(context.receive())
                assert events[-1].type == "done"
                audio = b"".join(event.audio or b"" for event in events if event.type == "chunk")
                assert 2 < seconds(audio) < 5

    def test_websocket_flush_and_cancel(self, client: cartesia.Cartesia) -> None:
        with client.tts.websocket_connect() as connection:
            context = connection.context(
                model_id="sonic-latest", voice=IRIS, output_format=RAW, timeout=10
            )
            context.push("No sentence yet", flush=True)
            context.push("nor now", flush=True)
            flushes = []
            chunks: list[int | None] = []
            for event in context.receive():
                if event.type == "chunk":
                    chunks.append(event.flush_id)
                elif event.type == "flush_done":
                    flushes.append(event.flush_id)
                    if len(flushes) == 2:
                        break
            assert flushes == [1, 2]
            assert set(chunks) == {1, 2}
            context.push(TEXT * 20)
            context.cancel()
            # The socket lives on.
            other = connection.context(
                model_id="sonic-latest", voice=IRIS, output_format=RAW, timeout=10
            )
            other.push("Yes.")
            other.no_more_inputs()
            assert list(other.receive())[-1].type == "done"

    def test_websocket_of_version_2(self, client: cartesia.Cartesia) -> None:
        socket = client.tts.websocket()
        events: Any = socket.send(
            model_id="sonic-latest", transcript=TEXT, voice={"id": IRIS, "mode": "id"},
            output_format=RAW, stream=False, add_timestamps=True,
        )  # fmt: skip
        socket.close()
        assert 2 < seconds(events.audio) < 5
        assert events.word_timestamps["words"] == TEXT.split()

    def test_websocket_errors(self, client: cartesia.Cartesia) -> None:
        with client.tts.websocket_connect() as connection:
            context = connection.context(
                model_id="whisper", voice=IRIS, output_format=RAW, timeout=10
            )
            context.push(TEXT)
            (event,) = context.receive()
            assert event.type == "error"
            assert event.status_code == 404
            assert event.error_code == "model_not_found"
            assert event.request_id

    def test_voices(self, client: cartesia.Cartesia) -> None:
        first = client.voices.list(limit=100)
        assert len(first.data) == 100
        everything = list(client.voices.list(limit=50))
        assert [voice.id for voice in everything] == list(voices.VOICES)
        before = client.voices.list(limit=5, ending_before=everything[10].id)
        assert [voice.id for voice in before.data] == [voice.id for voice in everything[5:10]]
        women = list(client.voices.list(gender="feminine", q="iris"))
        assert {voice.gender for voice in women} == {"feminine"}
        assert len(women) == len(voices.LOCALES)
        iris = client.voices.get(IRIS)
        assert (iris.name, iris.language, iris.locales[0].locale) == ("Iris (en-US)", "en", "en-US")
        with pytest.raises(cartesia.NotFoundError):
            client.voices.get("no-such-voice")
        with pytest.raises(cartesia.PermissionDeniedError, match="artifacts"):
            client.voices.update(IRIS, name="Mine")
        with pytest.raises(cartesia.PermissionDeniedError):
            client.voices.delete(IRIS)

    def test_pronunciation_dicts(self, client: cartesia.Cartesia) -> None:
        made = client.pronunciation_dicts.create(
            name="Ours", items=[{"text": "dog", "alias": "crocodile and hippopotamus"}]
        )
        assert client.pronunciation_dicts.retrieve(made.id).items[0].text == "dog"

        def spoken_s() -> float:
            return seconds(
                client.tts.generate(
                    model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW,
                    pronunciation_dict_id=made.id,
                ).read()
            )  # fmt: skip

        longer = spoken_s()
        changed = client.pronunciation_dicts.update(made.id, name="Theirs", items=[])
        assert (changed.name, changed.items) == ("Theirs", [])
        assert spoken_s() < longer - 0.5
        assert made.id in [one.id for one in client.pronunciation_dicts.list()]
        client.pronunciation_dicts.delete(made.id)
        with pytest.raises(cartesia.NotFoundError):
            client.pronunciation_dicts.retrieve(made.id)

    def test_access_tokens(self, client: cartesia.Cartesia, site: Site) -> None:
        token = client.access_token.create(grants={"tts": True}, expires_in=60).token
        with cartesia.Cartesia(token=token, base_url=site.url, max_retries=0) as holder:
            output = holder.tts.generate(
                model_id="sonic-latest", transcript="Yes.", voice=IRIS, output_format=RAW
            ).read()
            assert output
            with pytest.raises(cartesia.PermissionDeniedError, match="does not grant"):
                holder.access_token.create(grants={"tts": True})
        deaf = client.access_token.create(grants={"stt": True}).token
        holder = cartesia.Cartesia(token=deaf, base_url=site.url, max_retries=0)
        with holder, pytest.raises(cartesia.PermissionDeniedError, match="does not grant tts"):
            holder.tts.generate(
                model_id="sonic-latest", transcript="Yes.", voice=IRIS, output_format=RAW
            )

    def test_transcribe(self, client: cartesia.Cartesia, recording: bytes) -> None:
        heard = client.stt.transcribe(
            file=("counting.wav", recording), model="ink-whisper", timestamp_granularities=["word"]
        )
        assert error_rate(DIGITS, heard.text) <= 0.2
        assert heard.duration == pytest.approx((len(recording) - 44) / 32000, abs=0.01)
        assert heard.words
        assert [word.word for word in heard.words] == heard.text.split()
        assert all(word.start < word.end <= (heard.duration or 0) for word in heard.words)
        raw = client.stt.transcribe(
            file=("counting", recording[44:]), model="ink-whisper", encoding="pcm_s16le",
            sample_rate=16000,
        )  # fmt: skip
        assert error_rate(DIGITS, raw.text) <= 0.2
        assert raw.words is None
        with pytest.raises(cartesia.BadRequestError, match="no audio"):
            client.stt.transcribe(file=("x", b"not a sound"), model="ink-whisper")

    def test_stt_websocket(self, client: cartesia.Cartesia, recording: bytes) -> None:
        with client.stt.manual_finalize.websocket(
            model="ink-2", encoding="pcm_s16le", sample_rate=16000
        ) as connection:
            text, kinds = listen(connection, recording[44:])
        assert error_rate(DIGITS, text) <= 0.2
        assert kinds[-2:] == ["flush_done", "done"]

    def test_stt_turns(self, client: cartesia.Cartesia, recording: bytes) -> None:
        with client.stt.auto_finalize.websocket(
            model="ink-2", encoding="pcm_s16le", sample_rate=16000
        ) as connection:
            for start in range(44, len(recording), 3200):
                connection.send_raw(recording[start : start + 3200])
            connection.send({"type": "close"})
            events: list[Any] = list(connection)
        kinds = [event.type for event in events]
        assert kinds[0] == "connected"
        assert kinds[1] == "turn.start"
        assert kinds[-1] == "turn.end"
        text = " ".join(event.transcript for event in events if event.type == "turn.end")
        assert error_rate(DIGITS, text) <= 0.2

    def test_async_speech(self, site: Site) -> None:
        async def body(client: cartesia.AsyncCartesia) -> None:
            output = await client.tts.generate(
                model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW
            )
            assert 2 < seconds(await output.read()) < 5
            stream = await client.tts.generate_sse(
                model_id="sonic-latest", transcript=TEXT, voice=IRIS, output_format=RAW
            )
            assert [event.type async for event in stream][-1] == "done"
            async with client.tts.websocket_connect() as connection:

                async def tell() -> float:
                    context = connection.context(
                        model_id="sonic-latest", voice=IRIS, output_format=RAW, timeout=10
                    )
                    for word in TEXT.split():
                        await context.push(word + " ")
                    await context.no_more_inputs()
                    audio = b"".join(
                        [
                            event.audio or b""
                            async for event in context.receive()
                            if event.type == "chunk"
                        ]
                    )
                    return seconds(audio)

                lengths = await asyncio.gather(*(tell() for _unused in range(5)))
            assert all(2 < length < 5 for length in lengths)

        run_async(site, body)

    def test_async_rest(self, site: Site, recording: bytes) -> None:
        async def body(client: cartesia.AsyncCartesia) -> None:
            assert (await client.get_status()).ok
            names = [voice.name async for voice in client.voices.list(limit=40)]
            assert len(names) == len(voices.VOICES)
            made = await client.pronunciation_dicts.create(name="Ours")
            await client.pronunciation_dicts.delete(made.id)
            assert (await client.access_token.create(grants={"tts": True})).token
            heard = await client.stt.transcribe(file=("a.wav", recording), model="ink-whisper")
            assert error_rate(DIGITS, heard.text) <= 0.2
            async with client.stt.manual_finalize.websocket(
                model="ink-2", encoding="pcm_f32le", sample_rate=48000
            ) as connection:
                samples = np.frombuffer(recording[44:], "<i2").astype(np.float32) / 32768
                louder = soxr.resample(samples, 16000, 48000).astype("<f4").tobytes()
                for start in range(0, len(louder), 19200):
                    await connection.send_raw(louder[start : start + 19200])
                await connection.send("close")
                text = ""
                async for event in connection:
                    if event.type == "transcript" and event.is_final:
                        text += event.text
            assert error_rate(DIGITS, text) <= 0.2

        run_async(site, body)
