# SPDX-License-Identifier: Apache-2.0
"""An ingress on the loopback and a request to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import client as speech

from tests.unit.plugins.module_utils._speech.ingress import HOST, Site, certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Path, Path]:
    return certificate(folder, HOST, 9)


@pytest.fixture
def site(pair: tuple[Path, Path]) -> Iterator[Site]:
    served = Site(*pair)
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def request_(site: Site, pair: tuple[Path, Path]) -> speech.SpeechRequest:
    return speech.SpeechRequest(
        url=f"https://{HOST}:{site.port}",
        address="127.0.0.1",
        ca_pem=pair[0].read_text(),
        api_key="sk_1",
        transcript="Hello.",
        timeout_s=5,
    )
