# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the first pod of a new revision really speaks.

Requests go to whichever worker has the most free capacity, so nobody can ask one pod. But it counts
what it answered: requests are made until that count has grown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._kube.client import KubeApi, KubeError
from .._kube.store import pod_metrics
from .._speech.client import Speech, SpeechError, SpeechRequest, check_speech
from .metrics import total

SPOKEN = "inferno_worker_ttfa_count"
# All workers are busy: that says nothing of the new one.
BUSY = (429, 503)
PAUSE_S = 1.0
MIN_DURATION_S = 0.5


class CanaryError(Exception):
    """Speech did not come, or came from others only."""


def hear(
    api: KubeApi,
    namespace: str,
    pods: Sequence[str],
    request: SpeechRequest,
    tries: int,
    port: int,
    speak: Callable[[SpeechRequest], Speech],
    sleep: Callable[[float], None],
) -> int:
    """Ask for speech until one of the pods has given it; returns how often speech came.

    Args:
        api: how the pods' metrics are read.
        namespace: the pods' namespace.
        pods: names of the new revision's ready pods.
        request: what to say.
        tries: how often to ask at most.
        port: where the pods serve /metrics.
        speak: makes a request, and raises SpeechError.
        sleep: waits so many seconds.

    Raises CanaryError.
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
