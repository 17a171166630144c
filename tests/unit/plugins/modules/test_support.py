# SPDX-License-Identifier: Apache-2.0
"""The modules support_bundle and support_host, as Ansible calls them."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._support import objects
from ansible_collections.baremetal.sonic.plugins.module_utils._support.forms import forms
from ansible_collections.baremetal.sonic.plugins.modules import support_bundle, support_host

from tests.unit.plugins.module_utils._support.test_collect import CANARY, SECRETS, Api, pod
from tests.unit.plugins.modules.running import Modules

KEY = "key-of-the-inventory"
HOSTS = {"gpu1": {"files": {"a.log": f"{KEY} {CANARY}\n"}, "truncated": [], "left_out": []}}


def texts(path: str) -> dict[str, str]:
    """Return the files of an archive, without the folder's name."""
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: file.read().decode()
            for member in archive
            if (file := archive.extractfile(member))
        }


def call(modules: Modules, folder: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "kubeconfig": str(folder / "none"),
        "dest": str(folder / "site.tar.gz"),
        "site": "rack1",
        "namespace": "cartesia",
        "secrets": [KEY],
        "hosts": HOSTS,
        "inventory": {"variables": {"a": KEY, "b": {"password": "hidden"}}},
    }
    return modules.call(support_bundle.main, **{**given, **options})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api(pod("p"))
    monkeypatch.setattr(
        support_bundle, "connected", lambda *_unused: (made, {"gitVersion": "v1.2"})
    )
    return made


def test_no_form_of_a_secret_is_left_anywhere(modules: Modules, tmp_path: Path, api: Api) -> None:
    secrets = [f'canary-{place}-é&/"x+1' for place in ("secret", "option", "inventory")]
    planted = sorted(form for secret in secrets for form in forms(secret.encode()))
    assert len(planted) > 40
    lines = [f"request <{form}> done" for form in planted]
    lines += [json.dumps({"level": "info", "transcript": f"canary {form}"}) for form in planted]
    everywhere = {form: form for form in planted}
    item = {
        "metadata": {
            "name": "n",
            "namespace": "n",
            "annotations": everywhere,
            "labels": everywhere,
        },
        "spec": {"env": [{"name": "A", "value": form} for form in planted], "args": planted},
        "status": {"message": " ".join(planted), "text": "canary"},
        "data": everywhere,
    }
    for name in ("events", "deployments", "services"):
        api.lists[objects.LISTS[name]] = [item]
    api.lists[objects.NAMED["configmaps"]] = [item]
    secret = {
        **SECRETS[0],
        "data": {**SECRETS[0]["data"], "n": base64.b64encode(secrets[0].encode()).decode()},
    }
    api.lists[objects.NAMED["secrets"]] = [secret]
    api.logs["p"] = "\n".join(lines) + "\n"
    hosts = {"h": {"files": {"a.log": api.logs["p"]}, "truncated": [], "left_out": [
        {"what": planted[0], "why": planted[-1]}]}}  # fmt: skip
    result = call(
        modules, tmp_path, secrets=secrets[1:], hosts=hosts, log_bytes=10**6,
        inventory={"variables": everywhere, "nats_key": "canary"},
    )  # fmt: skip
    files = texts(result["path"])
    assert "logs/cartesia/p/main.log" in files
    for name, text in files.items():
        left = [form for form in [*planted, "canary"] if form in text]
        assert not left, (name, left)


@pytest.mark.usefixtures("api")
def test_archive_has_all_parts_and_no_secret(modules: Modules, tmp_path: Path) -> None:
    result = call(modules, tmp_path)
    files = texts(result["path"])
    assert result["changed"]
    assert result["cluster"] == ""
    assert result["files"] == len(files)
    assert result["bytes"] == (tmp_path / "site.tar.gz").stat().st_size
    assert {
        "MANIFEST.json", "versions.json", "inventory.json", "alerts.json", "metrics/now.json",
        "objects/events.json", "objects/secrets.json", "logs/cartesia/p/main.log",
        "hosts/gpu1/a.log",
    } <= set(files)  # fmt: skip
    for name, text in files.items():
        assert CANARY not in text, name
        assert KEY not in text, name
        assert "hidden" not in text, name
    assert KEY not in modules.printed


def test_hosts_are_written_when_the_cluster_does_not_answer(
    modules: Modules, tmp_path: Path
) -> None:
    result = call(modules, tmp_path)
    files = texts(result["path"])
    assert result["cluster"].startswith(
        f"the cluster cannot be reached: kubeconfig {tmp_path}/none"
    )
    assert set(files) == {"MANIFEST.json", "inventory.json", "hosts/gpu1/a.log"}
    assert KEY not in files["hosts/gpu1/a.log"]
    manifest = json.loads(files["MANIFEST.json"])
    assert manifest["cluster"] == result["cluster"]
    assert manifest["left_out"] == [
        {"what": "objects, logs, metrics", "why": manifest["cluster"]}
    ]  # fmt: skip


def test_no_logs_without_the_secrets_that_they_could_hold(
    modules: Modules, tmp_path: Path, api: Api
) -> None:
    api.broken = ("/api/v1/secrets",)
    files = texts(call(modules, tmp_path)["path"])
    assert not [name for name in files if name.startswith("logs/")]
    left_out = json.loads(files["MANIFEST.json"])["left_out"]
    assert left_out[0]["what"] == "logs"
    assert left_out[0]["why"].startswith("Secrets cannot be read")


def test_check_mode_asks_and_writes_nothing(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_unused: Any) -> None:
        raise KubeError("asked")

    monkeypatch.setattr(support_bundle, "connected", fail)
    result = modules.call(
        support_bundle.main, check=True, kubeconfig="/none", namespace="n", site="s",
        dest=str(tmp_path / "a.tar.gz"),
    )  # fmt: skip
    assert result["changed"]
    assert result["msg"] == f"would write {tmp_path}/a.tar.gz"
    assert not list(tmp_path.glob("*.tar.gz"))


@pytest.mark.usefixtures("api")
def test_folder_that_cannot_be_written_fails(modules: Modules, tmp_path: Path) -> None:
    result = call(modules, tmp_path, dest=str(tmp_path / "none" / "a.tar.gz"))
    assert result["failed"]
    assert "cannot be written" in result["msg"]


def test_host_is_read(modules: Modules) -> None:
    lines = "old line\n" * 100
    modules.program("journalctl", f"printf '%s' '{lines}last password=canary1\n'")
    modules.program("dmesg", "echo 'NVRM: Xid 79'; echo 'other'")
    modules.program("df", "echo 'refused api_key=canary2' >&2; exit 3")
    modules.program("nvidia-smi", "sleep 60")
    modules.program("timeout", 'shift 2; case "$1" in nvidia-smi) exit 124;; esac; exec "$@"')
    result = modules.call(support_host.main, since=60, log_bytes=300)
    assert not result["changed"]
    assert result["files"]["kubelet-containerd.log"].endswith("last password=[REDACTED]\n")
    assert result["truncated"] == ["kubelet-containerd.log"]
    assert result["files"]["gpu-messages.log"] == "NVRM: Xid 79\n"
    assert "Linux" in result["files"]["kernel.txt"]
    reasons = {line["what"]: line["why"] for line in result["left_out"]}
    assert reasons["disks.txt"].endswith("exit code 3: refused api_key=[REDACTED]")
    assert "did not end in 20 s" in reasons["nvidia-smi.txt"]
    journal = next(line for line in modules.ran if line.startswith("journalctl"))
    assert "--unit=kubelet --unit=containerd" in journal


def test_missing_program_is_named(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        support_host, "commands", lambda *_unused: {"x.txt": ["no-such-program-of-a-host"]}
    )
    result = modules.call(support_host.main)
    assert result["left_out"] == [
        {"what": "x.txt", "why": "no-such-program-of-a-host is not installed"}
    ]
