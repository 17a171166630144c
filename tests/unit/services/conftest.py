# SPDX-License-Identifier: Apache-2.0
"""What the tests of the reference services share."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.services.stack import Stack, find_nats_server


@pytest.fixture(scope="session")
def espeak() -> None:
    """Skip where the speech library is not installed."""
    if not ctypes.util.find_library("espeak-ng"):
        pytest.skip("libespeak-ng is not installed: apt-get install espeak-ng")


@pytest.fixture
def bare_stack(tmp_path: Path, espeak: None) -> Iterator[Stack]:
    """A stack of which nothing runs yet."""
    nats_server = find_nats_server()
    if not nats_server:
        pytest.skip("no nats-server: set NATS_SERVER to its path, or put it on the search path")
    stack = Stack(tmp_path, nats_server)
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(bare_stack: Stack) -> Stack:
    """NATS, license proxy and API, ready; tests add the workers they need."""
    bare_stack.start_nats()
    bare_stack.start_proxy()
    bare_stack.start_api()
    bare_stack.wait_api()
    return bare_stack
