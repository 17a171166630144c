# SPDX-License-Identifier: Apache-2.0
"""Names of images, and what preflight says of those that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import images

REGISTRY, TAG = "registry.example.com:5000/speech", "sonic-1"
DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("worker", f"{REGISTRY}/worker:{TAG}"),
        ("worker:2", f"{REGISTRY}/worker:2"),
        (f"worker@{DIGEST}", f"{REGISTRY}/worker@{DIGEST}"),
        ("docker.io/library/worker", "docker.io/library/worker"),
        (f"docker.io/library/worker:1@{DIGEST}", f"docker.io/library/worker:1@{DIGEST}"),
    ],
)
def test_full(image: str, full: str) -> None:
    assert images.full_image(image, REGISTRY, TAG) == full
    assert images.full_image(full, REGISTRY, TAG) == full


@pytest.mark.parametrize(
    ("image", "short"),
    [
        ("worker", "worker"),
        (f"{REGISTRY}/worker:{TAG}", "worker"),
        (f"{REGISTRY}/worker@{DIGEST}", f"worker@{DIGEST}"),
        (f"{REGISTRY}/worker:other", "worker:other"),
        ("docker.io/library/worker", "docker.io/library/worker"),
    ],
)
def test_short(image: str, short: str) -> None:
    assert images.short_image(image, REGISTRY, TAG) == short


def judged(image: str, **values: Any) -> list[str]:
    worker = {"name": "tts", "workerArgs": {"image": image}}
    site = {"stack_image_registry": REGISTRY, "stack_release_tag": TAG, "workers_list": [worker]}
    return images.problems(site | values)


@pytest.mark.parametrize("source", ["manifests", "chart"])
@pytest.mark.parametrize("image", ["worker", f"worker@{DIGEST}", f"{REGISTRY}/worker:{TAG}"])
def test_good_images(image: str, source: str) -> None:
    assert judged(image, stack_source=source) == []


@pytest.mark.parametrize(
    ("image", "values", "said"),
    [
        ("Worker:", {}, "image Worker: is no name of an image"),
        ("worker@sha256:12", {}, "is no name of an image"),
        ("a b", {}, "is no name of an image"),
        ("worker", {"stack_release_tag": ""}, "has no registry and no tag"),
        ("docker.io/x/worker:1", {"stack_source": "chart"}, "cannot come from the chart"),
        (f"{REGISTRY}/worker:old", {"stack_source": "chart"}, "cannot come from the chart"),
    ],
)
def test_bad_images(image: str, values: dict[str, Any], said: str) -> None:
    [problem] = judged(image, **values)
    assert problem.startswith("worker tts: ")
    assert said in problem


def test_chart_needs_a_tag() -> None:
    assert len(judged("worker", stack_source="chart", stack_release_tag="")) == 1


@pytest.mark.parametrize("text", ["/etc/account.json", "[]", '{"client_email": "a@b"}'])
def test_bad_account_is_told_and_not_shown(text: str) -> None:
    [problem] = images.account_problems(text)
    assert "stack_service_account" in problem
    assert text not in problem


def test_good_account() -> None:
    assert images.account_problems("") == []
    account = {"client_email": "a@b", "private_key": "k"}
    assert images.account_problems(json.dumps(account)) == []
