# SPDX-License-Identifier: Apache-2.0
"""gpu_info as Ansible runs it: what it returns, and when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.driver.package import build_libraries

ROOT = Path(__file__).resolve().parents[4]
MODULE = "ansible_collections.baremetal.sonic.plugins.modules.gpu_info"

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def mock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mock NVML, compiled."""
    return build_libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def run(mock_library: Path, tmp_path: Path) -> Run:
    """Runs the module against a host with two mock GPUs; returns what it prints."""
    (tmp_path / "dev").mkdir()
    for name in ("nvidiactl", "nvidia0", "nvidia1"):
        (tmp_path / "dev" / name).touch()

    def run(check: bool = False, init: int = 0, **options: Any) -> dict[str, Any]:
        options.setdefault("library", str(mock_library))
        internal = {"_ansible_check_mode": check, "_ansible_remote_tmp": str(tmp_path)}
        # ansible-core reads its arguments from standard input, with the profile they are in.
        wrapper = (
            "import json, sys, runpy\n"
            "from ansible.module_utils import basic\n"
            "basic._ANSIBLE_ARGS = sys.argv[1].encode()\n"
            "basic._ANSIBLE_PROFILE = 'legacy'\n"
            f"runpy.run_module({MODULE!r}, run_name='__main__')\n"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                wrapper,
                json.dumps({"ANSIBLE_MODULE_ARGS": options | internal}),
            ],
            env=dict(os.environ)
            | {
                "MOCK_NVML_ROOT": str(tmp_path),
                "MOCK_NVML_INIT": str(init),
                "PYTHONPATH": str(ROOT / ".lab/collections"),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        assert result.get("failed", False) == (done.returncode != 0)
        return result

    return run


def test_describes_and_changes_nothing(run: Run) -> None:
    result = run()
    assert result["changed"] is False
    assert result["usable"] is True
    assert [gpu["minor_number"] for gpu in result["gpus"]] == [0, 1]
    assert result["reboot_required"] is False


@pytest.mark.parametrize("count", [0, 2])
def test_expected_count_is_there(run: Run, count: int) -> None:
    assert "failed" not in run(expected_count=count)


def test_other_count_fails_and_names_the_host(run: Run) -> None:
    result = run(expected_count=4)
    assert result["failed"] is True
    assert result["msg"].startswith(f"{os.uname().nodename} has 2 GPUs")
    assert len(result["gpus"]) == 2


def test_driver_that_does_not_answer_is_only_described(run: Run) -> None:
    result = run(init=18)
    assert "failed" not in result
    assert (result["usable"], result["state"]) == (False, "version_mismatch")
    assert result["reboot_required"] is False


def test_driver_that_does_not_answer_fails_who_expects_gpus(run: Run) -> None:
    result = run(init=18, expected_count=0)
    assert result["failed"] is True
    assert result["msg"] == f"{os.uname().nodename}: {result['reason']}"


def test_caller_that_reboots_gets_reboot_required(run: Run) -> None:
    result = run(init=18, expected_count=2, reboot_for=["driver_not_loaded", "version_mismatch"])
    assert "failed" not in result
    assert result["reboot_required"] is True


def test_reboot_for_another_state_does_not_count(run: Run) -> None:
    assert run(init=18, expected_count=2, reboot_for=["driver_not_loaded"])["failed"] is True


def test_check_mode_tells_and_does_not_fail(run: Run) -> None:
    result = run(check=True, library="libnvidia-ml-that-is-not.so.1", expected_count=2)
    assert "failed" not in result
    assert result["msg"].startswith("would fail: ")
    assert result["state"] == "library_missing"


def test_negative_count_is_refused(run: Run) -> None:
    assert "must not be negative" in run(expected_count=-1)["msg"]
