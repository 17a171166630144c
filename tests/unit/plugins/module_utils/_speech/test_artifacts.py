# SPDX-License-Identifier: Apache-2.0
"""Whether every pod has the files of the bucket."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.artifacts import (
    RefusedError,
    following,
    waits_for,
)

FOLLOWERS: dict[str, Any] = {
    "generation": "g2",
    "files": {"voices/a.json": "7", "voices/b.json": "8"},
    "followers": {"api/api-1": "g2", "worker/tts-1": "g2", "worker/gone": "g1"},
    "failure": "",
    "refused": "",
    "examined": {},
}


def pod(component: str, name: str, *, env: bool = True, **more: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": component}
    variables = [{"name": "SONIC_ARTIFACTS_URL", "value": "http://artifact-sync:8080"}]
    return {
        "metadata": {"name": name, "labels": labels} | more,
        "spec": {"containers": [{"name": "c", "env": variables if env else None}]},
        "status": {"phase": "Running"},
    }


PODS = [pod("api", "api-1"), pod("worker", "tts-1")]


def test_all_have_it() -> None:
    assert waits_for(FOLLOWERS, PODS, {"voices/a.json": "7", "voices/gone.json": ""}) == ""


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ({"voices/a.json": "9"}, "the artifact sync has not taken up voices/a.json"),
        ({"voices/c.json": "1"}, "the artifact sync has not taken up voices/c.json"),
        ({"voices/b.json": ""}, "the artifact sync has not taken up voices/b.json"),
    ],
)
def test_the_sync_is_behind(wanted: dict[str, str], missing: str) -> None:
    assert waits_for(FOLLOWERS, PODS, wanted) == missing
    failing = FOLLOWERS | {"failure": "NotFound"}
    assert waits_for(failing, PODS, wanted) == f"{missing}; it says: NotFound"


def test_a_refusal_of_these_files_ends_the_wait() -> None:
    reason = "voices/c.json: name: Field required"
    refused = FOLLOWERS | {"refused": reason, "failure": reason, "examined": {"voices/c.json": "1"}}
    with pytest.raises(RefusedError, match="Field required"):
        waits_for(refused, PODS, {"voices/c.json": "1"})
    # Another bad file blocks this one, but may be fixed meanwhile.
    assert "it says: voices/c.json" in waits_for(refused, PODS, {"voices/d.json": "1"})
    # It was fixed, or removed together with another one, after the sync looked.
    assert "not taken up" in waits_for(refused, PODS, {"voices/c.json": "2"})
    assert "voices/a.json" in waits_for(refused, PODS, {"voices/c.json": "", "voices/a.json": ""})


@pytest.mark.parametrize(
    ("late", "count"),
    [
        (pod("worker", "tts-2"), 1),
        (pod("worker", "gone"), 1),
        (pod("worker", "tts-2", deletionTimestamp="2026-11-21T00:00:00Z"), 0),
        (pod("worker", "vendors", env=False), 0),
        (pod("worker", "tts-2") | {"status": {"phase": "Pending"}}, 0),
    ],
)
def test_pods_that_are_behind(late: dict[str, Any], count: int) -> None:
    message = waits_for(FOLLOWERS, [*PODS, late], {"voices/a.json": "7"})
    assert message.startswith("1 of 3 pods do not have it yet" if count else "")
    assert bool(message) is bool(count)
    assert len(following([*PODS, late])) == 2 + count
