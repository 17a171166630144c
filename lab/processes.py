# SPDX-License-Identifier: Apache-2.0
"""The reference services as processes on loopback, with a real NATS server between them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from lab.bus import Bus, free_port
from lab.config import REPOSITORY
from lab.licences import Vendor
from lab.waiting import wait

SERVICES = REPOSITORY / "services"
KEY = "sk_test_0123456789"
# Only failures take that long; a busy machine needs much of it for a start.
DEADLINE_S = 60.0


def find_nats_server() -> str | None:
    """Return the NATS server's binary from NATS_SERVER or the search path."""
    return os.environ.get("NATS_SERVER") or shutil.which("nats-server")


def until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Wait for a condition, looking often. Raises TimeoutError with what was waited for."""
    wait(what, condition, timeout_s, pause=0.02)


class Stack:
    """A NATS server, a license proxy, an API pod, and workers as needed."""

    def __init__(self, folder: Path, nats_server: str) -> None:
        self._folder = folder
        self._nats_server = nats_server
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.vendor = Vendor()
        self.bus = Bus(folder / "nats", free_port())
        self._proxy_port = free_port()
        self.api_port = free_port()
        self.api_metrics_port = free_port()
        self.worker_ports: dict[str, int] = {}
        self.artifacts_port = free_port()

    @property
    def url(self) -> str:
        """The API's URL."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def proxy_url(self) -> str:
        """The license proxy's URL."""
        return f"http://127.0.0.1:{self._proxy_port}"

    def start_nats(self) -> None:
        """Start the NATS server."""
        self._start("nats", [self._nats_server, *self.bus.arguments], self.bus.environment)

    def start_proxy(self, **more: str) -> None:
        """Start the license proxy, by default air-gapped with a licence."""
        licence = self._folder / "licence.json"
        if not licence.exists():
            licence.write_text(self.vendor.licence(), encoding="utf-8")
        settings = {
            "CARTESIA_API_KEY": KEY,
            "SONIC_PORT": str(self._proxy_port),
            "SONIC_STATE_DIR": str(self._folder / "license-proxy"),
            "SONIC_LICENSE_MODE": "airgapped",
            "SONIC_LICENSE_PUBLIC_KEY": self.vendor.public_key,
            "SONIC_LICENSE_FILE": str(licence),
        }
        self._service("license_proxy", "license_proxy", settings | more)

    def start_api(self, name: str = "api", **more: str) -> None:
        """Start an API pod; a second one has a name, and ports, of its own."""
        settings = {
            **self.bus.settings("api"),
            "LICENSE_PROXY_URL": self.proxy_url,
            "CARTESIA_API_KEY": KEY,
            "SONIC_PORT": str(self.api_port),
            "SONIC_METRICS_PORT": str(self.api_metrics_port),
            "SONIC_QUEUE_TIMEOUT": "0.5",
            "SONIC_STREAM_TIMEOUT": "2",
            "SONIC_SHUTDOWN_DELAY": "0",
        }
        self._service(name, "api", settings | more)

    def start_artifacts(self, **more: str) -> None:
        """Start the artifact sync; its settings must name a source."""
        settings = {
            "SONIC_PORT": str(self.artifacts_port),
            "SONIC_ARTIFACTS_FOLDER": str(self._folder / "artifact-sync"),
            "SONIC_ARTIFACTS_INTERVAL": "0.2",
        }
        self._service("artifacts", "artifact_sync", settings | more)

    def follows(self, name: str) -> dict[str, str]:
        """Return the settings of a pod that has its artifacts from the artifact sync."""
        return {
            "SONIC_ARTIFACTS_URL": f"http://127.0.0.1:{self.artifacts_port}",
            "SONIC_ARTIFACTS_FOLDER": str(self._folder / f"artifacts-{name}"),
        }

    def start_worker(self, name: str = "worker", **more: str) -> None:
        """Start a worker; several have names of their own."""
        self.worker_ports[name] = free_port()
        settings = {
            "SONIC_MODEL": "sonic-reference",
            "SONIC_BATCH_SIZE": "2",
            "SONIC_METRICS_PORT": str(self.worker_ports[name]),
        } | more
        user = "stt" if settings.get("SONIC_OPERATION") == "STT" else "tts"
        bus = self.bus.settings(user, settings["SONIC_MODEL"])
        self._service(name, "worker", {**bus, **settings})

    def start_listener(self, name: str = "listener") -> None:
        """Start a worker that listens."""
        self.start_worker(name, SONIC_OPERATION="STT", SONIC_MODEL="ink-reference")

    def wait_api(self) -> None:
        """Wait until the API is ready."""
        until(lambda: self.status(f"{self.url}/status") == 200, "the API is ready")

    def wait_worker(self, name: str = "worker") -> None:
        """Wait until a worker takes jobs."""
        until(
            lambda: self.worker_metric("inferno_worker_capacity", name) > 0, f"{name} has capacity"
        )

    def status(self, url: str) -> int:
        """Return the status of a GET, 0 while no server listens."""
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def metric(self, port: int, name: str) -> float:
        """Return the sum of a metric's series, -1 while there are none."""
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        except httpx.TransportError:
            return -1
        values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values)) if values else -1

    def worker_metric(self, metric: str, name: str = "worker") -> float:
        """Return a worker's metric."""
        return self.metric(self.worker_ports[name], metric)

    def api_metric(self, metric: str) -> float:
        """Return a metric of the API."""
        return self.metric(self.api_metrics_port, metric)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self.processes[name].send_signal(number)

    def ended(self, name: str, timeout_s: float = DEADLINE_S) -> int:
        """Wait for a process's end; returns its exit status."""
        return self.processes[name].wait(timeout_s)

    def end(self, name: str) -> int:
        """End a process as Kubernetes does; returns its exit status."""
        self.signal(name, signal.SIGTERM)
        return self.ended(name)

    def log(self, name: str) -> str:
        """Return a process's output."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8")

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()

    def _service(self, name: str, module: str, settings: Mapping[str, str]) -> None:
        common = {
            "PYTHONPATH": str(SERVICES),
            "SONIC_HOST": "127.0.0.1",
        }
        command = [sys.executable, "-m", f"sonic_reference.{module}"]
        self._start(name, command, common | dict(settings))

    def _start(self, name: str, command: list[str], settings: Mapping[str, str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **settings}
            )
