# SPDX-License-Identifier: Apache-2.0
"""The module site_checks against an API server over HTTP, which answers from a site."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, tzinfo
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.modules import site_checks

from tests.healthy_site import IDS, KUBERNETES, NOW, SPEECH, Site
from tests.unit.plugins.module_utils._verify.test_site import Api
from tests.unit.plugins.module_utils.conftest import kubeconfig
from tests.unit.plugins.modules.running import Modules


class Clock(datetime):
    """The time of the site that the tests build."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return NOW


class Server:
    """An API server that answers from a site."""

    def __init__(self, folder: Path) -> None:
        self.api = Api(Site())
        # As long as no Secret is written without encryption.
        self.api.exposition = ""
        api = self.api

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    if self.path == "/metrics":
                        status, text = 200, api.text(self.path)
                    else:
                        status, text = 200, json.dumps(api.get(self.path))
                except KubeError as error:
                    status, text = error.status, json.dumps({"message": str(error)})
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_unused: Any) -> None:
                pass

        class Parallel(ThreadingHTTPServer):
            # Connections that may wait. The module opens more at once than the default of 5.
            request_queue_size = 32

        self._server = Parallel(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.kubeconfig = kubeconfig(folder, f"http://127.0.0.1:{self._server.server_address[1]}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(site_checks, "datetime", Clock)
    made = Server(tmp_path)
    yield made
    made.close()


def options(**others: Any) -> dict[str, Any]:
    """What the role gives for the site that the server has."""
    wanted = Site().wanted
    return {
        "kubeconfig": "/none",
        "namespace": SPEECH,
        "workers": [asdict(worker) for worker in wanted.workers],
        "nodes": list(wanted.nodes),
        "gpus": dict(wanted.gpus),
        "kubernetes": KUBERNETES,
        "image_digests": dict(wanted.digests),
        "policies": list(wanted.policies),
    } | others


def by_id(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["id"]: check for check in result["checks"]}


@pytest.mark.parametrize("check", [False, True])
def test_a_site_in_order_passes_also_in_check_mode(
    modules: Modules, server: Server, check: bool
) -> None:
    result = modules.call(
        site_checks.main, check=check, **options(kubeconfig=server.kubeconfig, gpus={"gpu1": "2"})
    )
    assert "failed" not in result
    assert result["changed"] is False
    assert [c["id"] for c in result["checks"] if c["verdict"] != "pass"] == []
    assert tuple(by_id(result)) == IDS
    assert result["verdict"] == "pass"
    assert result["versions"] == {
        "kubernetes": "v1.36.3",
        "containerd": "2.1.4",
        "kernel": "6.8.0-60-generic",
        "system": "Ubuntu 24.04.3 LTS",
    }


def test_what_fails_is_a_result_and_not_the_modules_failure(
    modules: Modules, server: Server
) -> None:
    server.api.site.drop("nodes", "gpu2")
    server.api.errors = {"pods": KubeError("pods is forbidden", 403)}
    result = modules.call(site_checks.main, **options(kubeconfig=server.kubeconfig))
    assert "failed" not in result
    assert result["verdict"] == "fail"
    checks = by_id(result)
    assert checks["nodes"]["evidence"] == "gpu2 is not in the cluster"
    assert checks["images"]["evidence"] == "pods cannot be read: pods is forbidden"
    assert checks["images"]["remedy"]
    assert checks["scrape"]["verdict"] == "skipped"


@pytest.mark.parametrize(
    ("retries", "skip", "verdict", "pauses"),
    [(0, [], "fail", 0), (1, [], "pass", 1), (3, [], "pass", 1), (3, ["nodes"], "fail", 0)],
)
def test_a_failure_that_passes_is_looked_at_again(
    modules: Modules, server: Server, monkeypatch: pytest.MonkeyPatch,
    retries: int, skip: list[str], verdict: str, pauses: int,
) -> None:  # fmt: skip
    whole, paused = server.api.site, []
    server.api.site = Site()
    server.api.site.drop("nodes", "gpu2")

    def repair(seconds: float) -> None:
        paused.append(seconds)
        server.api.site = whole

    monkeypatch.setattr(time, "sleep", repair)
    given = options(kubeconfig=server.kubeconfig, retries=retries, skip=["gpus", *skip])
    result = modules.call(site_checks.main, **given)
    assert (result["verdict"], len(paused)) == (verdict, pauses)


def test_limits_and_options_reach_the_checks(modules: Modules, server: Server) -> None:
    given = options(
        kubeconfig=server.kubeconfig, limits={"certificates": "200", "disk": 90},
        encryption=False, policies=["other/deny"],
    )  # fmt: skip
    checks = by_id(modules.call(site_checks.main, **given))
    verdicts = {name: check["verdict"] for name, check in checks.items()}
    others = {name: verdict for name, verdict in verdicts.items() if verdict != "pass"}
    assert others == {
        "certificates": "warn", "disk": "fail", "encryption": "skipped", "policies": "fail",
    }  # fmt: skip
    assert checks["certificates"]["figures"][0]["limit"] == 200.0
    assert checks["certificates"]["ends"][0]["kind"] == "certificate"


def test_another_prometheus_may_be_asked(modules: Modules, server: Server) -> None:
    """The server knows the usual one only, so this one has no endpoints."""
    given = options(
        kubeconfig=server.kubeconfig, prometheus_namespace="other", prometheus_service="prom:80"
    )
    asked: list[str] = []
    usual = server.api.get

    def get(path: str, **query: str) -> dict[str, Any]:
        if "/proxy/" in path:
            asked.append(path.partition("?")[0])
            raise KubeError("no endpoints", 503)
        return usual(path, **query)

    server.api.get = get  # type: ignore[method-assign]
    checks = by_id(modules.call(site_checks.main, **given))
    assert checks["metrics"]["evidence"] == "Prometheus cannot be asked: no endpoints"
    assert set(asked) == {"/api/v1/namespaces/other/services/prom:80/proxy/api/v1/query"}


def test_versions_of_nodes_that_differ_or_cannot_be_read(modules: Modules, server: Server) -> None:
    server.api.site.get("nodes", "gpu1")["status"]["nodeInfo"]["kubeletVersion"] = "v1.35.1"
    del server.api.site.get("nodes", "gpu2")["status"]
    result = modules.call(site_checks.main, **options(kubeconfig=server.kubeconfig))
    assert result["versions"]["kubernetes"] == "v1.35.1, v1.36.3"
    server.api.errors = {"nodes": KubeError("nodes is forbidden", 403)}
    result = modules.call(site_checks.main, **options(kubeconfig=server.kubeconfig))
    assert result["versions"] == {}


def test_an_api_server_that_does_not_answer_fails_every_check_that_needs_it(
    modules: Modules, server: Server
) -> None:
    server.close()
    result = modules.call(site_checks.main, **options(kubeconfig=server.kubeconfig))
    checks = by_id(result)
    assert result["verdict"] == "fail"
    assert checks["nodes"]["verdict"] == "fail"
    assert "nodes cannot be read: no answer from http://127.0.0.1:" in checks["nodes"]["evidence"]
    assert [name for name, check in checks.items() if check["verdict"] == "pass"] == ["support"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"nodes": 3}, "limits: nodes has no limit: the checks clocks, disk, support, restarts,"),
        ({"disk": "much"}, "limits: disk: 'much' is not a number of 0 or more"),
        ({"disk": None}, "limits: disk: None is not a number of 0 or more"),
        ({"disk": -1}, "limits: disk: -1 is not a number of 0 or more"),
        ({"disk": "nan"}, "limits: disk: 'nan' is not a number of 0 or more"),
        ({"disk": "inf", "x": 1}, "is not a number of 0 or more; x has no limit: the checks "),
    ],
)
def test_bad_limits_are_named(modules: Modules, limits: dict[str, Any], message: str) -> None:
    result = modules.call(site_checks.main, **options(limits=limits))
    assert result["failed"]
    assert message in result["msg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"capacity": "many"},
            "workers[0]: invalid literal for int() with base 10: 'many': give the",
        ),
        ({"min_replicas": None}, "workers[0]: int() argument must be a string"),
    ],
)
def test_bad_workers_are_named(modules: Modules, change: dict[str, Any], message: str) -> None:
    given = options()
    given["workers"][0].update(change)
    result = modules.call(site_checks.main, **given)
    assert result["failed"]
    assert message in result["msg"]
    assert "the filter baremetal.sonic.worker_specs returns" in result["msg"]


def test_workers_that_are_not_complete_are_named(modules: Modules) -> None:
    """The variable workers in place of site_workers."""
    given = options(workers=[{"name": "tts", "workerArgs": {}}])
    result = modules.call(site_checks.main, **given)
    assert result["msg"] == (
        "workers[0]: 'image' is missing: give the list that the filter"
        " baremetal.sonic.worker_specs returns"
    )


@pytest.mark.parametrize("count", ["many", None, [2]])
def test_bad_gpus_are_named(modules: Modules, count: Any) -> None:
    result = modules.call(site_checks.main, **options(gpus={"gpu1": count}))
    assert result["failed"]
    assert result["msg"] == f"gpus: gpu1: {count!r} is not a whole number"


def test_without_a_kubeconfig_check_mode_ends_early(modules: Modules, tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    result = modules.call(site_checks.main, check=True, **options(kubeconfig=path))
    assert result == {
        "changed": False,
        "checks": [],
        "verdict": "skipped",
        "versions": {},
        "msg": f"would check the site; {path} does not exist yet",
    }
    assert modules.call(site_checks.main, **options(kubeconfig=path))["failed"]
