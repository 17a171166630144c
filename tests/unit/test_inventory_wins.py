# SPDX-License-Identifier: Apache-2.0
"""What an inventory gives for a public variable of a role is what the role reads.

Public is what a role's argument_specs describe. The vars of plays, roles and tasks, facts and
the vars of a role all rank above the inventory, so none of them may hold a public variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import role_defaults

from tests.resolving import ROOT, Resolver
from tests.unit.test_roles_specs import ROLES, load, spec, task_files, tasks
from tests.unit.test_variable_types import Loader

PUBLIC = {name for role in ROLES for name in spec(role).get("options") or {}}
# The role site completes the inventory's table, see test_versions_of_the_inventory_win.
COMPLETED = {"site_versions"}
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
FACTS = ("ansible.builtin.set_fact", "set_fact")
WORKER = {"name": "tts", "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 4}}
SITE = {
    "ingress_hosts": ["speech.example.com"],
    "kubeadm_node_ip": "192.0.2.11",
    "license_proxy_api_key": "sk_test",
    "workers": [WORKER],
}

each_playbook = pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)


def given(items: list[dict[str, Any]] | None) -> Iterator[str]:
    """Yield the variables that tasks set, by vars, set_fact and register."""
    for task in tasks(items):
        yield from task.get("vars") or {}
        for module in FACTS:
            yield from task.get(module) or {}
        yield from [task["register"]] if "register" in task else []


def set_by_play(play: dict[str, Any]) -> Iterator[str]:
    """Yield the variables that a play sets above the inventory."""
    yield from play.get("vars") or {}
    for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
        yield from given(play.get(part))
    for role in play.get("roles") or []:
        # Beside vars, each key that is no keyword is a variable of the role.
        yield from role.get("vars") or {}
        yield from role.keys() - {"role", "vars", "when", "become", "delegate_to", "tags"}


@each_playbook
def test_playbooks_set_no_public_variable(path: Path) -> None:
    names = {name for play in load(path) for name in set_by_play(play)}
    assert names & PUBLIC == set()


def passed(play: dict[str, Any]) -> Iterator[str]:
    """Yield the names in the vars of a play, its roles and its tasks."""
    yield from play.get("vars") or {}
    for role in play.get("roles") or []:
        yield from role.get("vars") or {}
    for part in ("pre_tasks", "tasks", "post_tasks"):
        for task in tasks(play.get(part)):
            yield from task.get("vars") or {}


def own(names: Iterable[str]) -> list[str]:
    """The names that are not Ansible's."""
    return [name for name in names if not name.startswith("ansible_")]


@each_playbook
def test_what_a_playbook_passes_has_a_private_name(path: Path) -> None:
    names = own(name for play in load(path) for name in passed(play))
    assert [name for name in names if not name.startswith("_")] == []


def test_the_stack_has_few_wires() -> None:
    wires = own(name for play in load(ROOT / "playbooks/stack.yml") for name in passed(play))
    assert 0 < len(wires) < 8
    assert len(wires) == len(set(wires))


def test_the_scan_sees_every_way_to_set_a_variable() -> None:
    play = {
        "vars": {"a": 1},
        "pre_tasks": [{"block": [{"vars": {"b": 1}, "register": "c"}]}],
        "tasks": [{"ansible.builtin.set_fact": {"d": 1}}],
        "roles": [{"role": "x", "vars": {"e": 1}, "f": 1, "when": "y"}],
    }
    assert set(set_by_play(play)) == set("abcdef")
    assert set(passed(play)) == set("abe")


def evaluated(tasks: Any) -> set[str]:
    """The facts that are set to the variable's own value, so that it is evaluated once."""
    facts = [task.get("ansible.builtin.set_fact") or {} for task in tasks]
    return {name for fact in facts for name, text in fact.items() if text == f"{{{{ {name} }}}}"}


@pytest.mark.parametrize("path", task_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_of_roles_set_no_public_variable(path: Path) -> None:
    assert set(given(load(path))) & PUBLIC - evaluated(load(path)) == set()


def test_vars_of_roles_hide_no_public_variable() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/vars/**/*.yml")]
    hidden = {name for text in texts for name in yaml.load(text, Loader)} & PUBLIC
    assert hidden == COMPLETED


def test_every_public_variable_is_read() -> None:
    files = [
        path
        for pattern in ("tasks/*.yml", "handlers/*.yml", "vars/**/*.yml", "templates/*")
        for path in ROOT.glob(f"roles/*/{pattern}")
    ]
    # module_defaults of the playbooks read one for all roles. Two actions read hosts' variables.
    actions = ROOT / "plugins/action"
    files += [*ROOT.glob("playbooks/*.yml"), actions / "preflight.py", actions / "rollout.py"]
    texts = [path.read_text(encoding="utf-8") for path in files]
    texts += [str(value) for role in ROLES for value in role_defaults(role.name).values()]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    assert PUBLIC - words == set()


# site.yml only imports the others.
@pytest.mark.parametrize("name", [path.name for path in PLAYBOOKS if path.name != "site.yml"])
def test_the_inventory_wins(name: str, tmp_path: Path) -> None:
    wanted = {variable: f"{variable} of the inventory" for variable in PUBLIC - COMPLETED}
    seen = 0
    wrong = set()
    for task, role, variables in Resolver(tmp_path, **wanted).tasks(name):
        seen += 1
        wrong |= {
            f"{role}: {task}: {name}" for name, text in wanted.items() if variables[name] != text
        }
    assert seen > 0
    assert wrong == set()


def test_versions_of_the_inventory_win(tmp_path: Path) -> None:
    site = Resolver(tmp_path, site_versions={"kubernetes": "9.9.9"})
    actual = site.value("stack.yml", "workers", "{{ site_versions }}")
    assert actual == role_defaults("site")["site_versions"] | {"kubernetes": "9.9.9"}


def rendered(site: Resolver, role: str, template: str) -> dict[str, Any]:
    """The pod's spec of a template's only Deployment, as stack.yml renders it."""
    look = f"lookup('ansible.builtin.template', '{ROOT}/roles/{role}/templates/{template}')"
    objects = yaml.safe_load_all(site.value("stack.yml", role, f"{{{{ {look} }}}}"))
    [actual] = [item for item in objects if item["kind"] == "Deployment"]
    pod: dict[str, Any] = actual["spec"]["template"]["spec"]
    return pod


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    """The values in the environment of a pod's only container."""
    [container] = pod["containers"]
    return {item["name"]: item.get("value") for item in container["env"]}


def test_environment_of_the_inventory_goes_over_what_the_stack_computes(tmp_path: Path) -> None:
    own = {"SONIC_MODELS": "mine", "SONIC_QUEUE_TIMEOUT": "7"}
    actual = environment(
        rendered(Resolver(tmp_path, **SITE, api_environment=own), "api", "api.yml.j2")
    )
    assert (actual["SONIC_MODELS"], actual["SONIC_QUEUE_TIMEOUT"]) == ("mine", "7")
    assert (actual["SONIC_STT_MODELS"], actual["SONIC_LIBRARY_REPLICAS"]) == ("", "1")
    plain = environment(rendered(Resolver(tmp_path, **SITE), "api", "api.yml.j2"))
    assert plain["SONIC_MODELS"] == "m"


@pytest.mark.parametrize(
    ("role", "template"),
    [
        ("license_proxy", "license-proxy.yml.j2"),
        ("workers", "workers.yml.j2"),
        ("api", "api.yml.j2"),
    ],
)
def test_aliases_of_the_inventory_stay_beside_those_of_the_gateway(
    tmp_path: Path, role: str, template: str
) -> None:
    own = {"ip": "192.0.2.9", "hostnames": ["own.example.com"]}
    alias = {
        "name": "models.example.com",
        "reason": "models",
        "used_by": [role.replace("_", "-"), "worker"],
    }
    site = Resolver(tmp_path, **SITE, **{f"{role}_host_aliases": [own]}, egress_allowlist=[alias])
    first, second = rendered(site, role, template)["hostAliases"]
    assert first == own
    assert second["hostnames"] == ["models.example.com"]


def test_a_monitor_of_the_inventorys_own_wins(tmp_path: Path) -> None:
    ask = ("platform.yml", "prometheus", "{{ prometheus_stack_monitor | bool }}")
    assert Resolver(tmp_path).value(*ask) is True
    assert Resolver(tmp_path, stack_source="chart").value(*ask) is False
    assert Resolver(tmp_path, stack_source="chart", vendor_chart_metrics=False).value(*ask) is True
    assert Resolver(tmp_path, prometheus_stack_monitor=False).value(*ask) is False


@pytest.mark.parametrize(
    ("scaling", "more", "seconds"),
    [
        ({"enabled": True, "minReplicas": 0}, {}, 900),
        ({"enabled": True, "minReplicas": 0}, {"workers_load_timeout": 60}, 60),
        ({"enabled": True, "minReplicas": 0}, {"verify_patience": 5}, 5),
        ({"enabled": True, "minReplicas": 1}, {}, 0),
        # Without autoscaling the number of pods is replicas, whatever autoscaling says.
        ({"enabled": False, "minReplicas": 0}, {}, 0),
        ({"minReplicas": 0}, {}, 0),
    ],
)
def test_verify_waits_only_for_a_worker_that_may_have_no_pods(
    tmp_path: Path, scaling: dict[str, Any], more: dict[str, Any], seconds: int
) -> None:
    site = Resolver(tmp_path, **SITE | {"workers": [WORKER | {"autoscaling": scaling}]}, **more)
    assert site.value("verify.yml", "verify", "{{ verify_patience | int }}") == seconds
