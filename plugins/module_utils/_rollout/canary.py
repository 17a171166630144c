# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Test that the first pod of a new revision speaks.

A request goes to the worker with the most free capacity, so no client can choose a pod. But each
pod counts its answers: send requests until the count of the new pod grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._kube.client import KubeApi, KubeError
from .._kube.store import pod_metrics
from .._speech.client import Speech, SpeechError, SpeechRequest, check_speech
from .metrics import total

SPOKEN = "inferno_worker_ttfa_count"
# All workers are busy. That is no failure of the new one.
BUSY = (429, 503)
PAUSE_S = 1.0
MIN_DURATION_S = 0.5


class CanaryError(Exception):
    """The canary gave no speech."""


def wait_for_speech(
    api: KubeApi,
    namespace: str,
    pods: Sequence[str],
    request: SpeechRequest,
    tries: int,
    port: int,
    speak: Callable[[SpeechRequest], Speech],
    sleep: Callable[[float], None],
) -> int:
    """Ask for speech until one of the pods gives it; return the number of answers.

    Args:
        api: reads the pods' metrics.
        namespace: namespace of the pods.
        pods: names of the ready pods of the new revision.
        request: the request to send.
        tries: how many requests to send at most.
        port: port where the pods serve /metrics.
        speak: sends a request; raises SpeechError.
        sleep: sleeps for a number of seconds.

    Raises:
        CanaryError: none of the pods gave speech, or their metrics cannot be read.
    """

    def spoken() -> float | None:
        counts = []
        for pod in pods:
            try:
                counts.append(total(api.text(pod_metrics(namespace, pod, port)), SPOKEN))
            except (KubeError, ValueError) as error:
                raise CanaryError(f"its metrics cannot be read: {error}") from error
        return None if None in counts else sum(count or 0 for count in counts)

    before = spoken()
    answered, busy = 0, ""
    for _number in range(tries):
        try:
            check_speech(speak(request), MIN_DURATION_S)
        except SpeechError as error:
            if error.status not in BUSY:
                raise CanaryError(str(error)) from error
            busy = f"; the last answer was: {error}"
            sleep(PAUSE_S)
            continue
        answered += 1
        if before is not None and (spoken() or 0) > before:
            return answered
    if before is None and answered:
        return answered
    raise CanaryError(f"of {tries} requests for speech it answered none{busy}")
