# SPDX-License-Identifier: Apache-2.0
"""Input that nobody meant, to the reference services as processes."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.fuzz")

from lab.processes import KEY, Stack  # noqa: E402
from tests.fuzz import FuzzTests, complaints  # noqa: E402
from tests.sites import Site  # noqa: E402


@pytest.fixture(scope="module")
def site(quiet_stack: Stack) -> Site:
    """The reference services on loopback."""
    return Site(quiet_stack.url, KEY)


class TestFuzz(FuzzTests):
    """Each way in, here."""


def test_nothing_was_left_behind(quiet_stack: Stack) -> None:
    assert complaints(quiet_stack.log("api"), KEY) == []
