# SPDX-License-Identifier: Apache-2.0
"""The objects of the role license_proxy, by mode and by the place of its state."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lab.licences import Vendor
from tests.unit.rendering import applied

VENDOR = Vendor()
LICENCE = VENDOR.licence()
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "own authority": {"license_proxy_ca": "-----BEGIN CERTIFICATE-----\n"},
    "airgapped": {
        "license_proxy_mode": "airgapped",
        "license_proxy_license": LICENCE,
        "license_proxy_public_key": VENDOR.public_key,
        "license_proxy_persistence": {"enabled": True, "hostPath": "/srv/license"},
    },
    "claim": {"license_proxy_persistence": {"enabled": True, "storageClass": "fast"}},
    "other host": {
        "license_proxy_persistence": {"enabled": True, "hostPath": "/srv/l", "host": "cp2"}
    },
}

Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Objects]:
    """The objects that the role's templates make, by the name of the variant."""
    site = {
        "site_leader": "cp1",
        "site_versions": {"sonic_reference": "0.1.0"},
        "license_proxy_api_key": "sk_test",
    }
    return {
        name: applied("license_proxy", "license-proxy.yml.j2", **site, **variables)
        for name, variables in VARIANTS.items()
    }


def find(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    [actual] = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return actual


def deployment(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = find(objects, "Deployment", "license-proxy")["spec"]
    return spec


def environment(objects: Objects) -> dict[str, str]:
    [container] = deployment(objects)["template"]["spec"]["containers"]
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def volume(objects: Objects, name: str) -> dict[str, Any]:
    volumes: Objects = deployment(objects)["template"]["spec"]["volumes"]
    [actual] = [item for item in volumes if item["name"] == name]
    return actual


def test_connected_is_the_default(rendered: dict[str, Objects]) -> None:
    objects = rendered["defaults"]
    assert environment(objects) == {
        "SONIC_SITE": "rack1",
        "SONIC_STATE_DIR": "/var/lib/license-proxy",
        "SONIC_LICENSE_MODE": "connected",
        "SONIC_LICENSE_ENDPOINT": "https://api.cartesia.ai/self-hosted/license",
        "SONIC_LICENSE_GRACE": "259200",
        "SONIC_LICENSE_CHECK_INTERVAL": "300",
    }
    assert deployment(objects)["strategy"]["type"] == "RollingUpdate"
    assert volume(objects, "state")["emptyDir"] == {"sizeLimit": "1Gi"}
    assert volume(objects, "tmp")["emptyDir"] == {"sizeLimit": "16Mi"}
    assert find(objects, "Secret", "license-proxy")["data"] == {}
    assert not [o for o in objects if o["kind"] == "PersistentVolumeClaim"]


def test_an_own_authority_is_mounted_and_a_new_one_makes_new_pods(
    rendered: dict[str, Objects],
) -> None:
    objects = rendered["own authority"]
    data = find(objects, "Secret", "license-proxy")["data"]
    assert base64.b64decode(data["ca.pem"]).startswith(b"-----BEGIN")
    assert environment(objects)["SONIC_LICENSE_CA_FILE"] == "/etc/license-proxy/ca.pem"
    marks = [
        deployment(rendered[name])["template"]["metadata"]["annotations"]["baremetal.sonic/ca"]
        for name in ("defaults", "own authority")
    ]
    assert marks[0] != marks[1]


def test_air_gapped_has_the_licence_in_a_secret_only(rendered: dict[str, Objects]) -> None:
    objects = rendered["airgapped"]
    given = find(objects, "Secret", "license-proxy")["data"]["license.json"]
    assert base64.b64decode(given).decode() == LICENCE
    actual = environment(objects)
    assert actual["SONIC_LICENSE_MODE"] == "airgapped"
    assert actual["SONIC_LICENSE_PUBLIC_KEY"].strip() == VENDOR.public_key.strip()
    assert actual["SONIC_LICENSE_FILE"] == "/etc/license-proxy/license.json"
    assert "SONIC_LICENSE_ENDPOINT" not in actual
    assert json.loads(LICENCE)["signature"] not in json.dumps(deployment(objects))


def test_a_folder_of_a_host_ties_the_pod_to_it(rendered: dict[str, Objects]) -> None:
    for name, host in (("airgapped", "cp1"), ("other host", "cp2")):
        spec = deployment(rendered[name])["template"]["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/hostname": host}
        assert spec["tolerations"][0]["key"] == "node-role.kubernetes.io/control-plane"
        # No container of root's: the role makes the folder for the pod's user.
        assert "initContainers" not in spec
        assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        [made] = [item for item in rendered[name] if item["kind"] == "PersistentVolume"]
        terms = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert terms[0]["matchExpressions"][0]["values"] == [host]
        claim = volume(rendered[name], "state")["persistentVolumeClaim"]["claimName"]
        assert made["spec"]["claimRef"]["name"] == claim


def test_a_claim_is_made_and_used(rendered: dict[str, Objects]) -> None:
    objects = rendered["claim"]
    claim = find(objects, "PersistentVolumeClaim", "license-proxy")["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"]["requests"]["storage"] == "1Gi"
    assert volume(objects, "state")["persistentVolumeClaim"] == {"claimName": "license-proxy"}
    spec = deployment(objects)["template"]["spec"]
    assert spec["securityContext"]["fsGroup"] == 10001
    assert "nodeSelector" not in spec


@pytest.mark.parametrize("name", ["airgapped", "claim"])
def test_two_pods_never_write_to_one_volume(rendered: dict[str, Objects], name: str) -> None:
    assert deployment(rendered[name])["strategy"] == {"type": "Recreate"}
