# SPDX-License-Identifier: Apache-2.0
"""LiveKit's Cartesia plugin against a site: python -m tests.clients.livekit_plugin SCENARIO."""

from __future__ import annotations

from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, stt, utils
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.plugins import cartesia

from tests.clients.reaching import (
    KEY,
    LONG,
    PIECES,
    RATE,
    SOUND_RATE,
    TEXT,
    URL,
    VOICE,
    encoded,
    main,
    sound_parts,
)

# The plugin tries again by itself otherwise, and hides what failed.
ONCE = APIConnectOptions(max_retry=0)


def mouth() -> cartesia.TTS:
    """Return the plugin's speech, with the site in place of the public service."""
    return cartesia.TTS(api_key=KEY, base_url=URL, model="sonic-3", voice=VOICE, sample_rate=RATE)


async def reply(tts: cartesia.TTS, pieces: list[str]) -> dict[str, Any]:
    """Speak text that comes in pieces, and return all of it."""
    pcm = b""
    words: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    async with tts.stream(conn_options=ONCE) as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.end_input()
        async for piece in stream:
            pcm += piece.frame.data.tobytes()
            for word in piece.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, []):
                words.append(str(word).strip())
                starts.append(word.start_time)
                ends.append(word.end_time)
    return {"audio": encoded(pcm), "rate": RATE, "words": words, "starts": starts, "ends": ends}


async def speaks() -> dict[str, Any]:
    """Return several replies, one after the other, on the connection that the plugin keeps."""
    async with utils.http_context.open(), mouth() as tts:
        return {
            "replies": [
                await reply(tts, PIECES),
                await reply(tts, [TEXT]),
            ],
            "reused": tts._pool.last_connection_reused,
        }


async def http() -> dict[str, Any]:
    """Return one text in one request."""
    async with utils.http_context.open(), mouth() as tts:
        frame = await tts.synthesize(TEXT, conn_options=ONCE).collect()
        return {"audio": encoded(frame.data.tobytes()), "rate": frame.sample_rate}


async def interrupts() -> dict[str, Any]:
    """Return the reply after one that was cut short at its first sound."""
    async with utils.http_context.open(), mouth() as tts:
        async with tts.stream(conn_options=ONCE) as stream:
            stream.push_text(LONG)
            stream.flush()
            heard = len((await anext(stream)).frame.data.tobytes())
        return {"heard": heard, "reply": await reply(tts, [TEXT])}


async def hear(ear: cartesia.STT, flush: bool) -> dict[str, Any]:
    """Return what is heard of the recording."""
    kinds: list[str] = []
    texts: list[str] = []
    words: list[str] = []
    async with ear.stream(conn_options=ONCE) as stream:
        for part in sound_parts():
            stream.push_frame(rtc.AudioFrame(part, SOUND_RATE, 1, len(part) // 2))
        if flush:
            stream.flush()
        async for event in stream:
            # The plugin does not connect for an input that has ended before.
            if not kinds:
                stream.end_input()
            kinds.append(str(event.type.value))
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                texts.append(event.alternatives[0].text)
                words += [str(word) for word in event.alternatives[0].words or []]
    return {"kinds": kinds, "text": " ".join(texts), "words": words}


async def turns() -> dict[str, Any]:
    """Return what the plugin's usual model hears, which finds the turns."""
    async with utils.http_context.open(), cartesia.STT(api_key=KEY, base_url=URL) as ear:
        return await hear(ear, flush=False)


async def finalizes() -> dict[str, Any]:
    """Return what the plugin's older model hears, where the client says when to transcribe."""
    whisper = cartesia.STT(api_key=KEY, base_url=URL, model="ink-whisper", language="en")
    async with utils.http_context.open(), whisper as ear:
        return await hear(ear, flush=True)


if __name__ == "__main__":
    main({run.__name__: run for run in (speaks, http, interrupts, turns, finalizes)})
