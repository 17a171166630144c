# SPDX-License-Identifier: Apache-2.0
"""The vendor's own Python client against the lab, through its ingress, with all its calls."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.sdk")

from tests.sdk import SdkTests  # noqa: E402


class TestSdk(SdkTests):
    """The calls, here."""
