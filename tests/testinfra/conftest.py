# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the lab: the output of ``python -m lab info``, and a connection to each host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import testinfra
import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.diagnosis import describe
from tests.monitoring import Prometheus
from tests.sites import Site

ROOT = Path(__file__).resolve().parents[2]
ONE_HOST = "each_host_in_soak"


@cache
def lab_info() -> dict[str, Any]:
    """Return the lab's description. Raises CalledProcessError when there is no lab."""
    command = [sys.executable, "-m", "lab", "info"]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    described: dict[str, Any] = json.loads(result.stdout)
    return described


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each host (``node``), or once for each with GPUs (``gpu_node``)."""
    hosts = lab_info()["hosts"]
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", sorted(hosts))
    if "gpu_node" in metafunc.fixturenames:
        names = sorted(name for name, host in hosts.items() if "gpu_workers" in host["groups"])
        assert names, "the lab has no host in gpu_workers"
        later = [pytest.mark.soak] if metafunc.definition.get_closest_marker(ONE_HOST) else []
        rest = [pytest.param(name, marks=later) for name in names[1:]]
        metafunc.parametrize("gpu_node", [names[0], *rest])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests to `make soak` where `make test` runs, which has 90 minutes in all."""
    if os.environ.get("SONIC_TESTS") != "quick":
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """Put what the cluster lacked beside a test that failed."""
    report = yield
    if report.failed:
        try:
            with config.new_client_from_config(config_file=lab_info()["kubeconfig"]) as connected:
                description = describe(connected)
        except (urllib3.exceptions.HTTPError, ApiException, config.ConfigException) as error:
            description = f"The cluster does not tell: {error}"
        report.sections.append(("The cluster", description))
    return report


@pytest.fixture(scope="session")
def info() -> dict[str, Any]:
    """The lab's description."""
    return lab_info()


@cache
def connect(name: str) -> Any:
    """Return testinfra's handle on a host, by SSH with the lab's key."""
    described = lab_info()
    return testinfra.get_host(
        f"ssh://root@{described['hosts'][name]['address']}",
        ssh_identity_file=described["ssh_key"],
        ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        " -o LogLevel=ERROR",
    )


@pytest.fixture(scope="session")
def machines() -> Callable[[str], Any]:
    """Any host of the lab by its name."""
    return connect


@pytest.fixture
def machine(node: str) -> Any:
    """A host of the lab."""
    return connect(node)


@pytest.fixture
def gpu_machine(gpu_node: str) -> Any:
    """A host of the lab that has GPUs."""
    return connect(gpu_node)


@pytest.fixture(scope="session")
def api(info: dict[str, Any]) -> Iterator[client.ApiClient]:
    """A client of the cluster's API, as the administrator, from outside."""
    with config.new_client_from_config(config_file=info["kubeconfig"]) as connected:
        yield connected


@pytest.fixture(scope="module")
def site(info: dict[str, Any]) -> Iterator[Site]:
    """The lab as a client has it that trusts its authority and resolves its name."""
    name, resolve = str(urlsplit(info["ingress_url"]).hostname), socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **more: Any) -> Any:
        address = info["ingress_address"] if host in (name, name.encode()) else host
        return resolve(address, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolver)
        patch.setenv("SSL_CERT_FILE", info["ca_file"])
        patch.setenv("REQUESTS_CA_BUNDLE", info["ca_file"])
        yield Site(info["ingress_url"], info["api_key"])


@pytest.fixture(scope="session")
def prometheus(info: dict[str, Any]) -> Prometheus:
    """The lab's Prometheus."""
    assert info["prometheus_url"], "the lab has no Prometheus"
    return Prometheus(info["prometheus_url"])


@pytest.fixture(scope="session")
def core(api: client.ApiClient) -> client.CoreV1Api:
    """The core API: nodes, pods, services."""
    return client.CoreV1Api(api)


@pytest.fixture(scope="session")
def apps(api: client.ApiClient) -> client.AppsV1Api:
    """The API of workloads: Deployments, StatefulSets, DaemonSets."""
    return client.AppsV1Api(api)
