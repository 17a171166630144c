# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate an inventory and its hosts, and report all problems as one error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible_collections.baremetal.sonic.plugins.filter.complete_versions import (
    complete_versions,
    default_versions,
)
from ansible_collections.baremetal.sonic.plugins.filter.hosts_of_site import hosts_of_site, site_of
from ansible_collections.baremetal.sonic.plugins.filter.ip_networks import ip_networks
from ansible_collections.baremetal.sonic.plugins.plugin_utils import (
    certificates,
    egress,
    guards,
    images,
    licensing,
    nodes,
    openings,
    pins,
    preflight,
    preflight_report,
    proxies,
    registries,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import (
    ROLES,
    plain_defaults,
    role_defaults,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.templating import trust_as_template
from ansible_collections.baremetal.sonic.plugins.plugin_utils.worker_specs import (
    InvalidWorkersError,
    WorkerSpec,
    worker_specs,
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all hosts of a play."""

    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Check the play's hosts, site by site."""
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            {
                "roles": {"type": "list", "elements": "str", "required": True},
                "report": {"type": "str", "required": True},
                "leader_report": {"type": "str", "default": ""},
                "disk_report": {"type": "str", "default": ""},
                "others_report": {"type": "str", "default": ""},
                "file": {"type": "path", "default": ""},
            }
        )
        variables = task_vars or {}
        hosts: list[str] = list(variables["ansible_play_hosts_all"])
        sites: dict[str, list[str]] = {}
        for host in hosts:
            sites.setdefault(site_of(variables["hostvars"][host]), []).append(host)
        problems: list[str] = []
        warnings: list[str] = []
        findings: list[preflight_report.Finding] = []
        places = {host: name for name, members in sites.items() for host in members}
        left_out = _left_out(sites, options["report"], variables)
        for name, members in sites.items():
            # A run for some of the hosts (--limit) also checks the whole site.
            site = _site_hosts(name, variables) or members
            lines = self._hosts(members, options, variables)
            lines += preflight.version_problems(
                variables["hostvars"][members[0]].get("site_versions"),
                variables.get("site_versions"),
                default_versions(),
            )
            lines += self._nodes(members, site, options, variables)
            lines += self._guards(members, site, options, variables)
            prefix = f"site {name}: " if len(sites) > 1 else ""
            more, doubts = self._site(site, options["roles"], variables)
            problems += [f"{prefix}{line}" for line in lines + more]
            findings += [preflight_report.finding(name, line, places) for line in lines + more]
            warnings += [f"{prefix}{line}" for line in doubts]
        warnings += [
            f"{host} cannot be reached and is left out: the run goes on with the other hosts, and"
            " ends with an error that names it"
            for host in left_out
        ]
        if options["file"]:
            self._write(options["file"], places, findings, warnings, left_out)
        result: dict[str, Any] = {
            "changed": False,
            "problems": problems,
            "warnings": warnings,
            "left_out": left_out,
            "table": preflight_report.table(places, findings, left_out),
        }
        if problems:
            listed = "\n".join(f"  {n}. {line}" for n, line in enumerate(problems, start=1))
            rows = "\n".join(f"  {line}" for line in result["table"])
            result |= {
                "failed": True,
                "msg": f"{len(problems)} to fix before anything is changed:\n{listed}\n\n{rows}",
            }
        return result

    def _write(self, file: str, *content: Any) -> None:
        """Write the report for machines. Raises AnsibleError."""
        try:
            preflight_report.write(Path(file), *content)
        except OSError as error:
            raise AnsibleError(f"preflight_report: {file} cannot be written: {error}") from error

    def _hosts(
        self, members: list[str], options: dict[str, Any], variables: dict[str, Any]
    ) -> list[str]:
        lines = []
        machine_ids = {}
        for host in members:
            report = variables["hostvars"][host].get(options["report"])
            if report and report.get("unreachable"):
                if not _may_be_left_out(host, variables):
                    lines.append(f"{host}: {_unreachable(report)}")
                continue
            if report is None or "problems" not in report:
                lines.append(f"{host}: cannot be reached or has no Python; see the error above")
                continue
            disks = variables["hostvars"][host].get(options["disk_report"]) or {}
            own = report["problems"] + disks.get("problems", [])
            lines += [f"{host}: {line}" for line in own]
            machine_ids[host] = report["machine_id"]
        return lines + preflight.shared_machine_ids(machine_ids)

    def _nodes(
        self,
        members: list[str],
        site: list[str],
        options: dict[str, Any],
        variables: dict[str, Any],
    ) -> list[str]:
        """Check the site's hosts as nodes of one cluster."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        reports = {host: hostvars[host].get(options["report"]) or {} for host in members}
        leaders = [host for host in groups.get("control_plane", []) if host in site]
        problems = nodes.name_problems(site)
        addresses = {host: _node_ip(hostvars[host], host) for host in site}
        wrong = nodes.address_problems(addresses, reports)
        problems += list(wrong.values())
        first = hostvars[(leaders or site)[0]]
        ranges = {name: str(first.get(name) or plain_defaults()[name]) for name in RANGES}
        right = {host: address for host, address in addresses.items() if host not in wrong}
        problems += nodes.network_problems(ranges, right, reports)
        if leaders and "cluster" not in _skipped(hostvars[leaders[0]]):
            report = _leader_report(leaders[0], members, options, hostvars)
            outside = _others(members, options, hostvars)
            others = nodes.cluster_problems(leaders[0], report, outside | reports)
            problems += [f"{line} [cluster]" for line in others]
        return problems

    def _guards(
        self,
        members: list[str],
        site: list[str],
        options: dict[str, Any],
        variables: dict[str, Any],
    ) -> list[str]:
        """Refuse what would break a living cluster."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        reports = {host: hostvars[host].get(options["report"]) or {} for host in members}
        leaders = [host for host in groups.get("control_plane", []) if host in site]
        leader_report = _leader_report((leaders or site)[0], members, options, hostvars)
        # A run for an added host must not join it with another version than the leader's.
        reports = {(leaders or site)[0]: leader_report} | reports
        given = hostvars[members[0]].get("site_versions")
        versions = complete_versions(given if isinstance(given, dict) else {})
        workers = [host for host in groups.get("gpu_workers", []) if host in members]
        lines = []
        if leaders and leaders[0] not in members and leader_report.get("unreachable"):
            lines = [f"{leaders[0]}: {_unreachable(leader_report)}"]
        outside = _others(members, options, hostvars)
        refused = guards.cluster_problems(leaders, leader_report, outside | reports)
        refused += guards.version_problems(
            versions,
            reports,
            {host: _driver_packages(hostvars[host], reports[host]) for host in workers},
        )
        refused += guards.firewall_problems(_network(site, leaders, variables), reports)
        skipped = {host: _skipped(hostvars[host]) for host in site}
        counted = guards.counted(refused, skipped, (leaders or site)[0])
        return lines + [str(problem) for problem in counted]

    def _site(
        self, members: list[str], roles: list[str], variables: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        """Return the problems of a site, and its warnings."""
        groups = variables["groups"]
        leaders = [host for host in groups.get("control_plane", []) if host in members]
        lines = []
        if not leaders:
            lines.append("the group control_plane has no host of this site: name at least one")
        workers = [host for host in groups.get("gpu_workers", []) if host in members]
        if not workers:
            lines.append("the group gpu_workers has no host of this site: name at least one")
        values = dict(plain_defaults())
        leader = variables["hostvars"][(leaders or members)[0]]
        for role in roles:
            # Only the chart needs these.
            if role != "vendor_chart" or leader.get("stack_source") == "chart":
                lines += self._role(role, leader, values)
        # The hosts' own checks have reported invalid addresses.
        lines += egress.variable_problems(values, {}) + images.problems(values)
        lines += preflight.artifact_problems(values) + preflight.secret_problems(values)
        lines += pins.problems(values) + proxies.problems(values) + registries.problems(values)
        if "license_proxy" in roles:
            lines += licensing.problems(values, values, members)
        doubts = proxies.warnings(values)
        if "ingress" in roles:
            lines += self._ingress(members, values, variables)
            doubts += _ingress_warnings(values)
        gpus = {
            host: variables["hostvars"][host].get("nvidia_driver_gpu_count") for host in workers
        }
        branches = {
            host: variables["hostvars"][host].get("nvidia_driver_branch") for host in workers
        }
        lines += preflight.driver_problems(
            {host: None if branch is None else str(branch) for host, branch in branches.items()}
        )
        counts = {host: None if count is None else int(count) for host, count in gpus.items()}
        lines += preflight.nats_problems(values, self._nats_servers(values, leaders, workers))
        specs, wrong = _worker_specs(values)
        lines += [*wrong, *(line for spec in specs for line in spec.problems())]
        lines += preflight.gpu_problems(specs, counts)
        return lines, doubts + preflight.gpu_warnings(specs, counts)

    def _nats_servers(self, values: dict[str, Any], leaders: list[str], workers: list[str]) -> int:
        """Return the number of NATS servers, from the inventory or the role's default."""
        if "nats_replicas" in values:
            return int(values["nats_replicas"])
        default = trust_as_template(role_defaults("nats")["nats_replicas"])
        known = {"nats_hosts": list(dict.fromkeys([*leaders, *workers]))}
        return int(Templar(loader=self._loader, variables=known).template(default))

    def _ingress(
        self, members: list[str], values: dict[str, Any], variables: dict[str, Any]
    ) -> list[str]:
        """Check the ingress hosts and their certificates."""
        lines = []
        served = any(host in members for host in variables["groups"].get("ingress", []))
        if values["ingress_install"] and not served:
            lines.append(
                "the group ingress has no host of this site: name the hosts that serve 80 and 443"
            )
        if values["ingress_virtual_ip"]:
            addresses = {
                host: str(variables["hostvars"][host].get("ansible_host", host)) for host in members
            }
            lines += preflight.virtual_ip_problems(values["ingress_virtual_ip"], addresses)
        try:
            ip_networks(values["ingress_unlimited_clients"])
        except AnsibleError as error:
            lines.append(f"ingress_unlimited_clients: {error.message}")
        if values.get("ingress_certificates") and values.get("ingress_hosts") is not None:
            lines += certificates.problems(
                values["ingress_certificates"],
                values["ingress_hosts"],
                values["ingress_root_certificates"],
                values["ingress_intermediate_certificates"],
            )
        return lines

    def _role(self, role: str, hostvars: Any, values: dict[str, Any]) -> list[str]:
        """Check a role's variables against its own argument_specs; defaults count as right."""
        text = (ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
        [entry] = yaml_load(text)["argument_specs"].values()
        options = entry.get("options") or {}
        given: dict[str, Any] = {}
        lines = []
        unreadable: set[str] = set()
        for name in options:
            try:
                if name in hostvars:
                    given[name] = hostvars[name]
            except AnsibleError as error:
                unreadable.add(name)
                lines.append(f"{name} cannot be evaluated: {error.message.splitlines()[0]}")
        for name, option in options.items():
            if texts := nodes.type_problems({name: option}, given):
                lines += texts
                unreadable.add(name)
                given.pop(name)
        spec = {
            name: _without_defaults(option)
            for name, option in options.items()
            if name not in unreadable
        }
        errors = ArgumentSpecValidator(spec).validate(given).error_messages
        # In the types that the spec asks for: what is mistyped is not validated further.
        for name, value in given.items():
            alone = ArgumentSpecValidator({name: spec[name]}).validate({name: value})
            if not alone.error_messages and alone.validated_parameters[name] is not None:
                values[name] = alone.validated_parameters[name]
        return [*lines, *(f"role {role}: {message}" for message in errors)]


def _site_hosts(name: str, variables: dict[str, Any]) -> list[str]:
    """Return all hosts of a site that the inventory has in the groups of a cluster."""
    groups = variables["groups"]
    hosts = dict.fromkeys(
        host for group in ("control_plane", "gpu_workers") for host in groups.get(group, [])
    )
    return hosts_of_site(list(hosts), variables["hostvars"], name)


def _node_ip(hostvars: Any, host: str) -> Any:
    """Return a host's address in the cluster, as the role kubeadm has it."""
    return hostvars.get("kubeadm_node_ip") or hostvars.get("ansible_host", host)


def _leader_report(
    leader: str, members: list[str], options: dict[str, Any], hostvars: Any
) -> dict[str, Any]:
    """The first control plane's result of host_check; empty when it was not looked at."""
    reports = [hostvars[leader].get(options["report"])] if leader in members else []
    reports += [hostvars[host].get(options["leader_report"]) for host in members]
    return next((report for report in reports if report), {})


def _network(site: list[str], leaders: list[str], variables: dict[str, Any]) -> openings.Site:
    """The site's hosts as a firewall sees them."""
    hostvars = variables["hostvars"]
    first = hostvars[(leaders or site)[0]]
    return openings.Site(
        {host: str(_node_ip(hostvars[host], host)) for host in site},
        leaders,
        [host for host in variables["groups"].get("ingress", []) if host in site],
        str(first.get("site_pod_cidr") or plain_defaults()["site_pod_cidr"]),
    )


def _left_out(sites: dict[str, list[str]], report: str, variables: dict[str, Any]) -> list[str]:
    """The hosts that cannot be reached, and that the run may go on without."""
    return [
        host
        for members in sites.values()
        for host in members
        if (variables["hostvars"][host].get(report) or {}).get("unreachable")
        and _may_be_left_out(host, variables)
    ]


def _may_be_left_out(host: str, variables: dict[str, Any]) -> bool:
    """Whether a run may go on without a host; the first control plane has the cluster."""
    hostvars = variables["hostvars"]
    name = site_of(hostvars[host])
    leaders = hosts_of_site(variables["groups"].get("control_plane", []), hostvars, name)
    tolerated = boolean(hostvars[host].get("site_tolerate_unreachable") or False)
    return bool(tolerated) and host not in leaders[:1]


def _unreachable(report: dict[str, Any]) -> str:
    """The problem of a host that cannot be reached."""
    reason = " ".join(str(report.get("msg") or "no reason given").split())
    return (
        f"it cannot be reached ({reason.replace(': ', ', ')}): see that it is up and that ssh gets"
        " there; site_tolerate_unreachable lets a run go on without hosts that are no control"
        " plane [reachable]"
    )


def _driver_packages(hostvars: Any, report: dict[str, Any]) -> list[str]:
    """The packages of the driver that a host gets, each with its version.

    By default they are those that the host has, at the version of its branch.
    """
    branch = str(hostvars.get("nvidia_driver_branch") or plain_defaults()["nvidia_driver_branch"])
    given = hostvars.get("nvidia_driver_packages")
    if not isinstance(given, list):
        given = guards.driver_packages(report.get("packages") or {})
    pattern = f"{branch}-*" if "." in branch else f"{branch}.*"
    return [item if "=" in item else f"{item}={pattern}" for item in map(str, given)]


def _others(members: list[str], options: dict[str, Any], hostvars: Any) -> dict[str, Any]:
    """Return the results of host_check by host, of hosts outside the play that can be reached."""
    results = [
        result
        for host in members
        for result in (hostvars[host].get(options["others_report"]) or {}).get("results") or []
    ]
    return {result["item"]: result for result in results if "cluster_ca" in result}


def _skipped(hostvars: Any) -> set[str]:
    """The checks that preflight_skip names for a host; -e may give them as a text."""
    given = hostvars.get("preflight_skip") or []
    return set(given.split(",") if isinstance(given, str) else given)


RANGES = ("site_pod_cidr", "site_service_cidr")


def _ingress_warnings(values: dict[str, Any]) -> list[str]:
    """Return differences between the chains served and those in the inventory."""
    return certificates.warnings(
        values.get("ingress_certificates") or [],
        values["ingress_root_certificates"],
        values["ingress_intermediate_certificates"],
    )


def _worker_specs(values: dict[str, Any]) -> tuple[list[WorkerSpec], list[str]]:
    """Return the site's workers, and what is wrong with them beyond their types."""
    registry, tag = values["site_image_registry"], values["site_release_tag"]
    try:
        return worker_specs(values.get("workers") or [], registry, tag), []
    except InvalidWorkersError as error:
        return [], error.problems


def _without_defaults(option: dict[str, Any]) -> dict[str, Any]:
    """Return the option for a validator, without a default that is a template: it has no type."""
    kept = {key: value for key, value in option.items() if key not in ("default", "description")}
    if "options" in kept:
        kept["options"] = {k: _without_defaults(v) for k, v in kept["options"].items()}
    return kept
