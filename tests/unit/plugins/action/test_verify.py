# SPDX-License-Identifier: Apache-2.0
"""The action plugin verify, run by ansible-playbook: the table, the files and the verdict."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.verify_results import CHECKS, VERSIONS

ROOT = Path(__file__).resolve().parents[4]
PASSING = [check.as_dict() for check in CHECKS if check.verdict != "fail"]
ALL = [check.as_dict() for check in CHECKS]


def run(
    tmp_path: Path, checks: list[dict[str, Any]], callback: str = "default", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the action for a host that cannot be reached; write what it returned to a file."""
    tasks = [
        {
            "baremetal.sonic.verify": {"site": "rack1", "checks": checks, **options},
            "register": "result",
        },
        {
            "ansible.builtin.copy": {
                "content": "{{ result | to_json }}",
                "dest": f"{tmp_path}/out",
            },
            "delegate_to": "localhost",
        },
    ]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    # Not the checkout's settings: its further callbacks print times.
    settings = tmp_path / "ansible.cfg"
    settings.write_text(f"[defaults]\ncollections_path = {ROOT}/.lab/collections\n")
    environment = {
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_STDOUT_CALLBACK": callback,
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "100",
    }
    return subprocess.run(
        ["ansible-playbook", "-i", "unreachable.invalid,", playbook],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def returned(tmp_path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
    return result


def test_a_site_that_passes(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    done = run(tmp_path, PASSING, folder=str(folder), versions=VERSIONS, seconds=21.44)
    assert done.returncode == 0, done.stdout + done.stderr
    result = returned(tmp_path)
    assert (result["verdict"], result["changed"]) == ("warn", False)
    assert [check["id"] for check in result["checks"]] == [check["id"] for check in PASSING]
    assert "\n".join(result["table"]) in done.stdout
    assert result["table"][0] == "pass     rollouts             9 of 9 are complete"
    assert result["table"][-1] == "site rack1: warn (4 pass, 1 warn, 1 skipped)"
    assert [Path(file) for file in result["files"]] == [
        folder / name
        for name in (
            "rack1.json", "rack1.xml", "rack1.html", "index.html", "calendar.json", "calendar.ics"
        )
    ]  # fmt: skip
    plain = json.loads((folder / "rack1.json").read_text(encoding="utf-8"))
    assert (plain["checks"], plain["versions"]) == (result["checks"], VERSIONS)
    assert plain["seconds"] == 21.4


def test_a_site_that_fails_still_has_its_files(tmp_path: Path) -> None:
    done = run(tmp_path, ALL, folder=str(tmp_path / "reports"))
    assert done.returncode == 2
    assert "1 of 7 checks failed" in done.stdout + done.stderr
    assert "do: look for throttled GPUs" in done.stdout
    # The table says it once: checks and table are not printed again with the error.
    assert "SpeechSlowFirstAudio" not in done.stdout
    plain = json.loads((tmp_path / "reports/rack1.json").read_text(encoding="utf-8"))
    assert plain["verdict"] == "fail"
    assert (tmp_path / "reports/index.html").exists()


def test_skipped_checks_fail_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, ALL, skip=["speech-ttfa", "ingress-certificate"])
    assert done.returncode == 0, done.stdout
    result = returned(tmp_path)
    assert (result["verdict"], result["files"]) == ("pass", [])
    skipped = {c["id"]: c["evidence"] for c in result["checks"] if c["verdict"] == "skipped"}
    assert skipped == {
        "speech-ttfa": "skipped by verify_skip",
        "ingress-certificate": "skipped by verify_skip",
        "autoscaling": "no worker is autoscaled",
    }


def test_a_program_reads_json_without_a_table(tmp_path: Path) -> None:
    done = run(tmp_path, PASSING, callback="ansible.posix.json")
    assert json.loads(done.stdout)["stats"]["unreachable.invalid"]["failures"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"skip": ["nats", "nat"]},
            "verify_skip: no check is called nat: use autoscaling, driver-",
        ),
        ({"folder": "/dev/null/reports"}, "verify_folder: /dev/null/reports cannot be written"),
        ({"folder": "/tmp", "site": "../x"}, "site_name: '../x' cannot be the name of a file"),
        ({"checks": [{"id": "a"}]}, "checks: check 1 (a): KeyError: 'title'"),
        ({"checks": [PASSING[0], PASSING[0]]}, "more than one check has the id rollouts"),
    ],
)
def test_wrong_options_are_one_clear_error(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    done = run(tmp_path, **({"checks": PASSING} | options))
    assert done.returncode == 2
    text = " ".join((done.stdout + done.stderr).split())
    assert message in text
    assert "Traceback" not in text
