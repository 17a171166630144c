# SPDX-License-Identifier: Apache-2.0
"""The artifact sync's HTTP side: generations for followers, and which follower has which."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sonic_reference import service
from sonic_reference.artifact_sync.metrics import SyncMetrics
from sonic_reference.artifact_sync.sync import Sync

LONGEST_WAIT_S = 30.0
# A follower that has not asked for this long is gone.
FORGET_S = 90.0
MAX_FOLLOWERS = 10_000


@dataclass
class Seen:
    """What a follower had when it last asked."""

    generation: str
    at: float


class Followers:
    """The followers that asked within FORGET_S, and what they have."""

    def __init__(self, sync: Sync, metrics: SyncMetrics) -> None:
        self._sync = sync
        self._seen: dict[str, Seen] = {}
        metrics.followers.labels("current").set_function(lambda: self._count(True))
        metrics.followers.labels("behind").set_function(lambda: self._count(False))

    def note(self, pod: str, generation: str) -> None:
        """Note a follower's request; beyond MAX_FOLLOWERS the oldest is dropped."""
        self._seen.pop(pod, None)
        self._seen[pod] = Seen(generation, time.monotonic())
        if len(self._seen) > MAX_FOLLOWERS:
            del self._seen[next(iter(self._seen))]

    def all(self) -> dict[str, str]:
        """Return the generation of each follower that asked within FORGET_S."""
        oldest = time.monotonic() - FORGET_S
        self._seen = {pod: seen for pod, seen in self._seen.items() if seen.at >= oldest}
        return {pod: seen.generation for pod, seen in self._seen.items()}

    def _count(self, current: bool) -> int:
        newest = self._sync.current.manifest.generation if self._sync.current else ""
        return sum((have == newest) is current for have in self.all().values())


def create_app(sync: Sync, metrics: SyncMetrics) -> Starlette:
    """Return the application: GET /artifacts, /artifacts/files/SHA256, /followers, and metrics."""
    app = Starlette(
        routes=[
            *service.exact(
                Route("/artifacts", artifacts),
                Route("/artifacts/files/{sha256}", file),
                Route("/followers", list_followers),
            ),
            *service.metrics_routes(),
        ]
    )
    app.state.sync = sync
    app.state.followers = Followers(sync, metrics)
    app.state.registry = metrics.registry
    app.state.ready = lambda: sync.current is not None
    return app


async def artifacts(request: Request) -> Response:
    """Answer GET /artifacts when there is another generation than the follower has."""
    sync = _sync(request)
    query = request.query_params
    have, pod = query.get("have", "")[:64], query.get("pod", "")[:253]
    try:
        wait_s = min(max(float(query.get("wait", "0")), 0.0), LONGEST_WAIT_S)
    except ValueError:
        return PlainTextResponse("wait is not a number", 400)
    if pod:
        request.app.state.followers.note(pod, have)
    if sync.current is None:
        return PlainTextResponse("there is no generation yet", 503, {"Retry-After": "1"})
    newer = await sync.newer(have, wait_s)
    if newer is None:
        return Response(status_code=204)
    return Response(newer.manifest.model_dump_json(), media_type="application/json")


async def file(request: Request) -> Response:
    """Answer GET /artifacts/files/SHA256 with a file of the current generation."""
    generation = _sync(request).current
    for entry in generation.manifest.entries if generation else ():
        if generation and entry.sha256 == request.path_params["sha256"]:
            return FileResponse(generation.path(entry))
    # A follower that began just before a newer generation came asks for that one next.
    return PlainTextResponse("the generation has no such file", 404)


async def list_followers(request: Request) -> Response:
    """Answer GET /followers: the current generation, who has which, and the last failure."""
    sync = _sync(request)
    manifest = sync.current.manifest if sync.current else None
    return JSONResponse(
        {
            "generation": manifest.generation if manifest else "",
            "files": sync.versions(),
            "followers": request.app.state.followers.all(),
            "failure": sync.failure,
            "refused": sync.failure if sync.reason == "invalid" else "",
            "examined": sync.examined,
        }
    )


def _sync(request: Request) -> Sync:
    sync: Sync = request.app.state.sync
    return sync
