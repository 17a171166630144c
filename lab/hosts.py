# SPDX-License-Identifier: Apache-2.0
"""The lab's machines: podman containers that run systemd, and the site's artifact servers."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bundle.build import Bundle
from lab.bundle.steps import run
from lab.config import HOSTS, Host, Lab, LabError

HOST_IMAGE = "localhost/baremetal-sonic-host"
# Where a container's monitor leaves the exit code for podman (conmon --exit-dir).
EXITS = Path("/run/libpod/exits")

# Where control groups are of version 1, podman lays the machine's systemd hierarchy (root /../..,
# as seen from inside) over the container's: all hosts would share one tree of units, and a unit
# stopped on one host would kill the processes of that name on the others. Without that layer each
# host sees only its own part.
#
# A booted machine shares its mounts with its containers, as node-exporter and storage drivers ask:
# systemd does that, but not in a container.
INIT = """
mount --make-rshared /
tree=/sys/fs/cgroup/systemd
if awk -v t=$tree '$5 == t && $4 != "/" {n = 1} END {exit !n}' /proc/self/mountinfo; then
    if mountpoint -q $tree/release_agent; then umount $tree/release_agent; fi
    umount $tree
fi
exec /sbin/init
"""


def podman(*words: str | Path) -> str:
    """Run podman on the machine's ordinary storage.

    Raises:
        LabError: with podman's own words.
    """
    return run(["podman", *words])


def network_subnets() -> set[ipaddress.IPv4Network]:
    """Return IPv4 networks that this machine has routes, addresses or podman networks for."""
    words = run(["ip", "-4", "-j", "route", "show", "table", "all"])
    subnets = set()
    for route in json.loads(words or "[]"):
        if route.get("dst") in (None, "default"):
            continue
        subnets.add(ipaddress.IPv4Network(route["dst"], strict=False))
    names = podman("network", "ls", "--quiet").split()
    if names:
        for network in json.loads(podman("network", "inspect", *names)):
            for subnet in network.get("subnets") or []:
                candidate = ipaddress.ip_network(subnet["subnet"])
                if isinstance(candidate, ipaddress.IPv4Network):
                    subnets.add(candidate)
    # A VPN that takes all traffic splits the default route into two halves.
    return {net for net in subnets if net.prefixlen > 1}


def free_subnet() -> str:
    """Return the first /24 in 172.30.0.0/16 that overlaps nothing here.

    Raises:
        LabError: all are taken.
    """
    taken = network_subnets()
    for candidate in ipaddress.IPv4Network("172.30.0.0/16").subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in taken):
            return str(candidate)
    raise LabError(
        "no free /24 in 172.30.0.0/16: remove a lab (make lab-down LAB=name), or name a free one of"
        " yours by LAB_SUBNET"
    )


def create(lab: Lab, bundle: Bundle, say: Callable[[str], None]) -> str:
    """Create or start whatever of the lab is not running; returns when SSH answers.

    Returns:
        The image that the hosts are made of.
    """
    _network(lab)
    image = f"{HOST_IMAGE}:{bundle.host_image_key}"
    if _missing("image", image):
        say("importing the hosts' root file system")
        podman("import", "--quiet", bundle.host_image, image)
    keys = lab.directory / "authorized_keys"
    if not Path(f"{lab.ssh_key}.pub").exists():
        # ssh-keygen writes the private half first, and does not replace one.
        lab.ssh_key.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.label, "-f", lab.ssh_key])
    shutil.copyfile(f"{lab.ssh_key}.pub", keys)
    keys.chmod(0o600)
    lab.hosts = {
        host.name: {
            "address": lab.address(host.octet),
            "gpus": host.gpus,
            "groups": list(host.groups),
        }
        for host in HOSTS
    }
    lab.package_key = (bundle.repository / "key.asc").read_text(encoding="utf-8")
    # The folders are named by their content: what changes has a new address.
    lab.packages_folder = bundle.repository.name
    lab.manifests_folder = bundle.manifests.name
    lab.reference_tag = bundle.reference_tag
    lab.save()
    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(_artifacts, lab, bundle, image)]
        jobs += [pool.submit(_host, lab, host, image, keys) for host in HOSTS]
        for job in jobs:
            job.result()
    say(f"hosts {', '.join(h.name for h in HOSTS)} are up on {lab.subnet}")
    return image


def destroy(lab: Lab) -> list[str]:
    """Remove the lab's containers, volumes, network and folder; returns what was removed."""
    removed = []
    selector = f"label={lab.label}"
    containers = _containers(selector)
    if containers:
        for container in containers:
            if container.state == "killed":
                _report_exit(container)
        names = [container.name for container in containers]
        podman("rm", "--force", "--time", "5", "--volumes", *names)
        removed.append(f"{len(containers)} containers")
    volumes = podman("volume", "ls", "--quiet", "--filter", selector).split()
    if volumes:
        podman("volume", "rm", "--force", *volumes)
        removed.append(f"{len(volumes)} volumes")
    networks = podman("network", "ls", "--quiet", "--filter", selector).split()
    if networks:
        podman("network", "rm", "--force", *networks)
        removed.append("the network")
    if lab.directory.exists():
        shutil.rmtree(lab.directory)
        removed.append("its keys and state")
    for image in set(podman("images", "--quiet", "--filter", f"reference={HOST_IMAGE}").split()):
        # Podman refuses while another container is made of it, for example another lab's hosts.
        command = ["podman", "rmi", image]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            removed.append("the hosts' image")
    return removed


def running(lab: Lab) -> list[str]:
    """Return names of the lab's running containers."""
    containers = _containers(f"label={lab.label}")
    return sorted(container.name for container in containers if container.state == "running")


def _network(lab: Lab) -> None:
    if not _missing("network", lab.network):
        shown = json.loads(podman("network", "inspect", lab.network))[0]
        if lab.label.split("=", 1)[0] not in (shown.get("labels") or {}):
            raise LabError(
                f"a podman network {lab.network} exists that no lab made: choose another LAB=name"
            )
        lab.subnet = shown["subnets"][0]["subnet"]
        return
    lab.subnet = lab.subnet or free_subnet()
    podman("network", "create", "--label", lab.label, "--subnet", lab.subnet, lab.network)


def _missing(kind: str, name: str) -> bool:
    command = ["podman", kind, "exists", name]
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


@dataclass(frozen=True)
class _Container:
    """A container. state: podman's word, or "missing", or "killed".

    Podman goes by what the container's monitor reports. Where that was killed too (all processes of
    the machine ended at once), podman says "running" or "stopping" for ever.
    """

    name: str
    identity: str
    state: str


def _containers(selector: str) -> list[_Container]:
    containers = []
    for item in json.loads(podman("ps", "--all", "--filter", selector, "--format", "json")):
        state = item["State"]
        if state in {"running", "stopping", "paused"} and not _alive(item["Id"], item["Pid"]):
            state = "killed"
        containers.append(_Container(item["Names"][0], item["Id"], state))
    return containers


def _container(name: str) -> _Container:
    return next(iter(_containers(f"name=^{name}$")), _Container(name, "", "missing"))


def _alive(identity: str, pid: int) -> bool:
    try:
        # The number may be another process's by now; its control group tells.
        return identity in Path("/proc", str(pid), "cgroup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def start(lab: Lab, name: str, address: str, options: list[str], command: list[str]) -> bool:
    """Make sure that the container runs; True if it is new and the caller must start it."""
    container = _container(name)
    state = container.state
    if state == "running":
        return False
    if state == "missing":
        podman(
            "--runtime", "runc", "create", "--name", name, "--hostname",
            name.removeprefix(f"{lab.network}-"), "--label", lab.label,
            "--network", lab.network, "--ip", address,
            # Higher limits are refused where root lacks CAP_SYS_RESOURCE.
            "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000",
            *options, *command,
        )  # fmt: skip
        return True
    if state == "created":
        return True  # an earlier run was interrupted before it started the container
    if state == "killed":
        _report_exit(container)
    elif state == "stopping":
        podman("wait", name)
    podman("start", name)
    return False


def _report_exit(container: _Container) -> None:
    """Report to podman that the container was killed, in place of its dead monitor."""
    if not EXITS.is_dir():
        raise LabError(
            f"the processes of {container.name} are gone, but podman takes it for running, and has"
            f" no folder {EXITS} for its exit status: restart this machine"
        )
    (EXITS / container.identity).write_text("137", encoding="utf-8")


def registry(
    lab: Lab, bundle: Bundle, image: str, name: str, address: str, passwords: Path | None = None
) -> None:
    """Make sure that a registry with the bundle's images runs, on port 5000.

    Args:
        lab: whose it is.
        bundle: where its images are.
        image: what its container is made of.
        name: its container's name.
        address: its own, of the lab's network.
        passwords: who may pull and by which password, as htpasswd writes it (bcrypt); by default
            all clients may.

    Raises:
        LabError: podman could not.
    """
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": "/srv/registry"},
            "maintenance": {"readonly": {"enabled": True}},
        },
        "http": {"addr": ":5000"},
    }
    volumes = ["-v", f"{bundle.registry_store}:/srv/registry:ro"]
    if passwords:
        settings["auth"] = {"htpasswd": {"realm": name, "path": "/etc/passwords"}}
        volumes += ["-v", f"{passwords}:/etc/passwords:ro"]
    config = lab.directory / f"{name.removeprefix(f'{lab.network}-')}.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    volumes += ["-v", f"{config}:/etc/registry.yml:ro"]
    volumes += ["-v", f"{bundle.registry_binary}:/usr/bin/registry:ro"]
    command = [image, "/usr/bin/registry", "serve", "/etc/registry.yml"]
    if start(lab, name, address, volumes, command):
        podman("start", name)


def _artifacts(lab: Lab, bundle: Bundle, image: str) -> None:
    files = f"{lab.network}-files"
    served = f"{bundle.repository}:{bundle.wheels}:{bundle.manifests}"
    if _container(files).state != "missing":
        label = '{{index .Config.Labels "baremetal.sonic.served"}}'
        if podman("container", "inspect", "--format", label, files).strip() != served:
            podman("rm", "--force", "--time", "0", files)
    registry(lab, bundle, image, f"{lab.network}-registry", lab.registry_address)
    if start(
        lab,
        files,
        lab.files_address,
        ["--label", f"baremetal.sonic.served={served}"]
        + ["-v", f"{bundle.repository}:/srv/{bundle.repository.name}:ro"]
        + ["-v", f"{bundle.wheels}:/srv/wheels:ro"]
        + ["-v", f"{bundle.manifests}:/srv/{bundle.manifests.name}:ro"],
        [image, "python3", "-m", "http.server", "--directory", "/srv", "80"],
    ):
        podman("start", files)


def _host(lab: Lab, host: Host, image: str, keys: Path) -> None:
    name = f"{lab.network}-{host.name}"
    options = ["--privileged", "--systemd=always", "--cgroupns=private"]
    options += ["-v", f"{keys}:/root/.ssh/authorized_keys:ro"]
    # Overlay does not stack on overlay, so containerd and the kubelet get volumes.
    for folder in ("containerd", "kubelet"):
        volume = f"{name}-{folder}"
        if _missing("volume", volume):
            podman("volume", "create", "--label", lab.label, volume)
        options += ["-v", f"{volume}:/var/lib/{folder}"]
    if start(lab, name, lab.address(host.octet), options, [image, "sh", "-ec", INIT]):
        if host.gpus:
            # The hardware that is plugged in: the mock driver reads it when it is installed.
            with tempfile.TemporaryDirectory() as folder:
                plugged = Path(folder) / "nvidia-mock"
                plugged.mkdir()
                (plugged / "gpus").write_text(f"{host.gpus}\n", encoding="utf-8")
                podman("cp", plugged, f"{name}:/etc/")
        podman("start", name)
    _wait_for_ssh(lab, host)


def _wait_for_ssh(lab: Lab, host: Host) -> None:
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [*ssh_command(lab, lab.address(host.octet)), "true"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise LabError(f"{host.name} does not answer on SSH after 60 s: {done.stderr.strip()}")
        time.sleep(0.3)


def ssh_command(lab: Lab, address: str) -> list[str]:
    """Return the words before a remote command."""
    return [
        "ssh", "-i", str(lab.ssh_key), "-o", "StrictHostKeyChecking=accept-new",
        "-o", f"UserKnownHostsFile={lab.directory / 'known_hosts'}", "-o", "LogLevel=ERROR",
        "-o", "ConnectTimeout=3", "-o", "BatchMode=yes", f"root@{address}",
    ]  # fmt: skip
