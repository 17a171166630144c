# SPDX-License-Identifier: Apache-2.0
"""Where a site has a storage class: the licence's state and the models are on its volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client

from lab.waiting import wait_while
from tests.playbooks import on_lab
from tests.testinfra.speaking import speech

pytestmark = pytest.mark.soak
STACK = "cartesia"
CLASS = "lab-static"
HOST = "gpu1"
FOLDER = "/var/lib/lab-volumes"
PERSISTENT = {
    "license_proxy_persistence": {"enabled": True, "storageClass": CLASS, "size": "1Gi"},
    "workers_cache_class": CLASS,
    "workers_cache_size": "2Gi",
}


def volume(name: str, size: str, mode: str, source: dict[str, Any]) -> dict[str, Any]:
    """A volume that an administrator has made."""
    return {
        "metadata": {"name": name},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": size},
            "accessModes": [mode],
            "persistentVolumeReclaimPolicy": "Retain",
            **source,
        },
    }


@pytest.fixture(scope="module")
def volumes(
    api: client.ApiClient, core: client.CoreV1Api, machines: Callable[[str], Any]
) -> Iterator[None]:
    """A class without a provisioner and two volumes, with the stack on them, then without."""
    machines(HOST).check_output(f"mkdir -p {FOLDER}/license")
    here = {"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [HOST]}
    ]}  # fmt: skip
    local = {
        "local": {"path": f"{FOLDER}/license"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    shared = {"hostPath": {"path": f"{FOLDER}/models", "type": "DirectoryOrCreate"}}
    classes = client.StorageV1Api(api)
    classes.create_storage_class(
        {
            "metadata": {"name": CLASS},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    core.create_persistent_volume(volume("lab-license", "1Gi", "ReadWriteOnce", local))
    core.create_persistent_volume(volume("lab-models", "2Gi", "ReadWriteMany", shared))
    try:
        on_lab("stack.yml", **PERSISTENT)
        yield
    finally:
        on_lab("stack.yml")
        # A claim is its site's data: the playbooks leave it, whatever the variables say later.
        claims = {claim.metadata.name for claim in claimed(core)}
        for name in claims:
            core.delete_namespaced_persistent_volume_claim(name, STACK)
        wait_while(lambda: "claims are left" if claimed(core) else "", 60)
        for name in ("lab-license", "lab-models"):
            core.delete_persistent_volume(name)
        classes.delete_storage_class(CLASS)
        machines(HOST).check_output(f"rm -r {FOLDER}")
        assert claims == {"license-proxy", "worker-models"}


def claimed(core: client.CoreV1Api) -> list[Any]:
    """The stack's claims of this class; the lab's own folder has one, too."""
    claims: list[Any] = core.list_namespaced_persistent_volume_claim(STACK).items
    return [claim for claim in claims if claim.spec.storage_class_name == CLASS]


@pytest.mark.usefixtures("volumes")
def test_state_is_on_the_volume(
    core: client.CoreV1Api, info: dict[str, Any], machines: Callable[[str], Any]
) -> None:
    assert {claim.status.phase for claim in claimed(core)} == {"Bound"}
    assert speech(info, "Kept on a volume.").duration_s > 0.5
    assert machines(HOST).check_output(f"ls -A {FOLDER}/license")
    [worker, *_others] = core.list_namespaced_pod(
        STACK, label_selector="app.kubernetes.io/name=tts-worker"
    ).items
    sources = [v.persistent_volume_claim.claim_name for v in worker.spec.volumes
               if v.persistent_volume_claim]  # fmt: skip
    assert sources == ["worker-models"]


@pytest.mark.usefixtures("volumes")
def test_again_changes_nothing() -> None:
    assert "changed=0" in on_lab("stack.yml", **PERSISTENT)
