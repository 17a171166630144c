# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import Check
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.speech import Client
from ansible_collections.baremetal.sonic.plugins.modules import speech_checks

from tests.unit.plugins.modules.running import Modules

GIVEN: dict[str, Any] = {
    "url": "https://speech.example.com",
    "api_key": " secret ",
    "model_id": "sonic-3",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the checks are run with; one fails."""
    calls: list[tuple[Any, ...]] = []

    def run(*arguments: Any) -> list[Check]:
        calls.append(arguments)
        return [Check("speech", "speaks", "fail", "no voice"), Check("x", "x", "pass", "")]

    monkeypatch.setattr(speech_checks, "run", run)
    return calls


def test_options_reach_the_checks(modules: Modules, asked: list[tuple[Any, ...]]) -> None:
    result = modules.call(
        speech_checks.main,
        **GIVEN, stt_model_id="ink", limits={"speech-first-audio": "300"}, failed=["nats"],
        skip=["closed-ports"], hosts=["192.0.2.1"], patience=9, requests=2, timeout=3,
    )  # fmt: skip
    client, limits, failed, skip = asked[0]
    assert isinstance(client, Client)
    assert (client.request.api_key, client.request.timeout_s) == ("secret", 3)
    assert (client.stt_model, client.requests, client.patience_s) == ("ink", 2, 9)
    assert client.hosts == ["192.0.2.1"]
    assert (limits, failed, skip) == ({"speech-first-audio": 300.0}, ["nats"], ["closed-ports"])
    # The module does not fail: the report shows all results.
    assert not result.get("failed")
    assert (result["verdict"], result["changed"], len(result["checks"])) == ("fail", False, 2)


def test_check_mode_asks_for_nothing(modules: Modules, asked: list[tuple[Any, ...]]) -> None:
    result = modules.call(speech_checks.main, check=True, **GIVEN)
    assert (result["checks"], result["verdict"], asked) == ([], "skipped", [])


def test_all_wrong_limits_at_once(modules: Modules, asked: list[tuple[Any, ...]]) -> None:
    result = modules.call(
        speech_checks.main, **GIVEN, limits={"speech": 1, "disk": "much", "clocks": "nan"}
    )
    assert "speech has no limit: the checks clocks, disk," in result["msg"]
    assert "disk: 'much' is not a number of 0 or more; clocks: 'nan' is not a " in result["msg"]
    assert asked == []
