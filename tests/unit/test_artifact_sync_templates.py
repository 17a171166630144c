# SPDX-License-Identifier: Apache-2.0
"""The objects of the role artifact_sync."""

from __future__ import annotations

from typing import Any

from tests.unit.rendering import render

KEY = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"


def deployment(**variables: Any) -> dict[str, Any]:
    """The pod's description."""
    made = render(
        "artifact_sync",
        "artifact-sync.yml.j2",
        site_versions={"sonic_reference": "0.1.0"},
        **variables,
    )
    [deployments] = [one for one in made if one and one["kind"] == "Deployment"]
    spec: dict[str, Any] = deployments["spec"]["template"]["spec"]
    return spec


def environment(spec: dict[str, Any]) -> dict[str, str]:
    [container] = spec["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_the_disk_is_limited() -> None:
    for more in ({"artifact_sync_bucket": "b"}, {"artifact_sync_volume": {"nfs": {"server": "s"}}}):
        volumes = deployment(**more)["volumes"]
        assert [one["emptyDir"] for one in volumes if "emptyDir" in one] == [{"sizeLimit": "128Mi"}]


def test_the_key_is_handed_on_where_there_is_one() -> None:
    for more in ({"artifact_sync_bucket": "b"}, {"artifact_sync_volume": {"nfs": {"server": "s"}}}):
        assert "SONIC_ARTIFACTS_PUBLIC_KEY" not in environment(deployment(**more))
        signed = environment(deployment(artifact_sync_public_key=KEY, **more))
        assert signed["SONIC_ARTIFACTS_PUBLIC_KEY"] == KEY
        assert signed["SONIC_ARTIFACTS_INTERVAL"] == "30"
