# SPDX-License-Identifier: Apache-2.0
"""Compare figures, and the images that pods run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._site.figures import (
    compare,
    image_problems,
)
from ansible_collections.baremetal.sonic.plugins.modules.site_figures import LIMITS

BEFORE = {"error_rate": 0.0, "ttfa_p95": 0.4, "capacity": 8.0, "restarts": 0.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"error_rate": 0.009, "ttfa_p95": 0.79, "capacity": 7.5, "restarts": 0.2}, ""),
        ({"error_rate": 0.02}, "2.0% of the requests fail, 1.0% may"),
        ({"ttfa_p95": 4.0}, "first audio takes 4.00 s (p95), before 0.40 s"),
        ({"capacity": 4.0}, "capacity is 4 streams, before 8"),
        ({"capacity": None}, "capacity is 0 streams, before 8"),
        ({"restarts": 1.2}, "1 containers restarted, 0 may"),
        # Without requests there is nothing to compare.
        ({"error_rate": None, "ttfa_p95": None}, ""),
    ],
)
def test_worse_than_before(change: dict[str, float | None], words: str) -> None:
    problems = compare(BEFORE, {**BEFORE, **change}, LIMITS)
    assert problems == ([words] if words else [])


def pod(image: str, image_id: str = "", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "w-1", "labels": {"app": "w"}, **metadata},
        "spec": {"containers": [{"name": "w", "image": image}]},
        "status": {"containerStatuses": [{"name": "w", "imageID": image_id}]},
    }


def workload(image: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "w"},
        "spec": {
            "selector": {"matchLabels": {"app": "w"}},
            "template": {"spec": {"containers": [{"name": "w", "image": image}]}},
        },
    }


def test_a_pod_of_the_former_image_is_named() -> None:
    [problem] = image_problems([workload("r/w:2")], [pod("r/w:1")])
    assert problem == "pod w-1 runs r/w:1, its workload wants r/w:2"
    assert not image_problems([workload("r/w:2")], [pod("r/w:1", deletionTimestamp="now")])


def test_a_digest_must_be_what_the_runtime_reports() -> None:
    wanted = "r/w:2@sha256:aa"
    assert not image_problems([workload(wanted)], [pod(wanted, "r/w@sha256:aa")])
    [problem] = image_problems([workload(wanted)], [pod(wanted, "r/w@sha256:bb")])
    assert problem == "pod w-1 runs r/w@sha256:bb, its workload wants r/w:2@sha256:aa"
