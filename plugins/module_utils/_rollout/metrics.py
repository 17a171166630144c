# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What speech workers report: the Prometheus text format, and whether their capacity is there."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

from .._kube.client import KubeApi, KubeError
from .._kube.pods import name_of
from .._kube.store import pod_metrics
from .progress import Assessment, Target, ready_pods

CAPACITY = "inferno_worker_capacity"
LOAD = "inferno_worker_load"

_LINE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True)
class Sample:
    """One line of an exposition: name, labels and value."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str) -> list[Sample]:
    """All samples of an exposition in text format 0.0.4.

    Raises ValueError, with the line, for a line that is neither a sample nor a comment.
    """
    samples = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.match(stripped)
        if not found:
            raise ValueError(f"not a Prometheus metric line: {stripped[:80]!r}")
        name, labels, value = found.groups()
        try:
            samples.append(Sample(name, _labels(labels or ""), float(value)))
        except ValueError as error:
            raise ValueError(f"not a Prometheus metric line: {stripped[:80]!r}") from error
    return samples


def _labels(text: str) -> dict[str, str]:
    labels, position = {}, 0
    while position < len(text):
        found = _LABEL.match(text, position)
        if not found:
            raise ValueError(f"not a label set: {text!r}")
        labels[found.group(1)] = re.sub(
            r'\\[\\"n]', lambda escape: _ESCAPES[escape.group()], found.group(2)
        )
        position = found.end()
    return labels


def total(text: str, name: str) -> float | None:
    """The sum of a gauge over its label sets, or None where the exposition lacks it.

    NaN and infinite samples count as nothing: they are no streams that a worker could take.
    Raises ValueError for a text that is no exposition.
    """
    values = [sample.value for sample in parse(text) if sample.name == name]
    return sum(value for value in values if math.isfinite(value)) if values else None


@dataclass(frozen=True)
class PodCapacity:
    """What one worker pod reports. problem: empty when its metrics say what they should."""

    capacity: float = 0.0
    load: float = 0.0
    problem: str = ""


def pod_capacity(text: str) -> PodCapacity:
    """What a worker's exposition says about its capacity and load."""
    try:
        capacity, load = total(text, CAPACITY), total(text, LOAD)
    except ValueError as error:
        return PodCapacity(problem=str(error))
    if capacity is None:
        return PodCapacity(problem=f"its metrics lack {CAPACITY}")
    if capacity <= 0:
        return PodCapacity(0.0, load or 0.0, f"{CAPACITY} is 0: its model is not loaded")
    return PodCapacity(capacity, load or 0.0)


class CapacityCheck:
    """A check for wait.Wait: every ready pod of a worker reports capacity, and enough of it."""

    def __init__(
        self,
        api: KubeApi,
        workers: Collection[Target],
        min_capacity: float,
        port: int,
        idle: Collection[Target] = (),
    ) -> None:
        """min_capacity: the least sum of one worker's pods. port: where pods serve /metrics.

        idle: workers that may be scaled to no pods.
        """
        self._api = api
        self._workers = workers
        self._min_capacity = min_capacity
        self._port = port
        self._idle = idle
        self._found: dict[Target, dict[str, PodCapacity]] = {}

    def __call__(self, assessment: Assessment) -> str:
        """What a workload still misses; empty for one that is not a worker."""
        if assessment.target not in self._workers:
            return ""
        found = {
            name_of(pod): self._ask(assessment.target.namespace, name_of(pod))
            for pod in ready_pods(assessment)
        }
        self._found[assessment.target] = found
        for pod, reported in found.items():
            if reported.problem:
                return f"pod {pod}: {reported.problem}"
        capacity = sum(reported.capacity for reported in found.values())
        if capacity < self._min_capacity:
            if not assessment.progress.desired:
                return "" if assessment.target in self._idle else "it is scaled to no pods"
            return f"its capacity is {capacity:g}, {self._min_capacity:g} is wanted"
        return ""

    def _ask(self, namespace: str, pod: str) -> PodCapacity:
        try:
            return pod_capacity(self._api.text(pod_metrics(namespace, pod, self._port)))
        except KubeError as error:
            return PodCapacity(problem=f"its metrics cannot be read: {error}")

    def summary(self, assessments: Iterable[Assessment]) -> dict[str, dict[str, object]]:
        """For each worker's name, what its pods reported when they were last asked."""
        told: dict[str, dict[str, object]] = {}
        for assessment in assessments:
            if assessment.target in self._workers:
                found = self._found.get(assessment.target, {})
                told[assessment.target.name] = {
                    "replicas": assessment.progress.desired,
                    "ready": assessment.progress.ready,
                    "capacity": sum(reported.capacity for reported in found.values()),
                    "load": sum(reported.load for reported in found.values()),
                    "pods": {pod: asdict(reported) for pod, reported in found.items()},
                }
        return told
