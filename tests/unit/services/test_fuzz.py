# SPDX-License-Identifier: Apache-2.0
"""Send malformed input to the reference services as processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.register_assert_rewrite("tests.fuzz")

from lab.processes import KEY, Stack  # noqa: E402
from tests.fuzz import (  # noqa: E402
    CASES,
    DEADLINE_S,
    MEMORY_LIMIT,
    FuzzTests,
    complaints,
    fuzz,
    resident_peak,
)
from tests.sites import Site  # noqa: E402


@pytest.fixture(scope="module")
def site(quiet_stack: Stack) -> Site:
    """The reference services on loopback."""
    return Site(quiet_stack.url, KEY)


@pytest.fixture(scope="module")
def peak(quiet_stack: Stack) -> Callable[[], int]:
    """Return a function for the API's peak memory since these tests began (bytes)."""
    process = Path(f"/proc/{quiet_stack.processes['api'].pid}")
    # Linux then starts to count again; other tests may have sent far more.
    (process / "clear_refs").write_text("5", encoding="ascii")

    def most() -> int:
        return resident_peak((process / "status").read_text(encoding="ascii"))

    return most


class TestFuzz(FuzzTests):
    """Each way in, here."""

    # Only here: an ingress limits how many wrong keys an address may try.
    @settings(fuzz, max_examples=max(1, CASES // 6))
    @given(key=st.text(max_size=40) | st.text("a. \n\t\0\x7f\xa0\u0142", max_size=9))
    def test_keys(self, site: Site, key: str) -> None:
        sent: list[dict[str, Any]] = [{"params": {"access_token": key}}]
        if key.strip() and key.isascii() and key.isprintable():
            # Client libraries send nothing else in a header.
            sent.append({"headers": {"X-API-Key": key.strip()}})
            sent.append({"headers": {"Authorization": f"Bearer {key.strip()}"}})
        with httpx.Client(base_url=site.url, timeout=DEADLINE_S, trust_env=False) as client:
            for shown in sent:
                assert client.get("/voices", **shown).status_code == 401
            # What others sent is no reason to refuse the right one.
            assert client.get("/voices", headers={"X-API-Key": site.key}).status_code == 200


def test_nothing_was_left_behind(quiet_stack: Stack, peak: Callable[[], int]) -> None:
    assert complaints(quiet_stack.log("api"), KEY) == []
    assert peak() < MEMORY_LIMIT
