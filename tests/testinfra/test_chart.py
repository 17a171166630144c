# SPDX-License-Identifier: Apache-2.0
"""The stack from a Helm chart: over the manifests' only when asked to, and then it speaks.

The chart is tests/chart/cartesia, a stand-in that takes the vendor's values. The lab's own stack is
removed for it, and put back at the end.
"""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.playbooks import ROOT, on_lab, refused_on_lab
from tests.testinfra.crowd import Crowd
from tests.testinfra.speaking import speech

STACK = "cartesia"
CHART = {"stack_source": "chart"}


def versions(apps: client.AppsV1Api) -> dict[str, str]:
    """The generation of each Deployment's specification, with its identity."""
    workloads = apps.list_namespaced_deployment(STACK).items
    return {d.metadata.name: f"{d.metadata.uid} {d.metadata.generation}" for d in workloads}


def revisions(core: client.CoreV1Api) -> list[str]:
    """The release's revisions, by the Secrets in which Helm keeps them."""
    kept = core.list_namespaced_secret(STACK, label_selector="owner=helm,name=cartesia").items
    return sorted(secret.metadata.name for secret in kept)


def workers(**args: Any) -> list[dict[str, Any]]:
    """The lab's workers, other things output of the one that speaks."""
    image = "us-docker.pkg.dev/baremetal-sonic/worker:{{ lab.reference_tag }}"
    speaks = {"model": "sonic-reference", "image": image, "capacity": 4, **args}
    hears = {"model": "ink-reference", "image": image, "capacity": 4, "operation": "STT"}
    scaling = {"enabled": True, "threshold": 0.6, "minReplicas": 1, "maxReplicas": 5}
    return [
        {"name": "tts-worker", "workerArgs": speaks, "autoscaling": scaling},
        {"name": "stt-worker", "workerArgs": hears},
    ]


def test_chart_over_manifests_is_refused(apps: client.AppsV1Api, info: dict[str, Any]) -> None:
    before = versions(apps)
    for playbook in ("platform.yml", "stack.yml"):
        output = refused_on_lab(playbook, **CHART)
        assert "was deployed with stack_source: manifests, and stack_source is now chart" in output
        assert "-e stack_switch=true" in output
        assert "changed=0" in output
    assert versions(apps) == before
    assert speech(info, "Nothing has changed.").duration_s > 0.5


def test_check_mode_shows_the_change_over(apps: client.AppsV1Api) -> None:
    before = versions(apps)
    output = on_lab("stack.yml", "--check", **CHART, stack_switch=True)
    assert re.search(r"^cp1 .* changed=[1-9]", output, re.MULTILINE), output
    assert versions(apps) == before


@pytest.fixture(scope="module")
def chart() -> Iterator[float]:
    """The lab with the chart's stack; the seconds that its deployment took."""
    started = time.monotonic()
    try:
        for playbook in ("platform.yml", "stack.yml"):
            on_lab(playbook, **CHART, stack_switch=True)
        yield time.monotonic() - started
    finally:
        for playbook in ("platform.yml", "stack.yml"):
            on_lab(playbook, stack_switch=True)


def test_chart_speaks(
    chart: float,
    info: dict[str, Any],
    apps: client.AppsV1Api,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("switch_s", round(chart))
    assert speech(info, "From the chart, through the same ingress.").duration_s > 1
    workloads = apps.list_namespaced_deployment(STACK).items
    release = "meta.helm.sh/release-name"
    made = {d.metadata.name for d in workloads if (d.metadata.annotations or {}).get(release)}
    assert made == {"cartesia-api", "license-proxy", "nats", "stt-worker", "tts-worker"}
    # Of the manifests' stack nothing runs on; the gateway is the platform's.
    assert {d.metadata.name for d in workloads} - made == {"egress-gateway"}


def test_secrets_are_there(chart: float, core: client.CoreV1Api) -> None:
    keys = core.read_namespaced_secret("api-key-secret", STACK).data
    assert set(keys) == {"CONTAINER_KEY", "CARTESIA_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}


def test_again_makes_no_revision(chart: float, core: client.CoreV1Api) -> None:
    before = revisions(core)
    assert len(before) == 1
    assert "changed=0" in on_lab("stack.yml", **CHART)
    assert revisions(core) == before


def test_archive_of_the_same_chart_makes_no_revision(
    chart: float, core: client.CoreV1Api, tmp_path: Path
) -> None:
    archive = tmp_path / "cartesia-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(ROOT / "tests/chart/cartesia", arcname="cartesia")
    before = revisions(core)
    on_lab("stack.yml", **CHART, vendor_chart_source=str(archive))
    assert revisions(core) == before
    assert "changed=0" in on_lab("stack.yml", **CHART, vendor_chart_source=str(archive))


def test_check_mode_shows_what_would_change(
    chart: float, core: client.CoreV1Api, apps: client.AppsV1Api
) -> None:
    before = (revisions(core), versions(apps))
    more = {"vendor_chart_values": {"legacyComponents": {"enabled": True}}}
    output = on_lab("stack.yml", "--check", "--diff", **CHART, **more)
    # The value, and what the chart makes of it.
    assert "\n-  enabled: false\n+  enabled: true\n" in output
    assert "\n+  legacy: 'true'\n" in output
    assert "changed=1 " in output
    assert (revisions(core), versions(apps)) == before


def test_unknown_value_is_refused(
    chart: float, core: client.CoreV1Api, apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    before = (revisions(core), versions(apps))
    output = refused_on_lab("stack.yml", **CHART, vendor_chart_values={"ingress": {"enabld": True}})
    assert "enabld" in output
    assert (revisions(core), versions(apps)) == before
    assert speech(info, "That was refused.").duration_s > 0.5


@pytest.mark.soak
def test_revision_without_capacity_goes_back(
    chart: float, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    before = revisions(core)
    # No GPU of this kind is anywhere.
    broken = {
        "model": "sonic-reference",
        "image": "worker",
        "capacity": 4,
        "gpuType": "nvidia.com/none",
    }
    output = refused_on_lab(
        "stack.yml", **CHART, workers=[{"name": "tts-worker", "workerArgs": broken}]
    )
    assert "is back at what revision 1 was, because revision 2 did not get capacity" in output
    assert "Insufficient nvidia.com/none" in output
    # Nor is there a place for a canary.
    assert "No canary: Deployment cartesia/tts-worker-canary" in output
    assert len(revisions(core)) == len(before) + 2
    assert speech(info, "As it was before.").duration_s > 0.5


@pytest.mark.soak
def test_first_pod_that_does_not_work_ends_the_run_before_the_release_changes(
    chart: float, core: client.CoreV1Api, apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    before = (revisions(core), versions(apps))
    # An image that can be pulled, but is no worker's.
    broken = workers(
        image="us-docker.pkg.dev/baremetal-sonic/license-proxy:{{ lab.reference_tag }}"
    )
    with Crowd(info, 2, sentences=3) as crowd:
        output = refused_on_lab("stack.yml", **CHART, workers=broken)
        heard = crowd.leave()
    assert (
        "Release cartesia is as it was: the first pod of the new version of tts-worker failed."
        in output
    )
    assert "Last log lines" in output
    assert (revisions(core), versions(apps)) == before
    assert (heard.broken, heard.refused) == ([], 0)
    assert heard.whole >= 2
    assert "changed=0" in on_lab("stack.yml", **CHART)


def test_upgrade_begins_with_one_pod_of_the_new_version(
    chart: float, core: client.CoreV1Api, apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    before = revisions(core)
    output = on_lab("stack.yml", **CHART, workers=workers(capacity=5))
    made = [
        event.message
        for event in core.list_namespaced_event(
            STACK,
            field_selector="involvedObject.kind=Deployment,involvedObject.name=tts-worker-canary",
        ).items
    ]
    # It had its pod, it was heard, and it is gone.
    assert any("Scaled up replica set" in message for message in made), made
    assert "No canary" not in output
    assert "tts-worker-canary" not in versions(apps)
    assert len(revisions(core)) == len(before) + 1
    assert speech(info, "With more room in each worker.").duration_s > 0.5
    assert "changed=0" in on_lab("stack.yml", **CHART, workers=workers(capacity=5))


def test_manifests_over_the_chart_are_refused(chart: float, apps: client.AppsV1Api) -> None:
    before = versions(apps)
    output = refused_on_lab("stack.yml")
    assert "was deployed with stack_source: chart, and stack_source is now manifests" in output
    assert versions(apps) == before
