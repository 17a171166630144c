# SPDX-License-Identifier: Apache-2.0
"""Each host over SSH: packages, services, files, kernel, GPUs, and which ports it opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = yaml.safe_load((ROOT / "roles/site/defaults/main.yml").read_text())["site_versions"]

PACKAGES = {
    "kubelet": "kubernetes",
    "kubeadm": "kubernetes",
    "kubectl": "kubernetes",
    "cri-tools": "cri_tools",
    "kubernetes-cni": "cni_plugins",
    "containerd.io": "containerd",
}

NOUVEAU = "/etc/modprobe.d/baremetal-sonic-nouveau.conf"

# Ports that may be open to others, by the group whose hosts open them, and what listens there.
OPEN = {
    "all": {
        22: "sshd",
        179: "kube-router (BGP)",
        9100: "node-exporter, by kube-rbac-proxy",
        10250: "kubelet",
        10256: "kube-proxy (health)",
    },
    "control_plane": {
        2379: "etcd",
        2380: "etcd",
        6443: "kube-apiserver",
        9379: "etcd's metrics, by kube-rbac-proxy",
        10257: "kube-controller-manager",
        10259: "kube-scheduler",
    },
    # Their ports 80 and 443 lead to the controller's pod: nothing on the host listens on them.
    "ingress": {},
    "gpu_workers": {},
}


def open_ports(machine: Any) -> set[int]:
    """Return the TCP ports on which a host listens on more than its loopback addresses."""
    lines = machine.check_output("ss --no-header --listening --tcp --numeric").splitlines()
    ports = set()
    for line in lines:
        address, port = line.split()[3].rsplit(":", 1)
        if not address.startswith(("127.", "[::1]")):
            ports.add(int(port))
    return ports


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_the_site_version(machine: Any, package: str) -> None:
    installed = machine.package(package)
    assert installed.is_installed
    assert installed.version.startswith(f"{VERSIONS[PACKAGES[package]]}-")


@pytest.mark.parametrize("name", ["containerd", "kubelet"])
def test_service_runs_and_starts_at_boot(machine: Any, name: str) -> None:
    service = machine.service(name)
    assert service.is_running
    assert service.is_enabled


def test_system_has_no_failed_unit(machine: Any) -> None:
    assert machine.check_output("systemctl --failed --no-legend --plain") == ""


def test_inotify_instances_suffice_for_many_pods(machine: Any) -> None:
    assert machine.sysctl("fs.inotify.max_user_instances") >= 8192


@pytest.mark.parametrize("key", ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"])
def test_kernel_lets_pods_talk(machine: Any, key: str) -> None:
    assert machine.sysctl(key) == 1


def test_containerd_pulls_from_the_site_registry(machine: Any) -> None:
    folders = machine.file("/etc/containerd/certs.d").listdir()
    assert folders
    assert all(
        machine.file(f"/etc/containerd/certs.d/{folder}/hosts.toml").exists for folder in folders
    )


def test_vendors_registry_gives_nothing_to_strangers(gpu_machine: Any) -> None:
    images = gpu_machine.check_output("crictl images --output json")
    name = next(
        tag
        for image in json.loads(images)["images"]
        for tag in image["repoTags"]
        if tag.startswith("us-docker.pkg.dev/")
    )
    pulled = gpu_machine.run(f"crictl pull {name}")
    assert pulled.rc != 0
    assert "authorization failed" in pulled.stderr


def test_containerd_has_cdi_and_its_imports(machine: Any) -> None:
    settings = machine.check_output("containerd config dump")
    assert "enable_cdi = true" in settings
    assert "SystemdCgroup = true" in settings


def test_runtime_answers(machine: Any) -> None:
    answer = machine.check_output("crictl version").split()
    assert answer[answer.index("RuntimeVersion:") + 1] == f"v{VERSIONS['containerd']}"


def test_only_expected_ports_are_open(machine: Any, node: str, info: dict[str, Any]) -> None:
    groups = ["all", *info["hosts"][node]["groups"]]
    expected: dict[int, str] = {}
    for group in groups:
        expected |= OPEN[group]
    opened = open_ports(machine)
    assert opened - expected.keys() == set(), "open, and not expected"
    missing = {port: what for port, what in expected.items() if port not in opened}
    assert missing == {}, "expected, and not open"


def test_driver_and_toolkit_are_installed(gpu_machine: Any) -> None:
    toolkit = gpu_machine.package("nvidia-container-toolkit")
    assert toolkit.is_installed
    assert toolkit.version.startswith(VERSIONS["nvidia_container_toolkit"])
    assert "libnvidia-ml.so.1" in gpu_machine.check_output("ldconfig --print-cache")


def test_an_upgrade_of_all_packages_leaves_the_driver(gpu_machine: Any) -> None:
    driver = {"nvidia-driver-cuda", "nvidia-driver-mock", "nvidia-kernel-open-dkms"}
    held = set(gpu_machine.check_output("apt-mark showhold").split())
    assert driver <= held
    assert "nvidia-container-toolkit" not in held
    pins = gpu_machine.file("/etc/apt/preferences.d/baremetal-sonic-nvidia-driver.pref")
    assert "Pin: version 580.*" in pins.content_string
    assert "blacklist nouveau" in gpu_machine.file(NOUVEAU).content_string.splitlines()


def test_every_gpu_has_its_device(gpu_machine: Any, gpu_node: str, info: dict[str, Any]) -> None:
    devices = gpu_machine.check_output(
        "find /dev -maxdepth 1 -type c -name 'nvidia[0-9]*' | sort"
    ).split()
    assert devices == [f"/dev/nvidia{number}" for number in range(info["hosts"][gpu_node]["gpus"])]
    assert gpu_machine.run("test -c /dev/nvidiactl").succeeded


def test_a_reload_of_units_finds_every_gpu(gpu_machine: Any) -> None:
    """systemd knows a container's devices by /dev/char, where NVIDIA's driver makes no links."""
    program = (
        "import glob, os\n"
        "for path in sorted(glob.glob('/dev/nvidia*')):\n"
        "    made = os.stat(path).st_rdev\n"
        "    link = f'/dev/char/{os.major(made)}:{os.minor(made)}'\n"
        "    print(path, os.path.realpath(link))\n"
    )
    for command in ("true", "systemctl daemon-reload"):
        gpu_machine.check_output(command)
        lines = gpu_machine.check_output("python3 -c %s", program).splitlines()
        pairs = [line.split() for line in lines]
        assert "/dev/nvidiactl" in [device for device, _link in pairs]
        assert [device for device, link in pairs if device != link] == []


def test_nvidia_settings_are_a_drop_in_of_their_own(gpu_machine: Any) -> None:
    main = gpu_machine.file("/etc/containerd/config.toml").content_string
    assert "nvidia" not in main.lower().replace("/etc/containerd/conf.d/", "")
    files = gpu_machine.check_output(
        "grep --recursive --files-with-matches nvidia /etc/containerd --include='*.toml'"
    )
    drop_ins = [path for path in files.splitlines() if "/certs.d/" not in path]
    assert drop_ins
    folders = {str(Path(path).parent) for path in drop_ins}
    assert any(
        f"{folder}/" in line
        for folder in folders
        for line in main.splitlines()
        if "imports" in line
    )


def test_hosts_without_gpus_have_nothing_of_nvidia(
    machine: Any, node: str, info: dict[str, Any]
) -> None:
    has = machine.package("nvidia-container-toolkit").is_installed
    assert has == (info["hosts"][node]["gpus"] > 0)
