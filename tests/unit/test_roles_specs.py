# SPDX-License-Identifier: Apache-2.0
"""Values that are in two places must agree: specs and defaults, versions and pins, and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())

# site_versions' key -> the component in lab/bundle/artifacts.yml and the Go module that it pins.
MODULES = {
    "blackbox_exporter": ("blackbox-exporter", "github.com/prometheus/blackbox_exporter"),
    "cni_plugins": ("cni-plugins", "github.com/containernetworking/plugins"),
    "containerd": ("containerd", "github.com/containerd/containerd/v2"),
    "coredns": ("coredns", "github.com/coredns/coredns"),
    "cri_tools": ("cri-tools", "sigs.k8s.io/cri-tools"),
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "fake_gcs_server": ("fake-gcs-server", "github.com/fsouza/fake-gcs-server"),
    "haproxy_ingress": ("haproxy-ingress", "github.com/jcmoraisjr/haproxy-ingress"),
    "helm": ("helm", "helm.sh/helm/v3"),
    "json_exporter": ("json-exporter", "github.com/prometheus-community/json_exporter"),
    "keda": ("keda", "github.com/kedacore/keda/v2"),
    "kube_rbac_proxy": ("kube-rbac-proxy", "github.com/brancz/kube-rbac-proxy"),
    "kube_router": ("kube-router", "github.com/cloudnativelabs/kube-router/v2"),
    "kube_state_metrics": ("kube-state-metrics", "k8s.io/kube-state-metrics/v2"),
    "kube_vip": ("kube-vip", "github.com/kube-vip/kube-vip"),
    "kubernetes": ("kubernetes", "k8s.io/kubernetes"),
    "nats": ("nats-server", "github.com/nats-io/nats-server/v2"),
    "node_exporter": ("node-exporter", "github.com/prometheus/node_exporter"),
    "nvidia_container_toolkit": (
        "container-toolkit",
        "github.com/NVIDIA/nvidia-container-toolkit",
    ),
    "nvidia_device_plugin": ("device-plugin", "github.com/NVIDIA/k8s-device-plugin"),
    "prometheus": ("prometheus", "github.com/prometheus/prometheus"),
    "prometheus_operator": (
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator",
    ),
    "registry": ("registry", "github.com/distribution/distribution/v3"),
}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def load(path: Path) -> Any:
    """Return what a YAML file holds, None when it is missing."""
    if not path.is_file():
        return None
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def spec(role: Path) -> dict[str, Any]:
    """Return the argument spec of a role's one entry point."""
    entries: dict[str, Any] = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    [(name, entry)] = entries.items()
    assert name == ("variables" if role.name == "site" else "main")
    checked: dict[str, Any] = entry
    return checked


def undescribed(named: dict[str, dict[str, Any]], where: str = "") -> Iterator[str]:
    """Yield the options, those inside options too, that lack a description or a type."""
    for name, option in named.items():
        if not option.get("description"):
            yield f"{where}{name}: no description"
        if "type" not in option:
            yield f"{where}{name}: no type"
        if option.get("type") == "list" and "elements" not in option:
            yield f"{where}{name}: a list of what? no elements"
        yield from undescribed(option.get("options") or {}, f"{where}{name}.")


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every task in a task file's content, those in blocks too."""
    for task in node or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def task_files() -> list[Path]:
    """Return the roles' task and handler files."""
    actual = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml")]
    return sorted(actual)


def test_there_are_roles() -> None:
    assert len(ROLES) > 10


@each_role
def test_role_is_complete(role: Path) -> None:
    wanted = ["meta/main.yml", "meta/argument_specs.yml"]
    # The role of what all others share has nothing to do itself.
    wanted += [] if role.name == "site" else ["tasks/main.yml"]
    assert [name for name in wanted if not (role / name).is_file()] == []


@each_role
def test_defaults_and_specs_agree(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml") or {}
    options = spec(role).get("options") or {}
    assert defaults.keys() - options.keys() == set(), "in defaults, and not in argument_specs"
    required = {name for name, option in options.items() if option.get("required")}
    assert options.keys() - defaults.keys() == required, "without a default is required, no other"
    for name, option in options.items():
        if "default" in option:
            assert option["default"] == defaults[name], f"{name}: two different defaults"


@each_role
def test_specs_describe_everything(role: Path) -> None:
    main = spec(role)
    assert main.get("short_description")
    assert list(undescribed(main.get("options") or {})) == []


@each_role
def test_variables_carry_the_role_name(role: Path) -> None:
    options = spec(role).get("options") or {}
    # The one variable that has the name of the vendor's Terraform and chart.
    vendors = {"workers"} if role.name == "site" else set()
    assert [name for name in options if not name.startswith(f"{role.name}_")] == list(vendors)


@each_role
def test_role_depends_on_site(role: Path) -> None:
    wanted = [] if role.name == "site" else [{"role": "baremetal.sonic.site"}]
    assert (load(role / "meta" / "main.yml").get("dependencies") or []) == wanted


@each_role
def test_field_manager_is_the_role(role: Path) -> None:
    # Server-side apply takes away what its manager applied before and does not apply now: of an
    # object that two roles write to (a Node's labels), each would undo the other's part.
    # A plan asks what an apply would change: only under the same name does it see what goes away.
    managers = [
        task[module].get("field_manager", "none")
        for path in sorted(role.glob("tasks/*.yml"))
        for task in tasks(load(path))
        for module in ("baremetal.sonic.k8s_applyset", "baremetal.sonic.worker_rollout")
        if module in task
    ]
    names = {role.name, f"{role.name}.handover"}
    assert {name.removeprefix("baremetal.sonic.") for name in managers} <= names


@each_role
def test_objects_are_applied_in_one_way(role: Path) -> None:
    """By a set. The module k8s removes objects, and applies none."""
    states = [
        task["kubernetes.core.k8s"].get("state", "present")
        for path in sorted(role.glob("tasks/*.yml"))
        for task in tasks(load(path))
        if "kubernetes.core.k8s" in task
    ]
    assert set(states) <= {"absent"}


def test_the_action_group_has_the_modules_that_take_a_kubeconfig() -> None:
    """Each says so in its documentation. The playbooks give these modules their kubeconfig."""
    [extended, *listed] = load(ROOT / "meta/runtime.yml")["action_groups"]["cluster"]
    assert extended == {"metadata": {"extend_group": ["kubernetes.core.k8s"]}}
    taking, saying = [], []
    for path in sorted((ROOT / "plugins/modules").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^ {12}\*\*(CLUSTER|HELM)_OPTIONS,$", text, re.MULTILINE):
            taking.append(path.stem)
        if "  - baremetal.sonic.attributes.actiongroup_cluster\n" in text:
            saying.append(path.stem)
    assert taking == saying == listed


def test_a_kubeconfig_stands_in_module_defaults_only() -> None:
    """A play that speaks to the API gives it to all modules, whichever roles it has."""
    wrong = []
    for path in sorted(ROOT.glob("playbooks/*.yml")):
        for play in load(path):
            hosts = play.get("hosts", "")
            defaults = play.get("module_defaults", {}).get("group/baremetal.sonic.cluster")
            # The benchmark asks the site from outside.
            if hosts == "sonic_leaders" and path.stem != "benchmark" and not defaults:
                wrong.append(f"{path.name}: {play['name']}")
    for path in task_files():
        wrong += [
            f"{path.name}: {task['name']}"
            for task in tasks(load(path))
            if any("kubeconfig" in value for value in task.values() if isinstance(value, dict))
        ]
    assert wrong == []


@each_role
def test_role_is_used(role: Path) -> None:
    named = f"baremetal.sonic.{role.name}"
    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/meta/main.yml")]
    assert any(re.search(rf"{re.escape(named)}\b", path.read_text()) for path in files)


@each_role
def test_role_is_in_the_documentation(role: Path) -> None:
    listed = (ROOT / "docs" / "reference" / "README.md").read_text(encoding="utf-8")
    assert f"(roles/{role.name}.md)" in listed


@pytest.mark.parametrize("path", task_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_hide_nothing(path: Path) -> None:
    wrong = []
    for task in tasks(load(path)):
        name = task.get("name", "(no name)")
        if task.get("ignore_errors") or task.get("failed_when") is False:
            wrong.append(f"{name}: a failure is hidden")
        if "|| true" in str(task):
            wrong.append(f"{name}: a failure is hidden in a shell")
        if "tags" in task:
            wrong.append(f"{name}: has tags")
        if re.search(r"\b(lab|molecule)\b", str(task.get("when", ""))):
            wrong.append(f"{name}: a second way for the lab")
    assert wrong == []


def test_site_yml_is_the_five_in_order() -> None:
    plays = load(ROOT / "playbooks" / "site.yml") or []
    files = [Path(play["ansible.builtin.import_playbook"]).name for play in plays]
    assert files == ["hosts.yml", "cluster.yml", "platform.yml", "stack.yml", "verify.yml"]


def versions() -> dict[str, str]:
    """Return the one table of versions."""
    table: dict[str, str] = load(ROOT / "roles/site/defaults/main.yml")["site_versions"]
    return table


def test_every_go_component_has_a_version() -> None:
    built = load(ROOT / "lab/bundle/artifacts.yml")["binaries"].keys()
    assert built == {component for component, module in MODULES.values()}
    assert MODULES.keys() <= versions().keys()


def module_version(key: str) -> str:
    """Return the version of a component's Go module; Prometheus' 3.15.0 is the module's 0.315.0."""
    version = versions()[key]
    if key != "prometheus":
        return version
    major, minor, patch = version.split(".")
    return f"0.{int(major) * 100 + int(minor)}.{patch}"


@pytest.mark.parametrize("key", MODULES)
def test_versions_agree_with_go_modules(key: str) -> None:
    _component, module = MODULES[key]
    lines = (ROOT / "lab/bundle/go/go.mod").read_text(encoding="utf-8")
    pinned = re.findall(rf"^\s*(?:require\s+)?{re.escape(module)} v(\S+)", lines, re.MULTILINE)
    assert pinned == [module_version(key)]


def test_kubernetes_staging_modules_follow_kubernetes() -> None:
    lines = (ROOT / "lab/bundle/go/go.mod").read_text(encoding="utf-8")
    line = re.compile(r"^\s*(?:replace )?k8s\.io/\S+ => k8s\.io/\S+ v(\S+)$", re.MULTILINE)
    replaced = set(line.findall(lines))
    assert replaced == {versions()["kubernetes"].replace("1.", "0.", 1)}


def pins(path: Path) -> dict[str, str]:
    """Return the exact pins of a requirements file, by normalised name."""
    matches = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in matches}


@pytest.mark.parametrize("source", ["requirements/lab.in", "services/requirements.txt"])
def test_lock_keeps_what_was_asked_for(source: str) -> None:
    locked = pins(ROOT / "requirements" / "lab.txt")
    asked = pins(ROOT / source)
    assert {name: locked.get(name) for name in asked} == asked
    text = (ROOT / source).read_text(encoding="utf-8")
    names = re.findall(r"^([A-Za-z0-9][\w.-]*)", text, re.MULTILINE)
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in names} <= locked.keys()


def test_collection_and_reference_services_have_one_version() -> None:
    galaxy = load(ROOT / "galaxy.yml")
    assert versions()["sonic_reference"] == galaxy["version"]


def test_no_file_is_too_long() -> None:
    kinds = {".py", ".yml", ".j2", ".sh", ".md"}
    folders = ("plugins", "roles", "playbooks", "services", "lab", "tools", "tests", "docs")
    long = {
        str(path.relative_to(ROOT)): count
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and path.is_file()
        for count in [len(path.read_text(encoding="utf-8").splitlines())]
        if count > 500
    }
    assert long == {}
