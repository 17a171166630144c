# SPDX-License-Identifier: Apache-2.0
"""Measures the reference speech stack, as processes on this machine.

What API and NATS add to the engine's own time to first audio; how many sockets and contexts one API
pod holds; how many words come back; what batch size and concurrency do to latency and throughput.

The CPU engine is so fast that a batch hardly matters. For the last measurement its steps are
therefore paced as a GPU's: each takes PACE seconds for a second of audio, however many streams it
advances. The figures show how batching behaves, not how fast a GPU is.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from lab import bench_words
from lab.bundle.build import program
from lab.figures import figure
from lab.processes import KEY, SERVICES, Stack
from plugins.module_utils._speech.load import percentile

MODEL = "sonic-reference"
SHORT = "Yes, of course."
LONG = "The quick brown fox jumps over the lazy dog, and then it sleeps for a while. "
# Samples a second and bytes of one.
RATE, WIDTH = 22050, 2
LISTENERS, TURNS, PERIOD_S = 8, 50, 0.8
BATCHES = (1, 2, 4, 8, 16)
CONCURRENCIES = (1, 4, 8, 12, 16)
PACE, REQUESTS = 0.05, 2
SOCKETS, CONTEXTS = 500, 4


@dataclass(frozen=True)
class Heard:
    """One request: seconds to its first audio, seconds to its end, seconds of audio."""

    first_s: float
    all_s: float
    audio_s: float


@dataclass(frozen=True)
class Cell:
    """What a load did: seconds it lasted, characters spoken, and each request."""

    seconds: float
    characters: int
    heard: list[Heard]

    def row(self) -> str:
        """TTFA p50 and p95 in ms, real-time factor p95, characters a second."""
        firsts = [one.first_s * 1000 for one in self.heard]
        factors = [one.all_s / one.audio_s for one in self.heard]
        return (
            f"{percentile(firsts, 0.5):>9.0f}{percentile(firsts, 0.95):>9.0f}"
            f"{percentile(factors, 0.95):>9.3f}{self.characters / self.seconds:>9.0f}"
        )


class Caller:
    """A connection to the API that is kept, and asks for one utterance after the other.

    Bare HTTP: a client library takes more time than what is measured.
    """

    def __init__(self, port: int, text: str) -> None:
        self._port = port
        body = json.dumps(
            {
                "model_id": MODEL,
                "transcript": text,
                "voice": {"mode": "id", "id": "en-us"},
                "output_format": {
                    "container": "raw",
                    "encoding": "pcm_s16le",
                    "sample_rate": RATE,
                },
            }
        )
        self._request = (
            "POST /tts/bytes HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"X-API-Key: {KEY}\r\nCartesia-Version: 2026-03-01\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def __aenter__(self) -> Caller:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self) -> Heard:
        """Make one request and hear it to its end. Raises OSError for any answer but audio."""
        began = time.perf_counter()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.split(b"\r\n", 1)[0].decode())
        size, first = 0, 0.0
        while count := int(await self._reader.readline(), 16):
            await self._reader.readexactly(count + 2)
            first = first or time.perf_counter() - began
            size += count
        await self._reader.readline()
        return Heard(first, time.perf_counter() - began, size / WIDTH / RATE)


def measure(plot: Path) -> None:
    """Measure, print, and draw the last measurement.

    Raises:
        LabError: the NATS server could not be built.
        TimeoutError, OSError: a service does not start, or does not answer.
    """
    nats_server = str(program("nats-server", "nats-server"))
    with _stack(nats_server) as stack:
        stack.start_worker(SONIC_BATCH_SIZE=str(LISTENERS))
        stack.wait_worker()
        overhead(stack)
        print(asyncio.run(hold(stack)))
        stack.start_listener()
        stack.wait_worker("listener")
        bench_words.measure(stack)
    trade_off(nats_server, plot)


@contextmanager
def _stack(nats_server: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), nats_server)
        try:
            stack.start_nats()
            stack.start_proxy()
            stack.start_api(SONIC_QUEUE_TIMEOUT="60")
            stack.wait_api()
            yield stack
        finally:
            stack.stop()


def overhead(stack: Stack) -> None:
    """Print the time to first audio from the engine itself, and through API and NATS."""

    async def through() -> list[float]:
        async def listen(number: int) -> list[float]:
            async with Caller(stack.api_port, SHORT) as caller:
                await asyncio.sleep(PERIOD_S * number / LISTENERS)
                firsts = []
                for _turn in range(TURNS):
                    heard = await caller.ask()
                    firsts.append(heard.first_s)
                    await asyncio.sleep(max(0.0, PERIOD_S - heard.all_s))
                return firsts

        turns = await asyncio.gather(*(listen(number) for number in range(LISTENERS)))
        return [first for firsts in turns for first in firsts]

    given = {"listeners": LISTENERS, "turns": TURNS, "text": SHORT, "period_s": PERIOD_S}
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench_engine"],
        input=json.dumps(given), env=os.environ | {"PYTHONPATH": f"{SERVICES}:{SERVICES.parent}"},
        text=True, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    took = {"engine alone": json.loads(done.stdout), "API and NATS": asyncio.run(through())}
    print(f"\n{LISTENERS} listeners, {LISTENERS * TURNS} utterances: ms to the first audio")
    print(f"{'':<22}{'p50':>8}{'p99':>8}")
    for name, values in took.items():
        print(f"{name:<22}" + "".join(f"{percentile(values, p) * 1000:>8.2f}" for p in (0.5, 0.99)))
    added = [
        (percentile(took["API and NATS"], p) - percentile(took["engine alone"], p)) * 1000
        for p in (0.5, 0.99)
    ]
    print(f"{'added':<22}{added[0]:>8.2f}{added[1]:>8.2f}")


async def load(port: int, concurrency: int) -> Cell:
    """So many callers, each asking again as soon as it has heard all."""

    async def call() -> list[Heard]:
        async with Caller(port, LONG) as caller:
            return [await caller.ask() for _turn in range(REQUESTS)]

    began = time.perf_counter()
    requests = await asyncio.gather(*(call() for _each in range(concurrency)))
    heard = [one for each in requests for one in each]
    return Cell(time.perf_counter() - began, len(LONG) * len(heard), heard)


def trade_off(nats_server: str, plot: Path) -> None:
    """Print and draw latency and throughput over batch size and concurrency."""
    print(f"\nbatching, steps paced to {PACE:g} s for each second of audio, whatever is in them")
    print(f"{'B':<12}{'streams':>8}{'TTFA p50':>9}{'p95 ms':>9}{'RTF p95':>9}{'chars/s':>9}")
    cells: dict[str, dict[int, Cell]] = {}
    kinds = [(str(size), size, True) for size in BATCHES] + [("8 static", 8, False)]
    with _stack(nats_server) as stack:
        for name, size, continuous in kinds:
            stack.start_worker(
                SONIC_BATCH_SIZE=str(size),
                SONIC_CAPACITY=str(max(CONCURRENCIES)),
                SONIC_USE_CB=str(continuous),
                SONIC_PACE=str(PACE),
            )
            stack.wait_worker()
            asyncio.run(load(stack.api_port, 1))
            cells[name] = {}
            for concurrency in CONCURRENCIES:
                cell = cells[name][concurrency] = asyncio.run(load(stack.api_port, concurrency))
                print(f"{name:<12}{concurrency:>8}{cell.row()}")
            stack.end("worker")
    plot.write_text(page(cells), encoding="utf-8")
    print(f"drawn in {plot}")


async def hold(stack: Stack) -> str:
    """Hold sockets and contexts open on the one API pod, then end every context."""
    url = f"ws://127.0.0.1:{stack.api_port}/tts/websocket"
    headers = {"X-API-Key": KEY, "Cartesia-Version": "2026-03-01"}
    before = _memory_kib(stack, "api")
    opening = asyncio.Semaphore(50)
    speaking = asyncio.Semaphore(LISTENERS)

    async def open_one() -> ClientConnection:
        async with opening:
            return await connect(url, additional_headers=headers, proxy=None)

    async def begin(socket: ClientConnection, number: int) -> None:
        async with speaking:
            await _say(socket, number, "Yes.", more=True)
            await _event(socket, "flush_done")

    async def talk(socket: ClientConnection) -> None:
        for number in range(CONTEXTS):
            await begin(socket, number)

    async def finish(socket: ClientConnection) -> int:
        for number in range(CONTEXTS):
            await _say(socket, number, "", more=False)
        return sum([await _event(socket, "done") for _each in range(CONTEXTS)])

    began = time.monotonic()
    sockets = await asyncio.gather(*(open_one() for _each in range(SOCKETS)))
    opened_s = time.monotonic() - began
    idle = _memory_kib(stack, "api")
    await asyncio.gather(*(talk(socket) for socket in sockets))
    spoken_s = time.monotonic() - began - opened_s
    held = _memory_kib(stack, "api")
    ended = sum(await asyncio.gather(*(finish(socket) for socket in sockets)))
    await asyncio.gather(*(socket.close() for socket in sockets))
    return (
        f"\none API pod: {len(sockets)} WebSockets open in {opened_s:.1f} s,"
        f" {(idle - before) / SOCKETS:.0f} KiB for each idle one;"
        f"\n{SOCKETS * CONTEXTS} contexts begun in {spoken_s:.0f} s and held,"
        f" {(held - idle) / SOCKETS / CONTEXTS:.0f} KiB for each; {ended} of them ended when asked;"
        f"\nmemory: {before // 1024} MiB at rest, {held // 1024} MiB with all"
    )


async def _say(socket: ClientConnection, number: int, text: str, *, more: bool) -> None:
    message = {
        "context_id": f"context-{number}",
        "model_id": MODEL,
        "transcript": text,
        "voice": {"mode": "id", "id": "en-us"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000},
        "continue": more,
        "flush": more,
    }
    await socket.send(json.dumps(message))


async def _event(socket: ClientConnection, wanted: str) -> int:
    """Hear until an event of this type. Raises OSError for an error event."""
    while True:
        event: dict[str, Any] = json.loads(await socket.recv())
        if event["type"] == "error":
            raise OSError(event.get("message") or event.get("error"))
        if event["type"] == wanted:
            return 1


def _memory_kib(stack: Stack, name: str) -> int:
    status = Path("/proc", str(stack.processes[name].pid), "status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


# How a figure's lines get their values.
FIGURES: dict[str, Callable[[Cell], float]] = {
    "TTFA p50, ms": lambda cell: percentile([one.first_s * 1000 for one in cell.heard], 0.5),
    "TTFA p95, ms": lambda cell: percentile([one.first_s * 1000 for one in cell.heard], 0.95),
    "characters a second": lambda cell: cell.characters / cell.seconds,
}


def page(cells: dict[str, dict[int, Cell]]) -> str:
    """Return a page with the FIGURES: a line for each batch size, over concurrency."""
    parts = ["<!DOCTYPE html><meta charset='utf-8'><title>Batch size and concurrency</title>"]
    for title, value in FIGURES.items():
        lines = {name: [(c, value(cell)) for c, cell in row.items()] for name, row in cells.items()}
        parts.append(figure(title, lines))
    return "\n".join(parts) + "\n"
