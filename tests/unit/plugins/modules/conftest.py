# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the modules' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.plugins.modules.running import Modules


@pytest.fixture
def modules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Modules:
    """Modules run for real; the programs that they call are the test's."""
    return Modules(tmp_path, capsys, monkeypatch)
