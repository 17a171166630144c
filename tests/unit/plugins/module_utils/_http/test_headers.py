# SPDX-License-Identifier: Apache-2.0
"""Secrets that travel in a header: stripped, checked, never shown."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._http.headers import (
    HeaderValueError,
    header_problem,
    header_value,
    strip_secret,
)

SECRET = "sk-not-a-real-key-0123"


@pytest.mark.parametrize(
    "around", ["{}\n", "{}\r\n", " {}\t", "\ufeff{}", "\n\ufeff {}\u200b\n", "{}\u00a0", "{}"]
)
def test_what_a_file_adds_is_removed(around: str) -> None:
    assert strip_secret(around.format(SECRET)) == SECRET
    assert header_value(around.format(SECRET), "api_key") == SECRET


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("\n", "control character U+000A"),
        ("\r\n", "control character U+000D"),
        ("\0", "control character U+0000"),
        ("\u00e9", "LATIN SMALL LETTER E WITH ACUTE"),
        ("\u2013", "EN DASH"),
        ("\u200b", "ZERO WIDTH SPACE"),
        ("\x7f", "control character U+007F"),
    ],
)
def test_what_no_header_holds_is_refused_without_the_secret(inside: str, says: str) -> None:
    with pytest.raises(HeaderValueError) as caught:
        header_value(f"{SECRET}{inside}{SECRET}", "api_key")
    assert SECRET not in str(caught.value)
    assert f"api_key holds a character that no HTTP header may hold, at place 23: {says}" in str(
        caught.value
    )


@pytest.mark.parametrize("empty", ["", " \n", "\ufeff"])
def test_nothing_left_is_refused(empty: str) -> None:
    assert header_problem(strip_secret(empty)) == "is empty"
