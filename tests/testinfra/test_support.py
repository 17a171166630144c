# SPDX-License-Identifier: Apache-2.0
"""The archive for support of the lab: it has what support needs, and none of the canaries.

Canaries are all values of the stack's Secrets, the inventory's keys, and what clients send: keys,
transcripts, names of voices and dictionaries.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from kubernetes import client

from lab.config import Lab
from tests.playbooks import on_lab, tried_on_lab
from tests.testinfra.speaking import speech

STACK = "cartesia"
# Shorter values are parts of ordinary words.
SHORTEST = 6


@dataclass(frozen=True)
class Written:
    """An archive, the folder that holds it, and the canaries that clients sent before."""

    path: Path
    files: dict[str, bytes]
    canaries: dict[str, str]

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])


def ask(info: dict[str, Any], path: str, *more: str, key: str = "") -> int:
    """Send a request through the ingress; returns the status."""
    host = info["ingress_url"].removeprefix("https://")
    command = ["curl", "--silent", "--show-error", "--output", "/dev/null", "--max-time", "20"]
    command += ["--write-out", "%{http_code}", "--cacert", info["ca_file"]]
    command += ["--resolve", f"{host}:443:{info['ingress_address']}"]
    command += ["-H", f"X-API-Key: {key or info['api_key']}", "-H", "Cartesia-Version: 2026-03-01"]
    done = subprocess.run(
        [*command, *more, info["ingress_url"] + path], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def sent(info: dict[str, Any]) -> dict[str, str]:
    """Send a canary wherever a client can send a text; returns them by what they are."""
    names = ("transcript", "refused transcript", "key", "query key", "voice", "dictionary", "entry")
    canaries = {name: f"canary{uuid.uuid4().hex}" for name in names}
    speech(info, f"Speak {canaries['transcript']} now.")
    refused = {"model_id": 5, "transcript": canaries["refused transcript"]}
    assert ask(info, "/tts/bytes", "--json", json.dumps(refused)) == 400
    assert ask(info, "/voices", key=canaries["key"]) == 401
    assert ask(info, f"/voices?api_key={canaries['query key']}") == 200
    assert ask(info, f"/voices/{canaries['voice']}") == 404
    assert ask(info, f"/pronunciation-dicts/{canaries['dictionary']}") == 404
    entry = {"name": canaries["entry"], "items": [{"text": canaries["entry"], "alias": 5}]}
    assert ask(info, "/pronunciation-dicts", "--json", json.dumps(entry)) == 400
    return canaries


def unpacked(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by their names below its one folder."""
    with tarfile.open(path) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive]
    assert {name.partition("/")[0] for name, _file in members} == {path.name.split(".")[0]}
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: file.read()
            for member in archive
            if (file := archive.extractfile(member))
        }


@pytest.fixture(scope="module")
def written(info: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The archive of the lab, written after clients have sent canaries."""
    folder = tmp_path_factory.mktemp("support")
    canaries = sent(info)
    output = on_lab("support.yml", support_folder=str(folder))
    [path] = folder.iterdir()
    assert str(path) in output
    for name, canary in canaries.items():
        assert canary not in output, name
    assert info["api_key"] not in output
    return Written(path, unpacked(path), canaries)


def secret_values(core: client.CoreV1Api, info: dict[str, Any]) -> dict[str, bytes]:
    """Return all values of the stack's Secrets, and the inventory's secret files, by name."""
    values = {
        f"Secret {item.metadata.name}, {key}": base64.b64decode(text)
        for item in core.list_namespaced_secret(STACK).items
        for key, text in (item.data or {}).items()
    }
    folder = Lab.load(info["name"]).directory
    for name in ("ingress.key", "ingress-rsa.key", "service-account.json", "pull-account.json"):
        values[name] = (folder / name).read_bytes()
    values["API key"] = info["api_key"].encode()
    return values


def forms(value: bytes) -> Iterator[bytes]:
    """Yield a value as a file can hold it: itself, in base64 at each place, quoted, in JSON."""
    yield value
    for before in range(3):
        encoded = base64.b64encode(b"?" * before + value)
        # Without the characters that also depend on what is around it.
        yield encoded[4 if before else 0 : -4]
    text = value.decode("utf-8", "replace")
    yield quote(text, safe="").encode()
    yield json.dumps(text)[1:-1].encode()


def parts(value: bytes) -> list[bytes]:
    """Return a value and its long lines; those of PEM that say what it is are no secret."""
    lines = [line.strip() for line in value.split(b"\n")]
    long = [line for line in lines if len(line) >= 20 and not line.startswith(b"-----")]
    return [part for part in (value.strip(), *long) if len(part) >= SHORTEST]


def holders(files: dict[str, bytes], value: bytes) -> list[str]:
    """Return the files that hold a value in any form."""
    wanted = {form for form in forms(value) if len(form) >= SHORTEST}
    return [name for name, content in files.items() if any(form in content for form in wanted)]


def test_archive_holds_what_support_needs(written: Written, info: dict[str, Any]) -> None:
    manifest = written.json("MANIFEST.json")
    assert manifest["cluster"] == "read"
    sizes = {entry["file"]: entry["bytes"] for entry in manifest["files"]}
    contents = {name: text for name, text in written.files.items() if name != "MANIFEST.json"}
    assert sizes == {name: len(text) for name, text in contents.items()}
    versions = written.json("versions.json")
    assert set(versions["nodes"]) == set(info["hosts"])
    images = [image["image"] for image in versions["images"]]
    assert any("/worker:" in image for image in images), images
    assert all("sha256:" in image["digest"] for image in versions["images"] if image["digest"])
    assert written.json("objects/events.json")
    assert {pod["metadata"]["namespace"] for pod in written.json("objects/pods.json")} >= {STACK}
    figures = written.json("metrics/now.json")
    assert figures["up"]["series"]
    assert figures["worker_capacity"]["series"]
    [*_rest, last] = written.json("metrics/range.json")["up"]["series"]
    assert len(last["values"]) >= 1
    names = {alert["labels"]["alertname"] for alert in written.json("alerts.json")}
    # It always fires.
    assert "SpeechWatchdog" in names
    assert written.json("inventory.json")["variables"]["site_name"] == "lab"
    worker = [name for name in sizes if name.startswith(f"logs/{STACK}/tts-worker-")]
    assert any(b"bytes in" in written.files[name] for name in worker), worker
    for host in info["hosts"]:
        assert b"kubelet" in written.files[f"hosts/{host}/kubelet-containerd.log"]
        assert b"Debian" in written.files[f"hosts/{host}/os-release.txt"]
    # The lab's stand-in for nvidia-smi knows no -q, and cp1 has none.
    missing = {line["what"] for line in manifest["left_out"]}
    assert missing >= {f"hosts/{host}/nvidia-smi.txt" for host in info["hosts"]}


def test_archive_is_for_its_owner_only(written: Written) -> None:
    assert written.path.stat().st_mode & 0o777 == 0o600
    assert list(written.path.parent.iterdir()) == [written.path]


def test_no_file_has_a_secret(
    written: Written, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    values = secret_values(core, info)
    assert len(values) > 10
    for name, value in values.items():
        for part in parts(value):
            assert not (where := holders(written.files, part)), f"{name} is in {where}"


def test_no_file_has_what_clients_sent(written: Written, core: client.CoreV1Api) -> None:
    for name, canary in written.canaries.items():
        assert not (where := holders(written.files, canary.encode())), f"{name} is in {where}"
    # The ingress logged two of them: it is the redaction that removed them.
    pods = core.list_namespaced_pod("ingress").items
    logs = "".join(
        core.read_namespaced_pod_log(pod.metadata.name, "ingress", container="haproxy-ingress",
                                     since_seconds=600)
        for pod in pods
        if pod.metadata.name.startswith("haproxy-ingress")
    )  # fmt: skip
    for name in ("voice", "dictionary"):
        assert written.canaries[name] in logs


def test_hosts_are_written_when_the_cluster_cannot_be_reached(
    info: dict[str, Any], tmp_path: Path
) -> None:
    missing = "/etc/kubernetes/not-there.conf"
    done = tried_on_lab("support.yml", support_folder=str(tmp_path), site_kubeconfig=missing)
    assert done.returncode == 2, done.stdout[-3000:]
    output = " ".join((done.stdout + done.stderr).split())
    assert "the cluster cannot be reached: kubeconfig" in output
    [path] = tmp_path.iterdir()
    files = unpacked(path)
    assert {f"hosts/{host}/kernel.txt" for host in info["hosts"]} <= set(files)
    assert not holders(files, info["api_key"].encode())
