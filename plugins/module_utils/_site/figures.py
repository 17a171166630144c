# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A site's figures from Prometheus, the images that its pods run, and how to compare them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from .._kube.client import KubeError
from .._kube.objects import LABELS
from .._kube.pods import matches
from .._kube.store import collection, service_proxy
from .._kube.types import Object, ReadApi

# One table: each figure's unit and query. NS is the namespace, RANGE the time to look back over.
QUERIES: Mapping[str, tuple[str, str]] = {
    "requests": ("requests", 'sum(increase(api_request_seconds_count{namespace="NS"}[RANGE]))'),
    "error_rate": (
        "ratio",
        (
            'sum(rate(api_request_seconds_count{namespace="NS",status=~"5.."}[RANGE]))'
            ' / sum(rate(api_request_seconds_count{namespace="NS"}[RANGE]))'
        ),
    ),
    "ttfa_p95": (
        "seconds",
        (
            "histogram_quantile(0.95, sum by (le)"
            ' (rate(api_ttfa_seconds_bucket{namespace="NS"}[RANGE])))'
        ),
    ),
    "capacity": ("streams", 'sum(inferno_worker_capacity{namespace="NS"})'),
    "restarts": (
        "restarts",
        'sum(increase(kube_pod_container_status_restarts_total{namespace="NS"}[RANGE]))',
    ),
}
Figures: TypeAlias = "dict[str, float | None]"


def ask(api: ReadApi, base: str, query: str) -> float | None:
    """Return the value of a query with one result; None for none. Raises KubeError."""
    answer = api.get(f"{base}/api/v1/query", query=query)
    if answer.get("status") != "success":
        raise KubeError(str(answer.get("error") or json.dumps(answer)[:200]))
    results = answer["data"]["result"]
    value = float(results[0]["value"][1]) if results else math.nan
    return None if math.isnan(value) else value


def figures(api: ReadApi, service: tuple[str, str], namespace: str, seconds: int) -> Figures:
    """Return the figures of the last seconds. Raises KubeError.

    service: namespace of Prometheus, and its Service as NAME:PORT.
    """
    base = service_proxy(*service)
    return {
        name: ask(api, base, query.replace("NS", namespace).replace("RANGE", f"{seconds}s"))
        for name, (_unit, query) in QUERIES.items()
    }


def compare(
    before: Mapping[str, float | None], after: Figures, limits: Mapping[str, float]
) -> list[str]:
    """Return what is worse than before by more than the limits allow."""
    problems = []
    if (errors := after["error_rate"]) is not None:
        most = (before.get("error_rate") or 0.0) + limits["error_rate"]
        if errors > most:
            problems.append(f"{errors:.1%} of the requests fail, {most:.1%} may")
    slow, former = after["ttfa_p95"], before.get("ttfa_p95")
    if slow is not None and former and slow > max(former * limits["ttfa"], limits["ttfa_floor"]):
        problems.append(f"first audio takes {slow:.2f} s (p95), before {former:.2f} s")
    was, now = before.get("capacity"), after["capacity"]
    if was and (now or 0.0) < was * limits["capacity"]:
        problems.append(f"capacity is {now or 0:.0f} streams, before {was:.0f}")
    restarts = after["restarts"] or 0.0
    # Prometheus extrapolates: 1 restart may be 1.2.
    if round(restarts) > limits["restarts"]:
        problems.append(f"{restarts:.0f} containers restarted, {limits['restarts']:.0f} may")
    return problems


def image_problems(workloads: Iterable[Object], pods: Iterable[Object]) -> list[str]:
    """Return which pods run something else than their workload wants.

    A reference with a digest must also be the digest that the runtime reports.
    """
    pods = list(pods)
    problems = []
    for workload in workloads:
        wanted = {
            container["name"]: container["image"]
            for container in workload["spec"]["template"]["spec"]["containers"]
        }
        for pod in pods:
            if pod["metadata"].get("deletionTimestamp") or not matches(
                workload["spec"]["selector"], pod["metadata"].get("labels") or {}
            ):
                continue
            problems += _pod_problems(pod, wanted)
    return problems


def _pod_problems(pod: Object, wanted: Mapping[str, str]) -> list[str]:
    name = pod["metadata"]["name"]
    asked = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    running = {item["name"]: str(item.get("imageID", "")) for item in statuses}
    problems = []
    for container, image in wanted.items():
        if asked.get(container) != image:
            problems.append(f"pod {name} runs {asked.get(container)}, its workload wants {image}")
            continue
        digest = image.rpartition("@")[2] if "@" in image else ""
        if digest and not running.get(container, "").endswith(digest):
            has = running.get(container) or "nothing"
            problems.append(f"pod {name} runs {has}, its workload wants {image}")
    return problems


def images(
    api: ReadApi, namespace: str, expected: Mapping[str, str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the images of each of our workloads, and what is wrong. Raises KubeError.

    expected: an image that each of these Deployments must want, by its name.
    """
    workloads: list[Object] = []
    for resource in ("deployments", "statefulsets"):
        items = api.get(collection(resource, namespace)).get("items") or []
        workloads += [item for item in items if _ours(item)]
    pods = api.get(collection("pods", namespace)).get("items") or []
    running = [
        pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    wanted = {
        item["metadata"]["name"]: [
            container["image"] for container in item["spec"]["template"]["spec"]["containers"]
        ]
        for item in workloads
    }
    problems = [
        f"Deployment {name} wants {', '.join(wanted.get(name, ['nothing']))}, the inventory {image}"
        for name, image in expected.items()
        if image not in wanted.get(name, [])
    ]
    return wanted, problems + image_problems(workloads, running)


def _ours(item: Mapping[str, Any]) -> bool:
    return LABELS.items() <= (item["metadata"].get("labels") or {}).items()
