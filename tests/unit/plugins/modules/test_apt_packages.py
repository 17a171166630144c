# SPDX-License-Identifier: Apache-2.0
"""What apt_packages concludes from the output of dpkg and apt."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host import packages
from ansible_collections.baremetal.sonic.plugins.module_utils._host.apt_locks import Apt
from ansible_collections.baremetal.sonic.plugins.modules import apt_packages

from tests.unit.plugins.module_utils._host.test_apt_locks import Clock, Hold, hold, release
from tests.unit.plugins.modules.running import Modules

__all__ = ["hold"]

DPKG = "ii \tconntrack\t1:1.4.7-1+b2\nrc \tcurl\t7.88\niU \tkubelet\t1.36.3-1.1\n"
MADISON = """\
containerd.io | 2.3.7-1~debian.12~bookworm | http://example.com/apt ./ Packages
containerd.io | 2.3.6-1~debian.12~bookworm | http://example.com/apt ./ Packages
   runc | 1.1.5 | http://example.com/debian bookworm/main amd64 Packages
"""
POLICY = """\
containerd.io:
  Installed: (none)
  Candidate: 2.3.7-1~debian.12~bookworm
  Version table:
     2.3.7-1~debian.12~bookworm 500
        500 http://example.com/apt ./ Packages
runc:
  Installed: 1.1.4
  Candidate: 1.1.5
docker.io:
  Installed: (none)
  Candidate: (none)
"""


def test_half_installed_does_not_count() -> None:
    assert packages.installed_versions(DPKG) == {"conntrack": "1:1.4.7-1+b2"}


@pytest.mark.parametrize(
    ("package", "satisfied"),
    [
        ("conntrack", True),
        ("conntrack=1:1.4.7-*", True),
        ("conntrack=1:1.4.8-*", False),
        ("curl", False),
    ],
)
def test_missing(package: str, satisfied: bool) -> None:
    installed = packages.installed_versions(DPKG)
    assert packages.missing([package], installed) == ([] if satisfied else [package])


def test_newest_version_that_fits() -> None:
    available = apt_packages.available_versions(MADISON)
    candidates = apt_packages.candidate_versions(POLICY)
    wanted = ["containerd.io=2.3.6-*", "runc", "containerd.io=2.3.*"]
    assert apt_packages.choose(wanted, available, candidates) == (
        ["containerd.io=2.3.6-1~debian.12~bookworm", "runc=1.1.5"]
        + ["containerd.io=2.3.7-1~debian.12~bookworm"],
        [],
    )


def test_refusal_names_all_and_what_there_is() -> None:
    available = apt_packages.available_versions(MADISON)
    wanted = ["containerd.io=3.0.0-*", "kubelet=1.36.3-*"]
    _chosen, unknown = apt_packages.choose(wanted, available, {})
    message = apt_packages.refusal(unknown, available)
    assert "containerd.io=3.0.0-* (there is 2.3.7-1~debian.12~bookworm, 2.3.6-1" in message
    assert "kubelet=1.36.3-* (no repository has it)" in message


def test_the_candidate_counts_where_no_version_is_asked() -> None:
    """Backports are newer in madison, and no candidate: 6.12 headers on a 6.1 kernel."""
    name = "linux-headers-amd64"
    madison = (
        f"{name} | 6.12.9-1~bpo12+1 | http://deb.debian.org/debian bookworm-backports/main\n"
        f"{name} | 6.1.123-1 | http://deb.debian.org/debian bookworm/main\n"
    )
    policy = f"{name}:\n  Installed: (none)\n  Candidate: 6.1.123-1\n"
    available = apt_packages.available_versions(madison)
    candidates = apt_packages.candidate_versions(policy)
    assert apt_packages.choose([name], available, candidates) == ([f"{name}=6.1.123-1"], [])
    asked = f"{name}=6.12.*"
    assert apt_packages.choose([asked], available, candidates) == (
        [f"{name}=6.12.9-1~bpo12+1"],
        [],
    )


def test_a_package_that_a_pin_keeps_away() -> None:
    candidates = apt_packages.candidate_versions(POLICY)
    available = {"docker.io": ["20.10.24"]}
    assert apt_packages.choose(["docker.io"], available, candidates) == ([], ["docker.io"])
    lines = apt_packages.refusal(["docker.io"], available)
    assert "a pin in /etc/apt/preferences.d keeps away 20.10.24" in lines


@pytest.mark.parametrize("status", ["ii ", "hi ", "ri ", "pi "])
def test_what_is_installed_counts_whatever_is_wanted_of_it(status: str) -> None:
    actual = packages.installed_versions(f"{status}\tkubelet\t1.36.3-1.1\n")
    assert packages.missing(["kubelet=1.36.3-*"], actual) == []


@pytest.mark.parametrize("status", ["iU ", "iF ", "hF ", "iHR", "rc ", "un ", "hc "])
def test_what_is_not_whole_does_not_count(status: str) -> None:
    assert packages.installed_versions(f"{status}\tkubelet\t1.36.3-1.1\n") == {}


SIMULATED = """\
Remv docker.io [20.10.24+dfsg1-1+b3]
Inst containerd.io [2.3.9-1] (2.3.7-1 Docker:bookworm [amd64])
Inst kubelet [1.36.2-1.1] (1.36.3-1.1 Kubernetes:/ [amd64]) []
Inst conntrack (1:1.4.7-1 Debian:12.15/oldstable [amd64])
Conf containerd.io (2.3.7-1 Docker:bookworm [amd64])
"""


class Host:
    """A host's dpkg and apt: what they say, and what was asked of them."""

    def __init__(self, modules: Modules, folder: Path) -> None:
        self.modules = modules
        self.folder = folder
        self.has("un \tkubelet\t")
        self.offers("kubelet", "1.36.3-1.1")
        self.simulates("Inst kubelet (1.36.3-1.1 Kubernetes:/ [amd64])")
        self.holds()
        modules.program("dpkg", '[ "$1" = --compare-versions ] && exec /usr/bin/dpkg "$@"; exit 0')

    def has(self, line: str) -> None:
        self.modules.program("dpkg-query", f"printf '{line}\\n'")

    def holds(self, *names: str) -> None:
        self.modules.program("apt-mark", f"echo '{chr(10).join(names)}'")

    def offers(self, name: str, version: str) -> None:
        policy = f"{name}:\\n  Installed: (none)\\n  Candidate: {version}\\n"
        madison = f"{name} | {version} | http://example.com/apt ./ Packages\\n"
        self.modules.program(
            "apt-cache", f"[ $1 = policy ] && printf '{policy}' || printf '{madison}'"
        )

    def simulates(self, text: str) -> None:
        (self.folder / "simulated").write_text(text)
        simulated = self.folder / "simulated"
        self.modules.program("apt-get", f'case "$*" in *--simulate*) cat {simulated};; esac')

    def call(self, *packages: str, **options: Any) -> dict[str, Any]:
        wanted = list(packages) or ["kubelet=1.36.3-*"]
        return self.modules.call(apt_packages.main, packages=wanted, **options)

    @property
    def installed(self) -> list[str]:
        """apt-get's words for each installation that was not a simulation."""
        return [
            line
            for line in self.modules.ran
            if line.startswith("apt-get") and "--simulate" not in line
        ]


@pytest.fixture
def host(modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(apt_packages, "Apt", functools.partial(Apt, locks=()))
    return Host(modules, tmp_path)


def test_an_installation_that_harms_nothing(host: Host) -> None:
    result = host.call()
    assert (result["changed"], result["installed"]) == (True, ["kubelet=1.36.3-1.1"])
    [line] = host.installed
    assert line.endswith(
        "--option=Dpkg::Options::=--force-confold --no-remove -- kubelet=1.36.3-1.1"
    )
    assert "--allow" not in line
    assert host.modules.ran[-4].startswith("dpkg --configure --pending")


def test_nothing_missing_asks_apt_nothing(host: Host) -> None:
    host.has("hi \tkubelet\t1.36.3-1.1")
    assert not host.call()["changed"]
    assert host.modules.ran[0].startswith("dpkg-query --show")
    assert not [line for line in host.modules.ran if line.startswith(("apt", "dpkg -"))]


DRIVER = (
    "ii \tnvidia-driver-cuda\t580.95.05-1\nhi \tlibnvidia-ml1\t580.95.05-1\n"
    "ii \tlibnvidia-container1\t1.20.1-1\nrc \tnvidia-smi\t580.95.05-1"
)
HOLD = ["nvidia-*=580.*", "libnvidia-*=580.*"]


def test_what_matches_by_name_and_version_is_held(host: Host) -> None:
    host.has(DRIVER)
    host.modules.program("apt-mark")
    result = host.call("nvidia-driver-cuda=580.*", hold=HOLD, diff=True)
    assert (result["changed"], result["held"]) == (True, ["nvidia-driver-cuda"])
    assert result["installed"] == []
    assert result["diff"]["after"] == "nvidia-driver-cuda on hold\n"
    assert host.modules.ran[-1] == "apt-mark hold nvidia-driver-cuda"
    host.has(DRIVER.replace("ii \tnvidia-driver", "hi \tnvidia-driver"))
    assert not host.call("nvidia-driver-cuda=580.*", hold=HOLD)["changed"]


def test_check_mode_holds_nothing(host: Host) -> None:
    host.has(DRIVER)
    assert host.call("nvidia-driver-cuda", hold=HOLD, check=True)["held"] == ["nvidia-driver-cuda"]
    assert not [line for line in host.modules.ran if line.startswith("apt-mark")]


def test_a_held_version_changes_only_where_that_is_allowed_and_is_held_again(host: Host) -> None:
    host.has("hi \tkubelet\t1.36.2-1.1")
    host.simulates("Inst kubelet [1.36.2-1.1] (1.36.3-1.1 Kubernetes:/ [amd64])")
    host.holds("kubelet")
    assert "would change the held kubelet" in host.call(hold=["kubelet"])["msg"]
    installed, simulated = host.folder / "installed", host.folder / "simulated"
    installed.write_text("hi \tkubelet\t1.36.2-1.1\n")
    host.modules.program("dpkg-query", f"cat {installed}")
    after = "ii \\tkubelet\\t1.36.3-1.1\\n"
    host.modules.program(
        "apt-get",
        f"case \"$*\" in *--simulate*) cat {simulated};; *) printf '{after}' > {installed};; esac",
    )
    result = host.call(hold=["kubelet"], allow=["held"])
    assert (result["installed"], result["held"]) == (["kubelet=1.36.3-1.1"], ["kubelet"])
    assert host.modules.ran[-1] == "apt-mark hold kubelet"


def test_everything_that_is_not_allowed_is_named_before_a_change(host: Host) -> None:
    host.simulates(SIMULATED)
    host.holds("kubelet", "bash")
    for check in (False, True):
        result = host.call(check=check)["msg"]
        assert "would remove docker.io 20.10.24+dfsg1-1+b3" in result
        assert "would lower the version of containerd.io 2.3.9-1 to 2.3.7-1" in result
        assert (
            "would change the held kubelet 1.36.2-1.1: release them with 'apt-mark unhold" in result
        )
        for kind in ("remove", "downgrade", "held"):
            assert f"add {kind} to site_apt_allow" in result
    assert host.installed == []


def test_what_is_allowed_is_done(host: Host) -> None:
    host.simulates(SIMULATED)
    host.holds("kubelet")
    assert host.call(allow=["remove", "downgrade", "held"])["changed"]
    [line] = host.installed
    assert "--no-remove" not in line
    assert "--allow-downgrades --allow-change-held-packages -- kubelet=1.36.3-1.1" in line
    assert "remove docker.io" in host.call(allow=["downgrade", "held"])["msg"]


def test_an_allowance_that_there_is_not(host: Host) -> None:
    result = host.call(allow=["purge", "held"])
    assert result["failed"]
    assert "no purge: choose of remove, downgrade, held" in result["msg"]


def test_check_mode_changes_nothing(host: Host) -> None:
    result = host.call(check=True, diff=True)
    assert result["installed"] == ["kubelet=1.36.3-1.1"]
    assert result["diff"]["after"] == "kubelet=1.36.3-1.1\n"
    assert host.installed == []
    assert not [line for line in host.modules.ran if line.startswith("dpkg --configure")]


def test_check_mode_answers_for_a_repository_that_is_not_there_yet(host: Host) -> None:
    host.modules.program("apt-cache")
    assert host.call(check=True)["installed"] == ["kubelet=1.36.3-*"]
    assert "no repository has it" in host.call()["msg"]


def test_apts_own_words_are_passed_on(host: Host) -> None:
    host.modules.program(
        "apt-get", "echo 'kubelet : Depends: cri-tools'; echo 'E: broken' >&2; exit 100"
    )
    result = host.call()["msg"]
    assert "apt-get failed: E: broken\nkubelet : Depends: cri-tools" in result


def locked(host: Host, monkeypatch: pytest.MonkeyPatch, lock: Path, clock: Clock) -> None:
    made = functools.partial(Apt, locks=(lock,), clock=clock, sleep=clock.sleep)
    monkeypatch.setattr(apt_packages, "Apt", made)


def test_a_taken_lock_is_waited_for_and_reported(
    host: Host, tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, clock = tmp_path / "lock", Clock()
    process = hold(lock)
    clock.at[120.0] = lambda: release(process)
    locked(host, monkeypatch, lock, clock)
    result = host.call()
    assert result["changed"]
    [line] = result["waited"]
    assert line.startswith(f"waited 20 s: {lock} is held by process {process.pid}")
    assert len(host.installed) == 1


def test_a_lock_that_stays_taken_fails_before_a_change(
    host: Host, tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, clock = tmp_path / "lock", Clock()
    process = hold(lock)
    locked(host, monkeypatch, lock, clock)
    result = host.call(lock_timeout=30)["msg"]
    assert f"dpkg: after 30 s of waiting, {lock} is held by process {process.pid}" in result
    assert f"({sys.executable} -c" in result
    assert host.installed == []
    assert clock.now == 130.0


@pytest.mark.skipif(not Path("/usr/bin/dpkg").exists(), reason="no dpkg here")
@pytest.mark.parametrize("name", ["lock-frontend", "lock"])
def test_the_real_dpkg_is_waited_for(tmp_path: Path, hold: Hold, name: str) -> None:
    """dpkg --configure --pending fails at once while another program holds its lock."""
    for part in ("updates", "info", "triggers"):
        (tmp_path / part).mkdir()
    for part in ("status", "available", "lock", "lock-frontend"):
        (tmp_path / part).touch()
    process = hold(tmp_path / name)
    clock = Clock()
    clock.at[110.0] = lambda: release(process)

    def run(command: list[str], environ_update: dict[str, str]) -> tuple[int, str, str]:
        environment = environ_update | {"DPKG_ADMINDIR": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    notes: list[str] = []
    command = ["/usr/bin/dpkg", "--configure", "--pending", "--force-confold"]
    # Without the file that is looked at beforehand: dpkg itself meets the lock.
    runner = Apt(run, notes.append, 60, (), clock, clock.sleep)
    assert runner(command)[0] == 0
    assert clock.now == 110.0
    assert str(process.pid) in notes[0]
