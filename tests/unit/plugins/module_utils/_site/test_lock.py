# SPDX-License-Identifier: Apache-2.0
"""The lock of a site, against an API that keeps versions as the real one does."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._site.lock import HeldError, SiteLock

NOW = datetime(2026, 12, 1, 22, 0, tzinfo=UTC)
PATH = "/apis/coordination.k8s.io/v1/namespaces/cartesia/leases/sonic-rollout"


class Api:
    """Holds objects, and refuses a write to another version."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.version = 0
        # Runs once, right before the next write: what another controller does in between.
        self.between: Any = None
        # Without its namespace, no Lease can be created.
        self.empty = False

    def get(self, path: str, **_query: str) -> dict[str, Any]:
        if path not in self.objects:
            raise KubeError("not found", 404)
        return copy.deepcopy(self.objects[path])

    def _write(self, path: str, body: Any) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]  # type: ignore[no-any-return]

    def _meanwhile(self) -> None:
        between, self.between = self.between, None
        if between:
            between()

    def create(self, path: str, body: Any) -> dict[str, Any]:
        self._meanwhile()
        if self.empty and body["kind"] == "Lease":
            raise KubeError('namespaces "cartesia" not found', 404)
        if body["kind"] == "Namespace":
            self.empty = False
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            raise KubeError("already exists", 409)
        return self._write(path, body)

    def _same(self, path: str, version: str) -> None:
        if self.objects[path]["metadata"]["resourceVersion"] != version:
            raise KubeError("the object has been modified", 409)

    def replace(self, path: str, body: Any) -> dict[str, Any]:
        self._meanwhile()
        self._same(path, body["metadata"]["resourceVersion"])
        return self._write(path, body)

    def delete(self, path: str, version: str = "") -> None:
        self._same(path, version)
        del self.objects[path]


@pytest.fixture
def api() -> Api:
    return Api()


def lock(api: Api) -> SiteLock:
    return SiteLock(api, "cartesia", "sonic-rollout")


def test_take_renew_release(api: Api) -> None:
    assert lock(api).take("ada", "release 7", 600, NOW) is None
    later = NOW + timedelta(minutes=9)
    lock(api).take("ada", "release 7", 600, later)
    held = lock(api).read()
    assert held
    assert (held.holder, held.reason, held.since, held.renewed) == ("ada", "release 7", NOW, later)
    assert lock(api).release("ada", later)
    assert lock(api).read() is None
    assert not lock(api).release("ada", later)


def test_another_owner_is_refused_with_owner_reason_and_age(api: Api) -> None:
    lock(api).take("ada", "release 7", 3600, NOW)
    later = NOW + timedelta(minutes=5)
    words = r"ada \(release 7\), for 5 min 0 s, renewed 5 min 0 s ago, expires after 1 h 0 min"
    with pytest.raises(HeldError, match=words):
        lock(api).take("bob", "", 3600, later)
    with pytest.raises(HeldError, match="ada"):
        lock(api).release("bob", later)
    assert api.objects[PATH]["spec"]["holderIdentity"] == "ada"


def test_an_expired_lock_is_taken_over_and_reported(api: Api) -> None:
    lock(api).take("ada", "release 7", 600, NOW)
    later = NOW + timedelta(seconds=601)
    former = lock(api).take("bob", "release 8", 600, later)
    assert former
    assert former.holder == "ada"
    # The former owner, which lives after all, is refused.
    with pytest.raises(HeldError, match="bob"):
        lock(api).take("ada", "release 7", 600, later)


@pytest.mark.parametrize("expired", [True, False])
def test_of_two_controllers_at_once_one_is_refused(api: Api, expired: bool) -> None:
    now = NOW
    if expired:
        lock(api).take("dead", "", 60, NOW)
        now = NOW + timedelta(seconds=61)
    api.between = lambda: lock(api).take("bob", "first", 600, now)
    with pytest.raises(HeldError, match=r"bob \(first\)"):
        lock(api).take("ada", "second", 600, now)


def test_an_administrator_releases_the_lock_of_any_owner(api: Api) -> None:
    lock(api).take("ada", "", 600, NOW)
    assert lock(api).release("", NOW)
    assert not api.objects


def test_check_mode_writes_nothing(api: Api) -> None:
    lock(api).take("ada", "", 600, NOW, dry_run=True)
    assert not api.objects


def test_the_first_rollout_of_a_site_makes_its_namespace(api: Api) -> None:
    api.empty = True
    lock(api).take("a", "", 60, NOW)
    assert api.objects["/api/v1/namespaces/cartesia"]["metadata"].keys() == {
        "name",
        "resourceVersion",
    }
    assert PATH in api.objects


def test_another_controller_makes_the_namespace_first(api: Api) -> None:
    api.empty = True
    api.objects["/api/v1/namespaces/cartesia"] = {"metadata": {}}
    lock(api).take("a", "", 60, NOW)
    assert PATH in api.objects
