# SPDX-License-Identifier: Apache-2.0
"""Measure the lab and the services in one run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

from lab import bench_ingress, bench_speech, hosts
from lab.config import REPOSITORY, Lab, LabError

PLAYBOOKS = ("hosts", "cluster", "platform", "stack", "verify", "site")
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+).*?skipped=(?P<skipped>\d+)"
)


def recap(output: str) -> dict[str, tuple[int, int, int]]:
    """Per host: results that were ok, changed and skipped, from Ansible's play recap."""
    results = {}
    for line in output.splitlines():
        match = RECAP.match(line)
        if match:
            results[match["host"]] = (
                int(match["ok"]), int(match["changed"]), int(match["skipped"]),
            )  # fmt: skip
    return results


def run(lab: Lab) -> None:
    """Measure the lab where one runs, and the services, which need none and are faster alone.

    Raises:
        LabError: a playbook fails.
    """
    lab.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hosts.running(lab):
        measure(lab)
    else:
        print(f"no lab {lab.name} is running (make lab LAB={lab.name}): the services alone")
    bench_speech.measure(lab.directory / "batching.html")


def measure(lab: Lab) -> None:
    """Run each playbook with nothing to change, weigh the lab, and load its ingress.

    Raises:
        LabError: a playbook fails.
    """
    rows = []
    for name in PLAYBOOKS:
        started = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", "inventories/lab", f"playbooks/{name}.yml"],
            cwd=REPOSITORY, env=lab.environment | {"ANSIBLE_NOCOLOR": "1"},
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"{name}.yml failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        rows.append((name, time.monotonic() - started, recap(done.stdout)))
    print(f"{'no-change run':<16}{'seconds':>8}  results per host (ok + skipped), changed")
    for name, seconds, results in rows:
        cells = ", ".join(
            f"{host} {ok}+{skipped}{f', CHANGED {changed}' if changed else ''}"
            for host, (ok, changed, skipped) in results.items()
        )
        print(f"{name + '.yml':<16}{seconds:>8.1f}  {cells}")
    memory = {name: memory_mib(name) for name in hosts.running(lab)}
    for name, mib in memory.items():
        print(f"memory {name:<28}{mib:>8.0f} MiB")
    print(f"memory of the whole lab{sum(memory.values()):>20.0f} MiB")
    bench_ingress.measure(lab)
    timings = Path(os.environ.get("LAB_TIMINGS", lab.directory / "timings.json"))
    timings.write_text(
        json.dumps({name: seconds for name, seconds, _unused in rows}), encoding="utf-8"
    )


def memory_mib(container: str) -> float:
    """Memory that a container's processes hold: the sum of their proportional shares, in MiB."""
    identity = hosts.podman("container", "inspect", "--format", "{{.Id}}", container).strip()
    mark = f"libpod-{identity}"
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (process / "cgroup").read_text(encoding="utf-8"):
                continue
            text = (process / "smaps_rollup").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        total += int(match[1]) if match else 0
    return total / 1024
