# SPDX-License-Identifier: Apache-2.0
"""Names of images, and preflight's messages about invalid ones."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import images
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import plain_defaults

from tests.unit.rendering import ROOT

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


def problems_of(image: str, **values: Any) -> list[str]:
    worker = {"name": "tts", "workerArgs": {"image": image}}
    site = {"site_image_registry": REGISTRY, "site_release_tag": TAG, "workers": [worker]}
    return images.problems({**plain_defaults(), **site, **values})


@pytest.mark.parametrize("source", ["manifests", "chart"])
@pytest.mark.parametrize("image", ["worker", f"worker@{DIGEST}", f"{REGISTRY}/worker:{TAG}"])
def test_good_images(image: str, source: str) -> None:
    assert problems_of(image, stack_source=source) == []


@pytest.mark.parametrize(
    ("image", "values", "message"),
    [
        ("Worker:", {}, "image Worker: is no name of an image"),
        ("worker@sha256:12", {}, "is no name of an image"),
        ("a b", {}, "is no name of an image"),
        ("worker", {"site_release_tag": ""}, "has no registry and no tag"),
        ("docker.io/x/worker:1", {"stack_source": "chart"}, "cannot come from the chart"),
        (f"{REGISTRY}/worker:old", {"stack_source": "chart"}, "cannot come from the chart"),
    ],
)
def test_bad_images(image: str, values: dict[str, Any], message: str) -> None:
    [problem] = problems_of(image, **values)
    assert problem.startswith("worker tts: ")
    assert message in problem


def test_chart_needs_a_tag() -> None:
    assert len(problems_of("worker", stack_source="chart", site_release_tag="")) == 1


@pytest.mark.parametrize("text", ["/etc/account.json", "[]", '{"client_email": "a@b"}'])
def test_bad_account_is_reported_and_not_shown(text: str) -> None:
    [problem] = images.account_problems(text)
    assert "site_service_account" in problem
    assert text not in problem


def test_good_account() -> None:
    assert images.account_problems("") == []
    account = {"client_email": "a@b", "private_key": "k"}
    assert images.account_problems(json.dumps(account)) == []


NATS = "docker.io/library/nats:2.15.2"


def test_an_image_gets_the_digest_of_its_tag() -> None:
    assert images.pinned_image(NATS, {NATS: DIGEST}) == f"{NATS}@{DIGEST}"
    assert images.pinned_image(NATS, {}) == NATS


@pytest.mark.parametrize(
    "image",
    # A table that was not renewed must not bring back what another version replaced.
    ["docker.io/library/nats:2.16.0", f"docker.io/library/nats@{DIGEST}", f"{NATS}@{DIGEST}"],
)
def test_another_tag_gets_no_digest(image: str) -> None:
    assert images.pinned_image(image, {NATS: DIGEST}) == image


@pytest.mark.parametrize(
    ("digests", "message"),
    [
        ({NATS: DIGEST}, None),
        ({NATS: "0a" * 32}, "is no digest"),
        ({NATS: "sha256:latest"}, "is no digest"),
        ({"nats": DIGEST}, "nats is no image in full"),
        ({f"{NATS}@{DIGEST}": DIGEST}, "is no image in full"),
    ],
)
def test_digests(digests: dict[str, str], message: str | None) -> None:
    actual = images.problems({**plain_defaults(), "site_image_digests": digests})
    assert len(actual) == (1 if message else 0)
    assert message is None or message in actual[0]


def test_every_template_that_names_an_image_looks_for_its_digest() -> None:
    """But for the vendor's chart, which makes its names itself."""
    named = []
    for path in sorted((ROOT / "roles").glob("*/templates/*.j2")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if (
                re.match(r"\s*-? ?(image|reference): \{\{", line)
                and "vendor_chart" not in path.parts
            ):
                named.append(
                    "pinned_image(site_image_digests)" in " ".join(lines[number : number + 2])
                )
            assert not re.match(r"\s*image: [a-z\"']", line), f"{path}: {line}"
    assert len(named) >= 17
    assert all(named)
