# SPDX-License-Identifier: Apache-2.0
"""The licence on the lab: what clients and the operator see when it is lost, renewed, handed in.

The license endpoint stands outside the cluster; the proxy's way to it is the egress gateway.
Everything that these tests shorten or set is a variable of a playbook, and put back at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from kubernetes import client

from lab import outside
from lab.config import Lab
from lab.licences import Vendor
from lab.waiting import wait, wait_while
from plugins.module_utils._kube.client import KubeClient
from tests.monitoring import Prometheus
from tests.playbooks import ansible, on_lab

pytestmark = pytest.mark.soak
STACK = "cartesia"
PROXY = "app.kubernetes.io/name=license-proxy"
# Long enough for Prometheus to read a metric, evaluate a rule and fire, short enough to wait for.
GRACE_S = 100
SPEECH: dict[str, Any] = {
    "model_id": "sonic-reference",
    "transcript": "A sentence that stays in the house.",
    "voice": {"mode": "id", "id": "en-us"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 22050},
}


class Site:
    """The lab as its clients and its operator see it."""

    def __init__(self, info: dict[str, Any], core: client.CoreV1Api) -> None:
        self._info = info
        self._core = core
        self._kube = KubeClient(info["kubeconfig"])
        self.lab = Lab.load(info["name"])

    def ask(self, **changes: Any) -> tuple[int, Any]:
        """Ask for speech on a new connection; returns the status and, of an error, its object."""
        host = urlsplit(self._info["ingress_url"]).hostname or ""
        headers = {"Host": host, "Cartesia-Version": "2026-03-01"}
        headers |= {"Content-Type": "application/json", "X-API-Key": self._info["api_key"]}
        with urllib3.HTTPSConnectionPool(
            self._info["ingress_address"], 443, ca_certs=self._info["ca_file"],
            server_hostname=host, assert_hostname=host, timeout=30, retries=False,
        ) as pool:  # fmt: skip
            answer = pool.request(
                "POST", "/tts/bytes", body=json.dumps(SPEECH | changes), headers=headers
            )
        if answer.status == 200:
            return 200, len(answer.data)
        return answer.status, json.loads(answer.data)

    def status(self) -> dict[str, Any]:
        """What the license proxy says of itself."""
        path = f"/api/v1/namespaces/{STACK}/services/license-proxy:8080/proxy/status"
        return self._kube.get(path)

    def pods(self) -> list[Any]:
        """The license proxy's pods."""
        present: list[Any] = self._core.list_namespaced_pod(STACK, label_selector=PROXY).items
        return present

    def log(self) -> str:
        """Return the log of the license proxy's pod."""
        [pod] = self.pods()
        output: str = self._core.read_namespaced_pod_log(pod.metadata.name, STACK)
        return output

    def replace_pod(self) -> None:
        """Lose the license proxy's pod, and return when another one serves."""
        [old] = self.pods()
        self._core.delete_namespaced_pod(old.metadata.name, STACK)

        def another() -> bool:
            return [
                all(state.ready for state in pod.status.container_statuses or [])
                and bool(pod.status.container_statuses)
                for pod in self.pods()
                if pod.metadata.uid != old.metadata.uid
            ] == [True]

        wait("another license proxy", another, 120)

    def reach_endpoint(self, there: bool) -> None:
        """Stop the license endpoint's machine, or start it."""
        verb = ["start"] if there else ["stop", "--time", "0"]
        name = outside.license_endpoint(self.lab)
        subprocess.run(["podman", *verb, name], check=True, capture_output=True)

    def reported(self) -> str:
        """Return all requests that the license endpoint got from this lab."""
        return (self.lab.license_directory / "received.jsonl").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(info: dict[str, Any], core: client.CoreV1Api) -> Site:
    return Site(info, core)


def becomes(site: Site, state: str, seconds: float = 60) -> None:
    wait_while(lambda: "" if site.status()["state"] == state else site.status(), seconds)


def answers(site: Site, status: int, seconds: float = 30) -> Any:
    """Return what speech is answered with once its status is this; API pods keep a yes for 10 s."""
    wait_while(lambda: "" if site.ask()[0] == status else site.ask(), seconds)
    return site.ask()[1]


def fires(prometheus: Prometheus, name: str, seconds: float = 90) -> None:
    def missing() -> str:
        alerts = prometheus.get("alerts")["alerts"]
        firing = {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}
        return "" if name in firing else f"{name} does not fire; {sorted(firing)} do"

    wait_while(missing, seconds)


@pytest.fixture(scope="class")
def short(site: Site) -> Iterator[None]:
    """A short interval and a short grace period."""
    try:
        on_lab("stack.yml", license_proxy_check_interval=3, license_proxy_grace=GRACE_S)
        yield
    finally:
        site.reach_endpoint(True)
        outside.set_account(site.lab)
        on_lab("stack.yml")
        becomes(site, "connected")


@pytest.mark.usefixtures("short")
class TestConnected:
    """The lab as it is, but for shorter times."""

    def test_the_endpoint_is_reached_by_the_gateway_only(
        self, site: Site, core: client.CoreV1Api
    ) -> None:
        becomes(site, "connected")
        pods = core.list_namespaced_pod(
            STACK, label_selector="app.kubernetes.io/name=egress-gateway"
        )
        logs = [
            core.read_namespaced_pod_log(pod.metadata.name, STACK, tail_lines=500)
            for pod in pods.items
        ]
        address = site.pods()[0].status.pod_ip
        wanted = f"{address} license.lab.test -> license.lab.test:443"
        assert any(wanted in log for log in logs), wanted

    def test_usage_is_reported_and_no_text(self, site: Site, info: dict[str, Any]) -> None:
        before = len(site.reported().splitlines())
        assert site.ask()[0] == 200

        def not_reported() -> str:
            new = [json.loads(line) for line in site.reported().splitlines()[before:]]
            counts = [item["usage"]["totals"].get("tts", {}).get("characters", 0) for item in new]
            return "" if counts and counts[-1] > counts[0] else f"characters: {counts}"

        wait_while(not_reported, 40)
        assert SPEECH["transcript"] not in site.reported()
        assert info["api_key"] not in site.reported() + site.log()

    def test_endpoint_away_then_grace_then_refused_then_back(
        self, site: Site, prometheus: Prometheus
    ) -> None:
        becomes(site, "connected")
        site.reach_endpoint(False)
        becomes(site, "grace")
        until = site.status()["until"]
        assert site.ask()[0] == 200
        # The pod is lost, too: the grace period goes on and does not start again.
        site.replace_pod()
        becomes(site, "grace", 10)
        assert site.status()["until"] == until
        fires(prometheus, "LicenseInGrace")
        assert site.ask()[0] == 200
        becomes(site, "expired", GRACE_S)
        answer = answers(site, 402)
        assert (answer["error_code"], answer["title"]) == ("license_expired", "Payment required")
        fires(prometheus, "LicenseExpired")
        assert "grace -> expired" in site.log()
        site.reach_endpoint(True)
        becomes(site, "connected", 30)
        answers(site, 200)

    def test_a_refusal_is_grace_too_and_says_why(self, site: Site) -> None:
        becomes(site, "connected")
        outside.set_account(site.lab, valid=False, reason="contract ended")
        try:
            becomes(site, "grace", 20)
            assert site.status()["reason"] == "the license endpoint refused: contract ended"
            assert site.ask()[0] == 200
        finally:
            outside.set_account(site.lab)
        becomes(site, "connected", 30)

    def test_an_offline_licence_is_not_taken(self, tmp_path: Path, site: Site) -> None:
        assert "is in connected mode" in refused(tmp_path, site, Vendor().licence())


@pytest.fixture(scope="class")
def vendor(site: Site) -> Iterator[Vendor]:
    """No way out, no endpoint outside, and a vendor whose licences the site accepts."""
    made = Vendor()
    site.reach_endpoint(False)
    try:
        on_lab(
            "stack.yml",
            egress_mode="airgapped",
            artifact_sync_bucket="",
            # Without a licence requests are refused, also by a new pod.
            workers_canary=False,
            license_proxy_mode="airgapped",
            license_proxy_public_key=made.public_key,
        )
        on_lab("egress.yml", egress_mode="airgapped")
        yield made
    finally:
        site.reach_endpoint(True)
        on_lab("egress.yml")
        on_lab("stack.yml")
        becomes(site, "connected")


@pytest.mark.usefixtures("vendor")
class TestAirGapped:
    """The lab with offline licences."""

    def test_without_a_licence_nothing_is_spoken(self, site: Site) -> None:
        assert site.status()["state"] == "expired"
        assert answers(site, 402)["error_code"] == "license_expired"

    def test_a_signed_licence_is_handed_in_and_stays(
        self, tmp_path: Path, site: Site, vendor: Vendor
    ) -> None:
        issued = datetime.now(UTC)
        text = vendor.licence("L-2", issued=issued)
        assert changed(hand_in(tmp_path, text)) == 1
        assert site.status()["state"] == "airgapped"
        assert answers(site, 200) > 1000
        assert changed(hand_in(tmp_path, text)) == 0
        site.replace_pod()
        assert site.status()["license"]["id"] == "L-2"
        assert answers(site, 200) > 1000
        older = vendor.licence("L-1", issued=issued - timedelta(days=1))
        assert "not newer than L-2" in refused(tmp_path, site, older)

    def test_a_licence_that_was_changed_is_refused(
        self, tmp_path: Path, site: Site, vendor: Vendor
    ) -> None:
        before = site.status()
        fields = json.loads(vendor.licence("L-3"))
        fields["signature"] = json.loads(Vendor().licence())["signature"]
        assert "signature is not the vendor's" in refused(tmp_path, site, json.dumps(fields))
        assert site.status() == before

    def test_nothing_leads_out(self, site: Site, core: client.CoreV1Api) -> None:
        [pod] = site.pods()
        assert not pod.spec.host_aliases
        services = [item.metadata.name for item in core.list_namespaced_service(STACK).items]
        assert not [name for name in services if name.startswith("egress-")]

    def test_the_audit_log_is_fetched_and_verifies(self, tmp_path: Path, site: Site) -> None:
        assert site.ask()[0] == 200
        path = tmp_path / "audit.tar"

        def recorded() -> bool:
            on_lab("license.yml", license_audit_file=str(path))
            return b'"event": "usage"' in path.read_bytes()

        wait("usage in the audit log", recorded, 60)
        content = path.read_bytes()
        for word in (b'"event": "license"', b'"event": "state"', b"L-2"):
            assert word in content
        assert SPEECH["transcript"].encode() not in content
        # One changed letter is reported to the operator.
        path.write_bytes(content.replace(b'"L-2"', b'"L-9"', 1))
        assert "was changed" in verified(path)
        later = tmp_path / "later.tar"
        path.write_bytes(content)
        on_lab("license.yml", license_audit_file=str(later))
        assert verified(later, path) == ""


def hand_in(folder: Path, text: str) -> str:
    """Give a licence to the site as an operator does; returns Ansible's output."""
    path = folder / "licence.json"
    path.write_text(text, encoding="utf-8")
    return on_lab("license.yml", license_file=str(path))


def refused(folder: Path, site: Site, text: str) -> str:
    """Try to, and return what it failed with."""
    path = folder / "refused.json"
    path.write_text(text, encoding="utf-8")
    done = ansible(
        *("-i", "inventories/lab", "playbooks/license.yml", "-e", f"license_file={path}"),
        environment=site.lab.environment,
    )
    assert done.returncode != 0
    assert json.loads(text)["signature"] not in done.stdout + done.stderr
    return done.stdout


def changed(output: str) -> int:
    """How many results of a run changed something."""
    return sum(int(word.partition("=")[2]) for word in output.split() if "changed=" in word)


def verified(path: Path, earlier: Path | None = None) -> str:
    """What the module license_audit says of an archive; empty when all is well."""
    words = f"path={path}" + (f" earlier={earlier}" if earlier else "")
    done = subprocess.run(
        ["ansible", "localhost", "-m", "baremetal.sonic.license_audit", "-a", words],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    return "" if done.returncode == 0 else done.stdout
