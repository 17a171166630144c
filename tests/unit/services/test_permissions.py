# SPDX-License-Identifier: Apache-2.0
"""Who may say and hear what on NATS, by a real server with the role's own configuration."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from sonic_reference import protocol, sealing

from lab.bus import Bus, running
from lab.processes import KEY, Stack

STORE = "KV_sonic-v1-dictionaries"
# By user: its rights, and the rights of others or of no user.
ALLOWED = {
    "api": {
        "publish": [
            "sonic.v2.jobs.tts.sonic-3=2E5.w", "sonic.v2.jobs.stt.m.w", "sonic.v2.rollcall",
            "sonic.v2.control.tts.w.j.cancel", "sonic.v2.control.stt.w.j.audio",
            "$KV.sonic-v1-dictionaries.pdict_1", f"$JS.API.STREAM.INFO.{STORE}",
            f"$JS.API.STREAM.CREATE.{STORE}", f"$JS.API.STREAM.UPDATE.{STORE}",
            f"$JS.API.CONSUMER.CREATE.{STORE}.c", f"$JS.API.CONSUMER.DELETE.{STORE}.c",
        ],
        "subscribe": [
            "sonic.v2.replies.pod.>", "sonic.v2.workers.*.*", "_INBOX_api.abc", "_INBOX_api.abc.*",
        ],
    },
    "tts": {
        "publish": ["sonic.v2.workers.tts.w", "sonic.v2.replies.pod.job.accepted"],
        "subscribe": [
            "sonic.v2.jobs.tts.m.w", "sonic.v2.control.tts.w.*.*", "sonic.v2.rollcall",
        ],
    },
    "stt": {
        "publish": ["sonic.v2.workers.stt.w", "sonic.v2.replies.pod.job.transcript"],
        "subscribe": [
            "sonic.v2.jobs.stt.m.w", "sonic.v2.control.stt.w.*.*", "sonic.v2.rollcall",
        ],
    },
}  # fmt: skip
# What each one tries beside what others may.
DENIED = {
    "publish": [
        "any.thing", "sonic.v1.jobs.tts.m.w", "sonic.v2.jobs", "sonic.v2.jobs.tts.m.w.more",
        "sonic.v2.replies.pod.job", "sonic.v2.replies.pod.job.audio.more", "sonic.v2.workers.tts",
        "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", f"$JS.API.STREAM.DELETE.{STORE}",
        "$JS.API.STREAM.CREATE.other", f"$JS.API.STREAM.SNAPSHOT.{STORE}", "$KV.other.key",
        f"$JS.API.STREAM.RESTORE.{STORE}", "$JS.API.CONSUMER.CREATE.other.c",
        "$SYS.REQ.SERVER.PING", "_INBOX.abc", "_INBOX_api.abc",
    ],
    "subscribe": [
        ">", "*", "sonic.>", "sonic.v1.>", "sonic.v2.>", "sonic.v2.*.tts.*.*", "*.*.*.*.*.*",
        "sonic.v2.jobs.>", "sonic.v2.jobs.*.m.w", "sonic.v2.control.>", "sonic.v2.replies.>",
        "sonic.v2.control.*.w.*.*", "sonic.v2.workers.>", "_INBOX.>", "_INBOX.abc",
        "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$KV.>", "$KV.sonic-v1-dictionaries.>", "$SYS.>",
    ],
}  # fmt: skip
ANSWERS = {("tts", "publish"), ("stt", "publish")}
SHARED = ["sonic.v2.replies.pod.job.accepted", "sonic.v2.replies.pod.job.transcript"]


def cells(user: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What a user tries, action and subject, and what of it is refused."""
    tried, refused = set(), set()
    for action in ("publish", "subscribe"):
        own = ALLOWED[user][action]
        # The names of pods and jobs in replies are what keeps workers apart there.
        own = own + SHARED if (user, action) in ANSWERS else own
        everybodys = [subject for one in ALLOWED.values() for subject in one[action]]
        for subject in (*own, *everybodys, *DENIED[action]):
            tried.add((action, subject))
            if subject not in own:
                refused.add((action, subject))
    return tried, refused


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory, nats_server: str) -> Iterator[Bus]:
    with running(nats_server, tmp_path_factory.mktemp("bus")) as made:
        yield made


@asynccontextmanager
async def connected(bus: Bus, url: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client, and what the server says to it. Raises NatsError when it is not let in."""
    result: list[str] = []

    async def failed(error: Exception) -> None:
        result.append(str(error))

    client = Client()
    await client.connect(
        url,
        tls=bus.tls if url.startswith("tls") else None,
        error_cb=failed,
        allow_reconnect=False,
        connect_timeout=10,
    )
    try:
        yield client, result
    finally:
        await client.close()


async def heard(_message: Msg) -> None:
    """Take a message and do nothing."""


@pytest.mark.parametrize("user", sorted(ALLOWED))
def test_every_cell(bus: Bus, user: str) -> None:
    tried, wanted = cells(user)
    assert tried > wanted

    async def refused() -> set[tuple[str, str]]:
        async with connected(bus, bus.url(user)) as (client, actual):
            for action, subject in sorted(tried):
                if action == "publish":
                    await client.publish(subject, b"{}")
                else:
                    await client.subscribe(subject, cb=heard)
            await client.flush()
            # The client tells of refusals by tasks of its own.
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while len(actual) < len(wanted):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
        # It tells of them in small letters.
        match = [
            re.search(r'violation for (publish|subscri)\w* to "([^"]+)"', one) for one in actual
        ]
        names = {"publish": "publish", "subscri": "subscribe"}
        return {(names[one[1]], one[2]) for one in match if one}

    assert asyncio.run(refused()) == {(action, subject.lower()) for action, subject in wanted}


@pytest.mark.parametrize("who", ["", "api@", "api:guessed@", "worker:guessed@", "stranger:x@"])
def test_the_password_is_needed(bus: Bus, who: str) -> None:
    async def knock() -> None:
        url = bus.url("api")
        async with connected(bus, f"tls://{who}{url.partition('@')[2]}"):
            raise AssertionError("let in")

    with pytest.raises((NatsError, NoServersError)):
        asyncio.run(knock())


def test_passwords_are_not_interchangeable(bus: Bus) -> None:
    async def knock() -> None:
        password = bus.secrets["users"]["tts"]
        async with connected(bus, f"tls://api:{password}@{bus.url('api').partition('@')[2]}"):
            raise AssertionError("let in")

    with pytest.raises(NatsError):
        asyncio.run(knock())


def test_plain_text_gets_no_answer(bus: Bus) -> None:
    port = int(bus.url("api").rpartition(":")[2])
    hello = {"verbose": False, "user": "api", "pass": bus.secrets["users"]["api"]}
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        assert connection.recv(4096).startswith(b"INFO ")
        connection.sendall(f"CONNECT {json.dumps(hello)}\r\nPING\r\n".encode())
        answer = connection.recv(4096)
    assert b"PONG" not in answer


def test_the_certificate_is_the_sites(bus: Bus) -> None:
    async def knock() -> None:
        strangers = ssl.create_default_context()
        client = Client()
        await client.connect(bus.url("api"), tls=strangers, allow_reconnect=False)

    with pytest.raises((ssl.SSLError, NatsError)):
        asyncio.run(knock())


def test_users_without_subjects_may_do_everything(tmp_path: Path, nats_server: str) -> None:
    async def tries(bus: Bus) -> list[str]:
        async with connected(bus, bus.url("tts")) as (client, actual):
            await client.subscribe(">", cb=heard)
            await client.publish("any.thing")
            await client.flush()
            return list(actual)  # closing may add an error of the TLS library

    with running(nats_server, tmp_path, "users") as made:
        assert asyncio.run(tries(made)) == []
        test_the_password_is_needed(made, "")
        test_plain_text_gets_no_answer(made)


def test_open_lets_everybody_in(tmp_path: Path, nats_server: str) -> None:
    async def tries(bus: Bus) -> list[str]:
        async with connected(bus, bus.url("tts")) as (client, actual):
            await client.subscribe(">", cb=heard)
            await client.flush()
            return list(actual)  # closing may add an error of the TLS library

    with running(nats_server, tmp_path, "open") as made:
        assert made.url("tts").startswith("nats://localhost:")
        assert asyncio.run(tries(made)) == []


# A worker that was taken over, beside a stack that speaks

TEXT = "CANARY text of another customer."


def ask(stack: Stack, model: str = "sonic-reference") -> httpx.Response:
    """A customer's request."""
    body = {
        "model_id": model,
        "transcript": TEXT,
        "voice": {"mode": "id", "id": "694f9389-aac1-45b6-b726-9d9369183238"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
        "language": "en",
    }
    headers = {"X-API-Key": KEY, "Cartesia-Version": "2026-03-01"}
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.post(f"{stack.url}/tts/bytes", json=body, headers=headers)


def announcement_of(name: str, model: str, **more: object) -> bytes:
    """An announcement with more room than any other worker has."""
    fields = {"worker": name, "operation": "tts", "model": model, "capacity": 1000, "load": 0}
    return json.dumps(fields | more).encode()


def test_others_jobs_and_audio_are_not_readable(stack: Stack) -> None:
    """A client with a worker's password, but not its key, hears all that the password allows."""
    stack.start_worker()
    stack.wait_worker()

    async def listen() -> tuple[list[Msg], httpx.Response]:
        result: list[Msg] = []

        async def take(message: Msg) -> None:
            result.append(message)

        async with connected(stack.bus, stack.bus.url("tts")) as (client, _errors):
            for subject in ("sonic.v2.jobs.tts.*.*", "sonic.v2.control.tts.*.*.*"):
                await client.subscribe(subject, cb=take)
            await client.flush()
            answer = await asyncio.to_thread(ask, stack)
            await client.flush()
        return result, answer

    output, answer = asyncio.run(listen())
    assert answer.status_code == 200
    # The job itself was among it, so the test would see what is in it.
    assert any(".jobs." in message.subject for message in output)
    for message in output:
        assert b"CANARY" not in message.data
        assert b"transcript" not in message.data


def offers(stack: Stack, model: str, announcement: bytes, name: str) -> tuple[int, list[Msg]]:
    """What a request gets while this is announced, and the jobs that came to its author."""

    async def run() -> tuple[int, list[Msg]]:
        came: list[Msg] = []

        async def fake(message: Msg) -> None:
            came.append(message)
            await client.publish(f"{message.reply}.accepted", b'{"worker":"attack-kit"}')
            await client.publish(f"{message.reply}.audio", b"EVIL" * 500)
            await client.publish(f"{message.reply}.end", b'{"sent":2000}')

        async with connected(stack.bus, stack.bus.url("tts")) as (client, _errors):
            await client.subscribe(protocol.job_subject("tts", model, name), cb=fake)
            for _turn in range(3):
                await client.publish(protocol.worker_subject("tts", name), announcement)
            await client.flush()
            answer = await asyncio.to_thread(ask, stack, model)
            await client.flush()
        assert b"EVIL" not in answer.content
        return answer.status_code, came

    return asyncio.run(run())


def test_no_worker_is_made_up(stack: Stack) -> None:
    """Neither without a key, nor of a model that it has no key for, nor in another's name."""
    stack.start_worker()
    stack.wait_worker()
    bare = announcement_of("attack-kit", "attack-model")
    assert offers(stack, "attack-model", bare, "attack-kit") == (404, [])
    own = sealing.Identity("attack-kit")
    master = stack.bus.secrets["offerings"]
    stolen = sealing.proof(sealing.offering_key(master, "tts", "sonic-reference"), own.name)
    other = announcement_of(own.name, "attack-model", key=own.key, proof=stolen)
    assert offers(stack, "attack-model", other, own.name) == (404, [])
    unproven = announcement_of(own.name, "sonic-reference", key=own.key)
    assert offers(stack, "sonic-reference", unproven, own.name) == (200, [])
    # The proof is right; the name is that of another key.
    taken = announcement_of(
        own.name, "sonic-reference", key=sealing.Identity("x").key, proof=stolen
    )
    assert offers(stack, "sonic-reference", taken, own.name) == (200, [])


def test_a_worker_of_the_offering_answers_by_its_key_only(stack: Stack) -> None:
    """It is given jobs as any worker; what it says without the job's key counts for nothing."""
    own = sealing.Identity("attack-kit")
    master = stack.bus.secrets["offerings"]
    proof = sealing.proof(sealing.offering_key(master, "tts", "sonic-reference"), own.name)
    right = announcement_of(own.name, "sonic-reference", key=own.key, proof=proof)
    status, came = offers(stack, "sonic-reference", right, own.name)
    assert status in (429, 503)
    assert came
    _session, job = own.open(came[0].reply.rpartition(".")[2], came[0].data)
    assert json.loads(job)["transcript"] == TEXT
