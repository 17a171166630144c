# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What is wanted of a site, what is there, and how its checks run.

Everything is read once, before the checks. A check is a pure function of both. One whose input
cannot be read fails with that reason: it has proved nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from .._kube.client import KubeError
from .._kube.store import service_proxy
from .._kube.types import Object
from .checks import FAIL, PASS, SKIPPED, Check, End, Figure

PARALLEL = 8


class SiteApi(Protocol):
    """What the checks need of the Kubernetes API."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return one object or list. Raises KubeError."""

    def text(self, path: str, **query: str) -> str:
        """Return the body of an endpoint that does not speak JSON. Raises KubeError."""


class UnreadableError(Exception):
    """A check's input cannot be read."""


@dataclass(frozen=True)
class Worker:
    """A worker of the inventory. See plugin_utils/worker_specs.py for the fields."""

    name: str
    image: str
    capacity: int
    gpu_type: str
    autoscaled: bool
    min_replicas: int

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Worker:
        """Return the worker of an entry of site_workers. Raises KeyError and ValueError."""
        return cls(
            str(spec["name"]), str(spec["image"]), int(spec["capacity"]), str(spec["gpu_type"]),
            bool(spec["autoscaled"]), int(spec["min_replicas"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What the inventory wants of a site.

    gpus: GPUs of each node, by its name. nodes: names of all nodes. kubernetes: the version.
    digests: sha256 of images, by name and tag. policies: namespace/name of each network policy.
    encryption: whether Secrets are encrypted in etcd. now: in UTC. limits: by the id of a check.
    skip: ids of checks that the operator skips.
    """

    namespace: str
    workers: Sequence[Worker]
    gpus: Mapping[str, int]
    nodes: Collection[str]
    kubernetes: str
    digests: Mapping[str, str]
    policies: Collection[str]
    encryption: bool
    now: datetime
    limits: Mapping[str, float] = field(default_factory=dict)
    skip: Collection[str] = ()


@dataclass(frozen=True)
class Sample:
    """A line of Prometheus' answer."""

    labels: Mapping[str, str]
    value: float


OBJECTS = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "deployments": "/apis/apps/v1/deployments",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "budgets": "/apis/policy/v1/poddisruptionbudgets",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "apiservices": "/apis/apiregistration.k8s.io/v1/apiservices",
    "scaledobjects": "/apis/keda.sh/v1alpha1/scaledobjects",
    # Only join tokens: of other Secrets a check needs nothing.
    "tokens": "/api/v1/namespaces/kube-system/secrets"
    "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken",
}
QUERIES = {
    # Prometheus answers with a target for 5 minutes after it no longer asks it. The longest
    # interval of the roles' monitors is 60 s.
    "up": "up and time() - timestamp(up) < 90",
    "alerts": 'ALERTS{alertstate="firing",severity!="none"}',
    "capacity": "inferno_worker_capacity",
    "clocks": "node_time_seconds - timestamp(node_time_seconds)",
    "disk": 'node_filesystem_avail_bytes{mountpoint=~"/|/var|/var/lib|/var/lib/containerd"}',
    "licence": "license_proxy_state == 1",
    "licence_end": "license_proxy_license_expires_timestamp_seconds",
    "certificates": "probe_ssl_earliest_cert_expiry or haproxyingress_cert_expire_date_epoch",
    "nats": "nats_varz_connections",
    "slow": "increase(nats_varz_slow_consumers[1h]) > 0",
    "restarts": "increase(kube_pod_container_status_restarts_total[1h]) > 0",
}


class Seen:
    """All that was read of a site. Raises UnreadableError where something could not be read."""

    def __init__(
        self,
        objects: Mapping[str, list[Object] | str],
        series: Mapping[str, list[Sample] | str],
        storage: Mapping[str, float] | str,
    ) -> None:
        """Text in place of a list, or of the mapping, is the reason why it could not be read.

        storage: operations by prefix with which the API server has written Secrets to etcd.
        """
        self._objects, self._series, self._storage = objects, series, storage

    def items(self, name: str, namespace: str = "") -> list[Object]:
        """Return objects, all or those of a namespace."""
        listed = self._objects[name]
        if isinstance(listed, str):
            raise UnreadableError(f"{name} cannot be read: {listed}")
        if not namespace:
            return listed
        return [item for item in listed if item["metadata"].get("namespace") == namespace]

    def samples(self, name: str) -> list[Sample]:
        """Return the answer to a query."""
        answer = self._series[name]
        if isinstance(answer, str):
            raise UnreadableError(f"Prometheus cannot be asked: {answer}")
        return answer

    def storage(self) -> Mapping[str, float]:
        """Return the prefixes with which Secrets were written to etcd."""
        if isinstance(self._storage, str):
            raise UnreadableError(f"the API server's metrics cannot be read: {self._storage}")
        return self._storage


@dataclass(frozen=True)
class Result:
    """A check's result without its name.

    own: no failure of another check explains this one. An expired licence is one, whatever runs.
    """

    verdict: str
    evidence: str
    figures: tuple[Figure, ...] = ()
    ends: tuple[End, ...] = ()
    own: bool = False


@dataclass(frozen=True)
class Definition:
    """A check.

    function: takes what its kind of check reads, and the limit. remedy: what to do on a failure.
    after: when one of these fails, a failure of this one is its consequence. limit: the default
    of verify_limits for this check.
    """

    id: str
    title: str
    function: Callable[..., Result]
    remedy: str
    runbook: str = ""
    after: tuple[str, ...] = ()
    limit: float | None = None


def run(definitions: Sequence[Definition], seen: Seen, wanted: Wanted) -> list[Check]:
    """Run the checks of what was read, in their order."""

    def ask(item: Definition, limit: float) -> Result:
        try:
            return item.function(seen, wanted, limit)
        except UnreadableError as error:
            return Result(FAIL, str(error))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # One odd object must not cost the results of all other checks.
            what = f"{type(error).__name__}: {error}"
            return Result(FAIL, f"what the cluster returned cannot be understood: {what}")

    return each(definitions, wanted.limits, ask, skip=wanted.skip)


def each(
    definitions: Sequence[Definition],
    limits: Mapping[str, float],
    ask: Callable[[Definition, float], Result],
    failed: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Check]:
    """Run checks in their order. Those that a check comes after must stand before it.

    Args:
        definitions: the checks.
        limits: limits by id, in place of the defaults.
        ask: runs one check with its limit.
        failed: ids of checks of another list that have failed.
        skip: ids of checks whose failure is not shown, so that it explains no other one.
    """
    checks: list[Check] = []
    # What to repair first, by the check that failed: itself, or what it follows from. A check that
    # comes after a consequence is one, too.
    causes: dict[str, tuple[str, ...]] = {name: (name,) for name in failed}
    for item in definitions:
        default = item.limit if item.limit is not None else 0.0
        result = ask(item, limits.get(item.id, default))
        if result.verdict == FAIL:
            roots = dict.fromkeys(root for name in item.after for root in causes.get(name, ()))
            shown = [root for root in roots if root not in skip and not result.own]
            causes[item.id] = tuple(shown) or (item.id,)
            if shown:
                why = f"{result.evidence}. {' and '.join(shown)} failed: repair that first"
                result = Result(SKIPPED, why, result.figures, result.ends)
        good = result.verdict in (PASS, SKIPPED)
        checks.append(
            Check(
                item.id, item.title, result.verdict, result.evidence,
                "" if good else item.remedy, "" if good else item.runbook,
                result.figures, result.ends,
            )
        )  # fmt: skip
    return checks


def gather(api: SiteApi, prometheus: tuple[str, str]) -> Seen:
    """Read a site. Reads that fail do not raise.

    Args:
        api: the cluster's API.
        prometheus: namespace of Prometheus, and its Service as NAME:PORT.
    """
    base = f"{service_proxy(*prometheus)}/api/v1/query?query="

    def listed(path: str) -> list[Object] | str:
        try:
            return list(api.get(path).get("items") or [])
        except KubeError as error:
            return str(error)

    def asked(expression: str) -> list[Sample] | str:
        try:
            answer = api.get(base + quote(expression, safe=""))
            return [
                Sample(item["metric"], float(item["value"][1])) for item in answer["data"]["result"]
            ]
        except KubeError as error:
            return str(error)
        except (LookupError, TypeError, ValueError) as error:
            return f"it returned no list of samples ({type(error).__name__}: {error})"

    def written() -> Mapping[str, float] | str:
        try:
            return stored_secrets(api.text("/metrics"))
        except (KubeError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(PARALLEL) as pool:
        storage = pool.submit(written)
        objects = {name: pool.submit(listed, path) for name, path in OBJECTS.items()}
        series = {name: pool.submit(asked, expression) for name, expression in QUERIES.items()}
    return Seen(_results(objects), _results(series), storage.result())


def _results(jobs: Mapping[str, Future[Any]]) -> dict[str, Any]:
    return {name: job.result() for name, job in jobs.items()}


STORED = "apiserver_storage_transformation_operations_total{"


def stored_secrets(exposition: str) -> dict[str, float]:
    """Return with which prefixes an API server wrote Secrets to etcd, and how many times.

    Encrypted values begin with k8s:enc:, see staging/src/k8s.io/apiserver/pkg/storage/value.
    """
    prefixes: dict[str, float] = {}
    for line in exposition.splitlines():
        if line.startswith(STORED) and 'resource="secrets"' in line and '"to_storage"' in line:
            _before, _equals, rest = line.partition('transformer_prefix="')
            prefix, _quote, value = rest.partition('"')
            prefixes[prefix] = prefixes.get(prefix, 0.0) + float(value.rpartition(" ")[2])
    return prefixes
