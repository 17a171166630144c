# SPDX-License-Identifier: Apache-2.0
"""Real processes of ansible-playbook for sites that need no host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.children import (
    AnsibleRunner,
    Processes,
    changes,
    descendants,
    reason,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.engine import (
    Engine,
    Settings,
    StoppedError,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.plan import Budget
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import Store

from tests.playbooks import ROOT, ansible
from tests.unit.plugins.plugin_utils.rollouts.test_engine import Events

SITES = ("oslo", "rome", "lima")


class RealClock:
    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def play(hosts: str, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An inventory of three sites and their playbooks. Rome has no network."""
    dead = tmp_path / "dead-ssh"
    dead.write_text("#!/bin/sh\necho no route to host >&2\nexit 255\n", encoding="utf-8")
    dead.chmod(0o755)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    away = {"ansible_connection": "ssh", "ansible_ssh_executable": str(dead)}
    hosts = {
        f"{site}-cp1": {"site_name": site, **(away if site == "rome" else here)} for site in SITES
    }
    note = {
        "ansible.builtin.shell": f"echo {{{{ site_name }}}} {{{{ version }}}} >> {tmp_path}/applied"
    }
    files = {
        "hosts.json": {"all": {"children": {"control_plane": {"hosts": hosts}}}},
        "steps.json": play(
            "control_plane",
            {
                "ansible.builtin.copy": {
                    "content": "{{ {'step': _rollout_step} | to_json }}",
                    "dest": "{{ _rollout_report }}",
                }
            },
        ),
        "apply.json": play("control_plane", {"name": "Note the version", **note}),
        "verify.json": play(
            "control_plane",
            {
                "ansible.builtin.wait_for": {"timeout": 600},
                "when": "site_name == hangs and _rollout_under_way == 'verify'",
            },
            {
                "ansible.builtin.copy": {
                    "content": "{{ {'verdict': 'pass'} | to_json }}",
                    "dest": f"{tmp_path}/verify/{{{{ site_name }}}}.json",
                },
                "when": "site_name != silent",
            },
        ),
    }
    (tmp_path / "verify").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


Rollout = Callable[..., Store]


@pytest.fixture
def rollout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """Run a rollout of the three sites with real processes."""
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".lab/collections"))

    def run(timeout: float, hangs: str, silent: str = "") -> Store:
        runner = AnsibleRunner(
            ["-i", str(folder / "hosts.json"), "-e", "version=7"],
            folder,
            folder / "steps.json",
            {site: [f"{site}-cp1"] for site in SITES},
            {"apply": str(folder / "apply.json"), "verify": str(folder / "verify.json")},
            timeout,
            lambda site, step, _state: {
                "_rollout_report": str(folder / f"{site}.step.json"),
                "_rollout_under_way": step,
                "hangs": hangs,
                "silent": silent,
            },
            Processes(grace=1.0),
        )
        store = Store(folder, "r1")
        store.load(restart=False)
        settings = Settings([list(SITES)], ["apply"], parallel=3, budget=Budget(3, 3))
        Engine(settings, store, runner, RealClock(), Events()).run()
        return store

    return run


def test_each_site_has_its_own_end(folder: Path, rollout: Rollout) -> None:
    store = rollout(timeout=25.0, hangs="lima")
    assert {name: state.result for name, state in store.sites.items()} == {
        "oslo": "passed",
        "rome": "set aside",
        "lima": "rolled back",
    }
    assert "no route to host" in store.site("rome").reason
    assert store.site("lima").failure == "verify: not done after 25 s (rollout_step_timeout)"
    # No site has waited for another.
    assert store.site("rome").seconds < store.site("oslo").seconds < store.site("lima").seconds
    assert store.site("oslo").reports["check"] == {"step": "check"}
    applied = sorted((folder / "applied").read_text(encoding="utf-8").splitlines())
    assert applied == ["lima 7", "oslo 7"]
    assert "PLAY RECAP" in (folder / "oslo.log").read_text(encoding="utf-8")
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and str(folder).encode() in path.read_bytes()
    ]
    assert left == []


def test_without_a_verdict_of_this_run_a_site_does_not_pass(folder: Path, rollout: Rollout) -> None:
    (folder / "verify" / "oslo.json").write_text('{"verdict": "pass"}', encoding="utf-8")
    store = rollout(timeout=25.0, hangs="", silent="oslo")
    assert "no good verdict" in store.site("oslo").failure
    assert store.site("lima").result == "passed"


def test_stop_ends_a_process_under_way(tmp_path: Path) -> None:
    processes = Processes(grace=1.0)
    threading.Timer(0.5, processes.stop).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        processes.run(["/bin/sleep", "60"], tmp_path / "log", 60, os.environ)
    assert time.monotonic() - begun < 10


def test_children_end_with_a_killed_controller(tmp_path: Path) -> None:
    program = (
        "import os, pathlib\n"
        "from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.children"
        " import Processes\n"
        f"Processes().run(['/bin/sleep', '600'], pathlib.Path({str(tmp_path / 'log')!r}), 600,"
        " os.environ)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".lab/collections")}
    controller = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        [child] = await_children(controller.pid)
    finally:
        controller.kill()
        controller.wait()
    assert ends(child)


def await_children(pid: int) -> list[int]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        children = descendants(pid)
        # Only after its exec has it asked for the parent's end.
        if children and b"sleep\x00600" in Path(f"/proc/{children[0]}/cmdline").read_bytes():
            return children
        time.sleep(0.05)
    raise AssertionError("the controller starts no child")


def test_a_killed_process_takes_those_that_left_its_group_along(tmp_path: Path) -> None:
    script = f"setsid sh -c 'trap : TERM; echo $$ > {tmp_path}/pid; sleep 600 & wait; sleep 600'"
    ended = Processes(grace=0.5).run(
        ["/bin/sh", "-c", script + "; sleep 600"], tmp_path / "log", 1.5, os.environ
    )
    assert ended.timed_out
    assert ends(int((tmp_path / "pid").read_text(encoding="utf-8")))


def ends(pid: int) -> bool:
    """Whether a process that was sent a signal ends soon."""
    end = time.monotonic() + 10
    while runs(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not runs(pid)


def runs(pid: int) -> bool:
    """Whether a process runs. A dead one may be left until its parent asks for its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_the_reason_is_the_last_error() -> None:
    output = (
        'fatal: [cp1]: FAILED! => {"changed": false, "msg": "the image\\ncannot be pulled"}\n'
        'fatal: [cp1 -> localhost]: FAILED! => {"msg": "runs again as before"}\n'
    )
    assert reason(output) == ("cp1 -> localhost: runs again as before", False)
    assert reason('fatal: [g1]: UNREACHABLE! => {"msg": "no route", "unreachable": true}\n') == (
        "g1: no route",
        True,
    )
    assert reason("[ERROR]: the playbook: x.yml could not be found\n")[0].endswith("be found")
    assert reason("") == ("", False)


def test_what_would_change() -> None:
    output = (
        "TASK [api : Apply the API] *****\nchanged: [cp1]\nok: [cp2]\n"
        "TASK [Other] ***\nok: [cp1]\nRUNNING HANDLER [Reload] ***\nchanged: [cp2 -> cp1]\n"
    )
    assert changes(output) == ["cp1: api : Apply the API", "cp2: Reload"]


def test_a_plan_of_all_sites_changes_nothing(folder: Path) -> None:
    done = ansible(
        *("-i", folder / "hosts.json", "playbooks/rollout.yml", "--check", "--diff"),
        *("-e", json.dumps({"version": 7, "rollout_folder": str(folder / "state")})),
        *("-e", json.dumps({"rollout_playbooks": [str(folder / "apply.json")]})),
        *("-e", json.dumps({"rollout_sites": ["oslo", "lima"]})),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wave 1  oslo  0 to change" in done.stdout
    assert "wave 2  lima  0 to change" in done.stdout
    assert not (folder / "applied").exists()
    assert not (folder / "state" / "state.json").exists()
    assert "skipping: [oslo-cp1]" in (folder / "state" / "oslo.log").read_text(encoding="utf-8")


def test_all_problems_before_the_first_change(folder: Path) -> None:
    wrong = {
        "rollout_folder": str(folder / "state"),
        "rollout_sites": ["oslo", "paris"],
        "rollout_waves": [["oslo"], ["oslo"]],
        "rollout_playbooks": ["baremetal.sonic.stak"],
        "rollout_windows": [{"from": "22:00", "to": "23:00", "zone": "Mars/Base"}],
        "rollout_parallel": 0,
        "rollout_webhook": "chat",
    }
    done = ansible(
        *("-i", folder / "hosts.json", "playbooks/rollout.yml", "-e", json.dumps(wrong)),
        *("--skip-tags", "never"),
    )
    output = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "7 to fix before anything is changed" in output
    for words in (
        "the inventory has no site paris", "site oslo is there 2 times", "zone is Mars/Base",
        "there is no playbook baremetal.sonic.stak", "rollout_parallel is 0", "rollout_webhook",
        "--skip-tags",
    ):  # fmt: skip
        assert words in output
    assert not (folder / "state").exists()
