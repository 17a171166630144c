# SPDX-License-Identifier: Apache-2.0
"""Input that nobody meant, to the reference services as processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.fuzz")

from lab.processes import KEY, Stack  # noqa: E402
from tests.fuzz import MEMORY_LIMIT, FuzzTests, complaints, resident_peak  # noqa: E402
from tests.sites import Site  # noqa: E402


@pytest.fixture(scope="module")
def site(quiet_stack: Stack) -> Site:
    """The reference services on loopback."""
    return Site(quiet_stack.url, KEY)


@pytest.fixture(scope="module")
def peak(quiet_stack: Stack) -> Callable[[], int]:
    """How the most memory is known that the API has taken since these tests began (bytes)."""
    process = Path(f"/proc/{quiet_stack.processes['api'].pid}")
    # Linux then counts anew; other tests may have sent far more.
    (process / "clear_refs").write_text("5", encoding="ascii")

    def most() -> int:
        return resident_peak((process / "status").read_text(encoding="ascii"))

    return most


class TestFuzz(FuzzTests):
    """Each way in, here."""


def test_nothing_was_left_behind(quiet_stack: Stack, peak: Callable[[], int]) -> None:
    assert complaints(quiet_stack.log("api"), KEY) == []
    assert peak() < MEMORY_LIMIT
