# SPDX-License-Identifier: Apache-2.0
"""What the tests of the reference services share."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import Stack, find_nats_server


@pytest.fixture(scope="session")
def espeak() -> None:
    """Skip where the speech library is not installed."""
    if not ctypes.util.find_library("espeak-ng"):
        pytest.skip("libespeak-ng is not installed: apt-get install espeak-ng")


@pytest.fixture(scope="session")
def nats_server(espeak: None) -> str:
    """The NATS server's binary; skips where there is none."""
    actual = find_nats_server()
    if not actual:
        pytest.skip("no nats-server: set NATS_SERVER to its path, or put it on the search path")
    return actual


@pytest.fixture
def bare_stack(tmp_path: Path, nats_server: str) -> Iterator[Stack]:
    """A stack of which nothing runs yet."""
    stack = Stack(tmp_path, nats_server)
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def quiet_stack(tmp_path_factory: pytest.TempPathFactory, nats_server: str) -> Iterator[Stack]:
    """A whole stack for tests that only ask it something."""
    stack = Stack(tmp_path_factory.mktemp("stack"), nats_server)
    try:
        stack.start_nats()
        stack.start_proxy()
        stack.start_api(SONIC_QUEUE_TIMEOUT="15")
        stack.start_worker(SONIC_BATCH_SIZE="4")
        stack.start_listener()
        stack.wait_api()
        stack.wait_worker()
        stack.wait_worker("listener")
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
