# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Names of container images, as an inventory writes them and as the two sources want them.

An inventory may give an image by its name alone, as the vendor's examples do: registry and tag then
come from site_image_registry and site_release_tag. The roles' own manifests need it in full, the
vendor's chart completes names itself. A digest (NAME@sha256:...) stands for itself in both.
Digests of images that are named by tag come from site_image_digests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# The grammar of github.com/distribution/reference, without its rare cases.
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_NAME = re.compile(rf"{_PART}(?:@sha256:[0-9a-f]{{64}})?")


def full_image(image: str, registry: str, tag: str) -> str:
    """An image with its registry and its tag or digest; one with a registry is taken as it is."""
    if "/" in image:
        return image
    if "@" not in image and ":" not in image:
        image = f"{image}:{tag}"
    return f"{registry}/{image}"


def pinned_image(image: str, digests: Mapping[str, str]) -> str:
    """An image with its digest, where there is one for it; the tag stays, for people to read.

    Args:
        image: the image in full.
        digests: digests (sha256:...) by images in full, tags included: another tag has another
            digest, and a table that was not renewed must not bring back what it replaced.
    """
    digest = digests.get(image)
    return f"{image}@{digest}" if digest else image


def digest_problems(digests: Mapping[str, Any]) -> list[str]:
    """What is wrong with the variable site_image_digests."""
    lines = []
    for image, digest in digests.items():
        if "@" in image or "/" not in image or not _REFERENCE.fullmatch(image):
            lines.append(
                f"site_image_digests: {image} is no image in full: give REGISTRY/NAME:TAG as the"
                " role's variable has it"
            )
        if not re.fullmatch("sha256:[0-9a-f]{64}", str(digest)):
            lines.append(
                f"site_image_digests: {image}: {digest} is no digest: give sha256: and 64"
                " hexadecimal digits"
            )
    return lines


def short_image(image: str, registry: str, tag: str) -> str:
    """An image as the vendor's chart wants it: without registry and tag, which it adds."""
    name = image.removeprefix(f"{registry}/")
    return name if "@" in name else name.removesuffix(f":{tag}")


def _problem(image: str, registry: str, tag: str, source: str) -> str:
    """What is wrong with an image for a source; empty when nothing is."""
    if not _REFERENCE.fullmatch(image):
        return (
            "is no name of an image: give REGISTRY/NAME:TAG, REGISTRY/NAME@sha256:DIGEST (64"
            " hexadecimal digits), or the NAME alone"
        )
    if source == "chart":
        if not _NAME.fullmatch(short_image(image, registry, tag)):
            return (
                "cannot come from the chart, which adds registry and tag itself: give a NAME below"
                f" site_image_registry ({registry}) with the tag site_release_tag"
                f" ({tag or 'not set'})"
            )
    elif not tag and not re.search(r"[/@:]", image):
        return "has no registry and no tag: give it in full, or set site_release_tag"
    return ""


def problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with where the stack and its images come from.

    Args:
        values: variables of all roles by name, defaults included.
    """
    source = values["stack_source"]
    registry = values["site_image_registry"]
    tag = values["site_release_tag"]
    lines = []
    if source == "chart" and not tag:
        lines.append("stack_source chart needs site_release_tag: the tag of the vendor's images")
    for worker in values.get("workers") or []:
        image = str(worker["workerArgs"]["image"])
        if problem := _problem(image, registry, tag, source):
            lines.append(f"worker {worker['name']}: image {image} {problem}")
    lines += digest_problems(values["site_image_digests"])
    return lines + account_problems(values["site_service_account"])


ACCOUNT_KEYS: Sequence[str] = ("client_email", "private_key")


def account_problems(text: str) -> list[str]:
    """Check that a text can be a service-account file. No message shows the text."""
    if not text:
        return []
    try:
        account = json.loads(text)
        if all(account.get(key) for key in ACCOUNT_KEYS):
            return []
    except (ValueError, AttributeError):
        pass
    problem = (
        "site_service_account is not the text of a service-account file: give what the vendor"
        f" sent, JSON with {' and '.join(ACCOUNT_KEYS)}"
    )
    return [problem]
