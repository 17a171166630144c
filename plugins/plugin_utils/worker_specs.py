# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The one model of a worker: an entry of the variable workers, complete.

The inventory writes workers in the form of the vendor's Terraform and Helm chart. This module reads
that form, fills every default, and gives each value one name. Everything else reads the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from .images import full_image

TTS, STT = "TTS", "STT"


class InvalidWorkersError(ValueError):
    """The variable workers cannot be read; `problems` has one line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        """problems: what is wrong with which entry, and what to do."""
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class WorkerSpec:
    """A worker, one Deployment of pods that run one model.

    name: of the worker and its Deployment. model: as clients ask for it. image: in full, by tag or
    by digest. capacity: streams that a pod serves at once. gpu_type: extended resource of which
    each pod takes one. operation: TTS or STT. use_cb: whether it batches continuously. use_lora:
    whether it loads LoRA adapters. autoscaled: whether the load sets the number of pods. threshold:
    share of the streams in use, from 0 to 1, above which pods are added. min_replicas,
    max_replicas: bounds of the number of pods; equal when the worker is not autoscaled.
    """

    name: str
    model: str
    image: str
    capacity: int
    gpu_type: str = "nvidia.com/gpu"
    operation: str = TTS
    use_cb: bool = True
    use_lora: bool = False
    autoscaled: bool = False
    threshold: float = 0.6
    min_replicas: int = 1
    max_replicas: int = 10

    @property
    def speaks(self) -> bool:
        """Whether the worker turns text into speech."""
        return self.operation == TTS

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and `speaks`, for templates."""
        return asdict(self) | {"speaks": self.speaks}

    def problems(self) -> list[str]:
        """Return numbers of autoscaling that no cluster accepts or that never scale.

        The messages have the vendor's keys, as the inventory does.
        """
        if not self.autoscaled:
            return []
        name = f"worker {self.name}: autoscaling"
        lines = []
        if self.min_replicas < 0:
            lines.append(f"{name}.minReplicas is {self.min_replicas}: set it to 0 or more")
        lowest = max(self.min_replicas, 1)
        if self.max_replicas < lowest:
            lines.append(f"{name}.maxReplicas is {self.max_replicas}: set it to {lowest} or more")
        if not 0 < self.threshold <= 1:
            lines.append(
                f"{name}.threshold is {self.threshold:g}: it is a share of the streams that are"
                " there, so set it above 0 and up to 1"
            )
        return lines


def worker_specs(workers: object, registry: str, tag: str) -> list[WorkerSpec]:
    """Return the workers of the inventory, complete and in its order.

    Args:
        workers: the variable workers.
        registry: site_image_registry, for images without a registry.
        tag: site_release_tag, for images without registry and tag.

    Raises:
        InvalidWorkersError: entries are incomplete or mistyped.
    """
    if not isinstance(workers, Sequence) or isinstance(workers, str):
        raise InvalidWorkersError(["workers is not a list: give a list of dictionaries"])
    specs: list[WorkerSpec] = []
    problems: list[str] = []
    for number, entry in enumerate(workers):
        fields, wrong = _fields(entry, f"workers[{number}]")
        problems += wrong
        if not wrong:
            image = full_image(fields.pop("image"), registry, tag)
            specs.append(WorkerSpec(image=image, **fields))
    if problems:
        raise InvalidWorkersError(problems)
    return specs


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return str(value)


def _operation(value: object) -> str:
    if value not in (TTS, STT):
        raise ValueError
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError
    return int(value)


def _truth(value: object) -> bool:
    return bool(boolean(value))


# For each field: the key in the vendor's form, how it is converted, and what is wanted.
_KEYS: Mapping[str, tuple[str, Callable[[Any], Any], str]] = {
    "name": ("name", _text, "a name"),
    "model": ("workerArgs.model", _text, "the model's name"),
    "image": ("workerArgs.image", _text, "an image"),
    "capacity": ("workerArgs.capacity", _whole, "a whole number of streams"),
    "gpu_type": ("workerArgs.gpuType", _text, "a resource's name"),
    "operation": ("workerArgs.operation", _operation, f"{TTS} or {STT}"),
    "use_cb": ("workerArgs.useCB", _truth, "true or false"),
    "use_lora": ("workerArgs.useLora", _truth, "true or false"),
    "autoscaled": ("autoscaling.enabled", _truth, "true or false"),
    "threshold": ("autoscaling.threshold", float, "a number"),
    "min_replicas": ("autoscaling.minReplicas", _whole, "a whole number of pods"),
    "max_replicas": ("autoscaling.maxReplicas", _whole, "a whole number of pods"),
    "replicas": ("replicas", _whole, "a whole number of pods"),
}
_REQUIRED = ("name", "model", "image", "capacity")


def _fields(entry: object, place: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that an entry gives, in their types, and what is wrong with it."""
    fields: dict[str, Any] = {}
    problems = []
    for field, (path, convert, wanted) in _KEYS.items():
        value = _value(entry, path)
        if value is None:
            if field in _REQUIRED:
                problems.append(f"{place}.{path} is missing: give {wanted}")
            continue
        try:
            fields[field] = convert(value)
        except (TypeError, ValueError):
            problems.append(f"{place}.{path} is {value!r}: give {wanted}")
    replicas = fields.pop("replicas", WorkerSpec.min_replicas)
    if not fields.get("autoscaled", WorkerSpec.autoscaled):
        fields |= {"min_replicas": replicas, "max_replicas": replicas}
    return fields, problems


def _value(entry: object, path: str) -> Any:
    """Return what a path of keys leads to; None where a key is missing or without a value."""
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry
