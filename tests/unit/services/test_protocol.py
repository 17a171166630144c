# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import Field, ValidationError
from sonic_reference import protocol
from sonic_reference.api.roster import Roster
from sonic_reference.errors import ApiError
from sonic_reference.protocol import Announcement
from sonic_reference.settings import Names, NatsUrl, Settings, SettingsError


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sonic-3", "sonic.v2.jobs.tts.sonic-3.w"),
        ("sonic-3.5", "sonic.v2.jobs.tts.sonic-3=2E5.w"),
        ("a b>*", "sonic.v2.jobs.tts.a=20b=3E=2A.w"),
        ("é", "sonic.v2.jobs.tts.=C3=A9.w"),
    ],
)
def test_any_model_name_is_one_token(name: str, subject: str) -> None:
    assert protocol.job_subject("tts", name, "w") == subject


def test_errors_travel() -> None:
    came = ApiError.decode(ApiError(400, "c", "t", "m").encode())
    assert (came.status, came.code, came.title, came.message) == (400, "c", "t", "m")
    for broken in (b"", b"[]", b"{}", b'{"status": "x"}'):
        assert ApiError.decode(broken).status == 500


def announcement(worker: str, **more: object) -> Announcement:
    fields = {"worker": worker, "operation": "tts", "model": "m", "capacity": 2, "load": 0}
    return Announcement.model_validate(fields | more)


def test_workers_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    roster = Roster({"tts": ("default", "m")})
    assert not roster.served("tts", "m")
    roster.note(announcement("a"))
    roster.note(announcement("b", load=2))
    assert roster.served("tts", "m")
    assert not roster.served("stt", "m")
    roster.note(announcement("a", draining=True))
    assert [one.worker for one in roster.present()] == ["b"]
    later = time.monotonic() + protocol.ROSTER_TTL_S + 1
    monkeypatch.setattr("sonic_reference.api.roster.time.monotonic", lambda: later)
    assert not roster.served("tts", "m")


def test_the_worker_with_most_streams_free_comes_first() -> None:
    roster = Roster({"tts": ("m",)})
    assert roster.freest("tts", "m") is None
    roster.note(announcement("small", capacity=2))
    roster.note(announcement("large", capacity=8, load=5))
    roster.note(announcement("listener", operation="stt", capacity=16))
    assert roster.freest("tts", "m") == "large"
    # What was given out counts at once, and what a worker says itself counts more.
    roster.reserve("large")
    roster.reserve("large")
    assert roster.freest("tts", "m") == "small"
    roster.note(announcement("large", capacity=8, load=0))
    assert roster.freest("tts", "m") == "large"
    roster.forget("large")
    roster.reserve("small")
    roster.reserve("small")
    assert roster.freest("tts", "m") is None
    assert roster.served("tts", "m")


def test_among_equals_all_get_some() -> None:
    roster = Roster({"tts": ("m",)})
    for name in "abc":
        roster.note(announcement(name, capacity=100))
    assert {roster.freest("tts", "m") for _unused in range(100)} == {"a", "b", "c"}


def test_model_names_resolve() -> None:
    roster = Roster({"tts": ("default", "m")})
    assert roster.resolve("tts", "m") == "m"
    assert roster.resolve("tts", "sonic-3.5") == "default"
    roster.note(announcement("a", model="sonic-3.5"))
    assert roster.resolve("tts", "sonic-3.5") == "sonic-3.5"
    with pytest.raises(ApiError) as caught:
        roster.resolve("tts", "ink")
    assert caught.value.status == 404


def test_a_change_wakes_all_that_wait_for_it() -> None:
    async def run() -> float:
        roster = Roster({"tts": ("m",)})
        began = time.monotonic()
        waiting = [asyncio.create_task(roster.change(5)) for _unused in range(3)]
        await asyncio.sleep(0)
        roster.note(announcement("a"))
        await asyncio.gather(*waiting)
        return time.monotonic() - began

    assert asyncio.run(run()) < 1


async def sent_in(window: protocol.Window, size: int, pieces: list[int]) -> None:
    async def publish(piece: bytes) -> None:
        pieces.append(len(piece))

    await window.send(bytes(size), publish)


def test_a_sender_keeps_to_its_window() -> None:
    async def run() -> None:
        window, pieces = protocol.Window(), list[int]()
        sending = asyncio.create_task(sent_in(window, 3 * protocol.WINDOW_BYTES, pieces))
        await asyncio.sleep(0)
        held = protocol.WINDOW_BYTES + protocol.CHUNK_BYTES
        assert (sum(pieces), max(pieces)) == (held, protocol.CHUNK_BYTES)
        # What is no number, or less than before, changes nothing.
        for content in (b"many", b"-1", b"", b"0"):
            window.confirm(content)
            await asyncio.sleep(0)
        assert sum(pieces) == held
        window.confirm(b"%d" % protocol.CHUNK_BYTES)
        window.confirm(b"0")
        await asyncio.sleep(0)
        assert sum(pieces) == held + protocol.CHUNK_BYTES
        window.release()
        await sending
        assert sum(pieces) == window.total == 3 * protocol.WINDOW_BYTES

    asyncio.run(run())


def test_a_receiver_confirms_what_it_used_up() -> None:
    window = protocol.Window()
    window.total = protocol.WINDOW_BYTES
    assert not window.due
    window.used = protocol.WINDOW_BYTES // 4 + 1
    assert window.due
    assert window.confirmation() == b"%d" % window.used
    assert not window.due
    window.total = window.confirmed + protocol.OVERRUN_BYTES
    assert not window.overrun
    window.total += 1
    assert window.overrun


class Group(Settings):
    fraction: float = Field(default=0.5, validation_alias="B", ge=0, le=1)
    names: Names = Field(default=("z",), validation_alias="D")


class Example(Settings):
    number: int = Field(default=1, validation_alias="A", ge=1, le=5)
    group: Group
    switch: bool = Field(default=False, validation_alias="C")
    url: NatsUrl = Field(validation_alias="E")
    text: str = Field(validation_alias="F")


def test_settings_are_read_and_all_problems_named() -> None:
    good = Example.read(
        {"A": "3", "B": "", "C": "yes", "D": " x , y ", "E": "nats://n:4222/", "F": " f "}
    )
    assert good.number == 3
    assert good.group.fraction == 0.5
    assert good.switch
    assert good.group.names == ("x", "y")
    assert good.url == "nats://n:4222"
    assert good.text == "f"
    with pytest.raises(SettingsError) as caught:
        Example.read({"A": "9", "B": "inf", "C": "maybe", "E": "http://n", "F": " "})
    assert str(caught.value).splitlines() == [
        "A='9' is not a whole number from 1 to 5",
        "B='inf' is not a number from 0 to 1",
        "C='maybe' is neither true nor false",
        "E='http://n' does not start with nats or tls://",
        "F is not set",
    ]


def test_only_variables_are_read_and_settings_stay_as_they_are() -> None:
    settings = Example.read({"E": "tls://n", "F": "f", "D": "", "number": "2", "other": "x"})
    assert settings.number == 1
    # A list that is set and empty has no names.
    assert settings.group.names == ()
    with pytest.raises(ValidationError):
        settings.number = 2
