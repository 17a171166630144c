# SPDX-License-Identifier: Apache-2.0
"""What apt_packages concludes from dpkg's and apt's words."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import apt_packages

DPKG = "ii \tconntrack\t1:1.4.7-1+b2\nrc \tcurl\t7.88\niU \tkubelet\t1.36.3-1.1\n"
MADISON = """\
containerd.io | 2.3.7-1~debian.12~bookworm | http://example.com/apt ./ Packages
containerd.io | 2.3.6-1~debian.12~bookworm | http://example.com/apt ./ Packages
   runc | 1.1.5 | http://example.com/debian bookworm/main amd64 Packages
"""


def test_half_installed_does_not_count() -> None:
    assert apt_packages.installed_versions(DPKG) == {"conntrack": "1:1.4.7-1+b2"}


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
    installed = apt_packages.installed_versions(DPKG)
    assert apt_packages.missing([package], installed) == ([] if satisfied else [package])


def test_newest_version_that_fits() -> None:
    available = apt_packages.available_versions(MADISON)
    assert apt_packages.choose(["containerd.io=2.3.6-*", "runc", "containerd.io"], available) == (
        ["containerd.io=2.3.6-1~debian.12~bookworm", "runc=1.1.5"]
        + ["containerd.io=2.3.7-1~debian.12~bookworm"],
        [],
    )


def test_refusal_names_all_and_what_there_is() -> None:
    available = apt_packages.available_versions(MADISON)
    wanted = ["containerd.io=3.0.0-*", "kubelet=1.36.3-*"]
    _chosen, unknown = apt_packages.choose(wanted, available)
    message = apt_packages.refusal(unknown, available)
    assert "containerd.io=3.0.0-* (there is 2.3.7-1~debian.12~bookworm, 2.3.6-1" in message
    assert "kubelet=1.36.3-* (no repository has it)" in message
