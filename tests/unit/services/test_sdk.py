# SPDX-License-Identifier: Apache-2.0
"""The vendor's own Python client against the reference services as processes."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.sdk")

from lab.processes import KEY, Stack  # noqa: E402
from tests.sdk import SdkTests  # noqa: E402
from tests.sites import Site  # noqa: E402


@pytest.fixture(scope="module")
def site(quiet_stack: Stack) -> Site:
    """The reference services on loopback."""
    return Site(quiet_stack.url, KEY)


class TestSdk(SdkTests):
    """The calls, here."""
