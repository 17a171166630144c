# SPDX-License-Identifier: Apache-2.0
"""How kubeadm's messages and files are read. kubeadm_node's tests run the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host import kubeadm


def test_checks_are_ignored_for_a_second_try_only() -> None:
    first = kubeadm.command("init", Path("/run/a.yaml"), [], resume=False)
    assert first == ["kubeadm", "init", "--config=/run/a.yaml", "--skip-token-print"]
    again = kubeadm.command("join", Path("/run/a.yaml"), ["Swap", "Port-10250"], resume=True)
    (ignored,) = [word for word in again if word.startswith("--ignore-preflight-errors=")]
    names = ignored.partition("=")[2].split(",")
    assert sorted({*kubeadm.RESUME, "Swap"}) == names
    assert "--skip-token-print" not in again


def test_only_errors_are_reported() -> None:
    output = (
        "[init] Using Kubernetes version: v1.36.3\n"
        "\t[WARNING Hostname]: hostname could not be reached\n"
        "error: error execution phase preflight: [preflight] Some fatal errors occurred:\n"
        "\t[ERROR Port-6443]: Port 6443 is in use\n"
        "\t[ERROR Mem]: the system RAM (900 MB) is less than the minimum 1700 MB\n"
        "To see the stack trace of this error execute with --v=5 or higher\n"
    )
    printed = kubeadm.failure(output).splitlines()
    assert [line.split(":")[0].strip() for line in printed] == [
        "error",
        "[ERROR Port-6443]",
        "[ERROR Mem]",
    ]


def test_output_without_an_error_is_reported_by_its_end() -> None:
    assert kubeadm.failure("a\nb\nc\n", lines=2) == "b\nc"
    assert kubeadm.failure("") == ""
    assert kubeadm.last_line(" \n") == "no message"


@pytest.mark.parametrize("missing", kubeadm.LAST_OBJECTS)
def test_init_is_complete_with_all_of_its_last_objects(missing: str) -> None:
    there = [name for name in kubeadm.LAST_OBJECTS if name != missing]
    assert not kubeadm.objects_present("\n".join(there))
    assert not kubeadm.objects_present("\n".join([*there, f"{missing}-extra"]))
    assert kubeadm.objects_present("\n".join([missing, *there]))


def test_base_cannot_redirect_the_join() -> None:
    base = {"kind": "InitConfiguration", "discovery": {"file": {"kubeConfigPath": "/tmp/other"}}}
    text = kubeadm.join_configuration(
        base, "192.0.2.11:6443", {"token": "a.b", "ca_cert_hash": "sha256:0"}
    )
    assert '"kind": "JoinConfiguration"' in text
    assert "other" not in text
    assert base["kind"] == "InitConfiguration"
