# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest
from sonic_reference.api.limits import Limits
from sonic_reference.api.meters import Meter
from sonic_reference.settings import SettingsError


def test_the_narrowest_limit_counts() -> None:
    key = Meter(100)
    one, two = Meter(60, key), Meter(60, key)
    assert one.fits(60)
    assert not one.fits(61)
    one.take(60)
    assert two.fits(40)
    assert not two.fits(41)
    one.clear()
    assert (key.used, two.fits(60)) == (0, True)


def test_who_waits_goes_on_when_there_is_room() -> None:
    async def body() -> None:
        key = Meter(100)
        one, two = Meter(100, key), Meter(100, key)
        one.take(80)
        waiting = asyncio.create_task(two.room(50, 30))
        await asyncio.sleep(0)
        one.give(10)
        await asyncio.sleep(0)
        assert not waiting.done()
        one.give(40)
        assert await waiting

    asyncio.run(body())


def test_no_room_is_no_room() -> None:
    async def body() -> None:
        full = Meter(100)
        full.take(100)
        assert not await full.room(1, 0.01)
        # What is larger than the limit is not waited for.
        assert not await Meter(100).room(101, 3600)
        assert not await Meter(1000, Meter(100)).room(101, 3600)

    asyncio.run(body())


def test_the_bounds_are_settings() -> None:
    limits = Limits.read({"SONIC_TEXT_CONTEXT_BYTES": "2048", "SONIC_STT_IDLE_TIMEOUT": "60"})
    assert limits == Limits(context_bytes=2048, stt_idle_s=60)
    # A pause longer than this would end the connection: the answers to pings are not read either.
    with pytest.raises(SettingsError, match="SONIC_TEXT_TIMEOUT='16' is not a number from 0 to 15"):
        Limits.read({"SONIC_TEXT_TIMEOUT": "16", "SONIC_TEXT_KEY_BYTES": "many"})
