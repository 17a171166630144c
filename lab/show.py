# SPDX-License-Identifier: Apache-2.0
"""Show a running lab to its user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import yaml

from lab.bundle.steps import run
from lab.config import BUCKET, HOSTS, INGRESS_HOST, INGRESS_HOSTS, REPOSITORY, Lab
from lab.hosts import ssh_command
from lab.outside import license_endpoint, storage
from plugins.module_utils._speech.client import SpeechRequest, speak

TRANSCRIPT = "Hello from bare metal. This sentence came through your own ingress."

TRY_NEXT = """
Try next:
  curl --cacert {lab.ca_file} --resolve {resolve} https://{host}/tts/bytes \\
    -H 'X-API-Key: {lab.api_key}' -H 'Cartesia-Version: 2026-03-01' \\
    -H 'Content-Type: application/json' -o alive.wav -d '
      {{"model_id": "sonic-reference", "transcript": "It is alive.",
       "voice": {{"mode": "id", "id": "en-us"}},
       "output_format": {{"container": "wav", "encoding": "pcm_s16le", "sample_rate": 24000}}}}'
  KUBECONFIG={lab.kubeconfig} kubectl get pods -A
"""


def info(lab: Lab) -> dict[str, Any]:
    """Addresses, keys and files of a lab, for people and programs."""
    return {
        "name": lab.name,
        "ingress_url": f"https://{INGRESS_HOST}",
        "ingress_hosts": list(INGRESS_HOSTS),
        "ingress_address": lab.ingress_address,
        "ingress_virtual_address": lab.virtual_address,
        "ca_file": str(lab.ca_file),
        "api_key": lab.api_key,
        "kubeconfig": str(lab.kubeconfig),
        "prometheus_url": prometheus_url(lab),
        "storage": {
            "url": f"https://{lab.storage_address}",
            "bucket": BUCKET,
            "folder": str(lab.directory / "storage" / BUCKET),
            "container": storage(lab),
        },
        "ssh_key": str(lab.ssh_key),
        "subnet": lab.subnet,
        "license_endpoint": license_endpoint(lab),
        "hosts": {
            name: host | {"container": f"{lab.network}-{name}"} for name, host in lab.hosts.items()
        },
    }


def prometheus_url(lab: Lab) -> str | None:
    """Return where Prometheus answers, as the lab's inventory has it; None where it does not."""
    text = (REPOSITORY / "inventories/lab/group_vars/all/site.yml").read_text(encoding="utf-8")
    port = yaml.safe_load(text).get("prometheus_node_port")
    return f"http://{lab.address(HOSTS[0].octet)}:{port}" if port else None


def on_leader(lab: Lab, *words: str) -> str:
    """Run a command on the control plane and return what it printed."""
    return run([*ssh_command(lab, lab.address(HOSTS[0].octet)), shlex.join(words)])


def fetch_kubeconfig(lab: Lab) -> None:
    """Keep the administrator's kubeconfig beside the lab's keys."""
    text = on_leader(lab, "cat", "/etc/kubernetes/admin.conf")
    temporary = lab.kubeconfig.with_name("kubeconfig.new")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(lab.kubeconfig)


def summary(lab: Lab, say: Callable[[str], None]) -> None:
    """The cluster's state, a sentence spoken, and what to try next."""
    kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"]
    columns = "NAME:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,"
    columns += "GPUS:.status.allocatable.nvidia\\.com/gpu,READY:.status.conditions[-1].status"
    print()
    print(on_leader(lab, *kubectl, "get", "nodes", "-o", f"custom-columns={columns}"))
    pods = on_leader(lab, *kubectl, "get", "pods", "-A", "-o", "wide", "--no-headers")
    for line in pods.splitlines():
        cells = re.split(r"\s{2,}", line)
        if cells[0] in ("cartesia", "ingress") or not re.match(r"(Running|Completed)", cells[3]):
            print("  ".join(cells[:4] + cells[6:7]))
    path = lab.directory / "speech.wav"
    spoken = speak(
        SpeechRequest(
            url=f"https://{INGRESS_HOST}",
            address=lab.ingress_address,
            ca_file=str(lab.ca_file),
            api_key=lab.api_key,
            transcript=TRANSCRIPT,
        )
    )
    path.write_bytes(spoken.audio)
    print()
    say(
        f"speech: {path}, {spoken.duration_s:.2f} s of audio, first byte after"
        f" {spoken.ttfb_ms:.0f} ms"
    )
    print(
        TRY_NEXT.format(
            lab=lab, host=INGRESS_HOST, resolve=f"{INGRESS_HOST}:443:{lab.ingress_address}"
        )
    )
