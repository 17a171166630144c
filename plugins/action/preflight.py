# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate an inventory and its hosts, and report all problems as one error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template
from ansible_collections.baremetal.sonic.plugins.filter.complete_versions import (
    default_versions,
)
from ansible_collections.baremetal.sonic.plugins.filter.ip_networks import ip_networks
from ansible_collections.baremetal.sonic.plugins.filter.of_site import DEFAULT_SITE, of_site
from ansible_collections.baremetal.sonic.plugins.plugin_utils import (
    certificates,
    egress,
    images,
    licensing,
    nodes,
    pins,
    preflight,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"


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
            }
        )
        variables = task_vars or {}
        hosts: list[str] = list(variables["ansible_play_hosts_all"])
        sites: dict[str, list[str]] = {}
        for host in hosts:
            name = str(variables["hostvars"][host].get("site_name", DEFAULT_SITE))
            sites.setdefault(name, []).append(host)
        problems: list[str] = []
        warnings: list[str] = []
        for name, members in sites.items():
            # A run for some of the hosts (--limit) also checks the whole site.
            site = _site_hosts(name, variables) or members
            lines = self._hosts(members, options["report"], variables)
            lines += preflight.version_problems(
                variables["hostvars"][members[0]].get("site_versions"),
                variables.get("site_versions"),
                default_versions(),
            )
            lines += self._nodes(members, site, options, variables)
            prefix = f"site {name}: " if len(sites) > 1 else ""
            more, doubts = self._site(site, options["roles"], variables)
            problems += [f"{prefix}{line}" for line in lines + more]
            warnings += [f"{prefix}{line}" for line in doubts]
        if problems:
            listed = "\n".join(f"  {n}. {line}" for n, line in enumerate(problems, start=1))
            return {
                "failed": True,
                "problems": problems,
                "warnings": warnings,
                "msg": f"{len(problems)} to fix before anything is changed:\n{listed}",
            }
        return {"changed": False, "problems": [], "warnings": warnings}

    def _hosts(self, members: list[str], report: str, variables: dict[str, Any]) -> list[str]:
        lines = []
        machine_ids = {}
        for host in members:
            checked = variables["hostvars"][host].get(report)
            if checked is None or "problems" not in checked:
                lines.append(f"{host}: cannot be reached or has no Python; see the error above")
                continue
            lines += [f"{host}: {line}" for line in checked["problems"]]
            machine_ids[host] = checked["machine_id"]
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
        ranges = {name: str(first.get(name) or default) for name, default in RANGES.items()}
        right = {host: address for host, address in addresses.items() if host not in wrong}
        problems += nodes.network_problems(ranges, right, reports)
        if leaders:
            leader = leaders[0]
            asked = [hostvars[host].get(options["leader_report"]) or {} for host in members]
            report = reports.get(leader) or next((answered for answered in asked if answered), {})
            problems += nodes.cluster_problems(leader, report, reports)
        return problems

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
        values: dict[str, Any] = {}
        leader = variables["hostvars"][(leaders or members)[0]]
        for role in roles:
            # Only the chart needs these.
            if role != "chart" or leader.get("stack_source") == "chart":
                lines += self._role(role, leader, values)
        # The hosts' own checks have reported invalid addresses.
        lines += egress.variable_problems(values, {}) + images.problems(values)
        lines += preflight.artifact_problems(values) + preflight.secret_problems(values)
        lines += pins.problems(values)
        if "license_proxy" in roles:
            given = _defaults("license_proxy", LICENSE_DEFAULTS) | values
            lines += licensing.problems(given, _defaults("egress", EGRESS) | values, members)
        doubts: list[str] = []
        if "ingress" in roles:
            lines += self._ingress(members, values, variables)
            doubts += _ingress_warnings(values)
        gpus = {
            host: variables["hostvars"][host].get("nvidia_driver_gpu_count") for host in workers
        }
        counts = {host: None if count is None else int(count) for host, count in gpus.items()}
        lines += preflight.nats_problems(values, self._nats_servers(values, leaders, workers))
        asked = values.get("workers_list") or []
        lines += preflight.scaling_problems(asked) + preflight.gpu_problems(asked, counts)
        return lines, doubts + preflight.gpu_warnings(asked, counts)

    def _nats_servers(self, values: dict[str, Any], leaders: list[str], workers: list[str]) -> int:
        """Return the number of NATS servers, from the inventory or the role's default."""
        if "nats_replicas" in values:
            return int(values["nats_replicas"])
        default = trust_as_template(_defaults("nats", ("nats_replicas",))["nats_replicas"])
        known = {"nats_hosts": list(dict.fromkeys([*leaders, *workers]))}
        return int(Templar(loader=self._loader, variables=known).template(default))

    def _ingress(
        self, members: list[str], values: dict[str, Any], variables: dict[str, Any]
    ) -> list[str]:
        """Validate the ingress hosts and their certificates."""
        lines = []
        values = _defaults("ingress", INGRESS_DEFAULTS) | values
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
        [entry] = yaml.safe_load(text)["argument_specs"].values()
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
        result = ArgumentSpecValidator(spec).validate(given)
        if not result.error_messages:
            # Converted to the types of the spec; mistyped values are not checked further.
            values.update({k: v for k, v in result.validated_parameters.items() if v is not None})
        lines += [f"role {role}: {message}" for message in result.error_messages]
        return lines


def _site_hosts(name: str, variables: dict[str, Any]) -> list[str]:
    """Return all hosts of a site that the inventory has in the groups of a cluster."""
    groups = variables["groups"]
    hosts = dict.fromkeys(
        host for group in ("control_plane", "gpu_workers") for host in groups.get(group, [])
    )
    return of_site(list(hosts), variables["hostvars"], name)


def _node_ip(hostvars: Any, host: str) -> Any:
    """Return a host's address in the cluster, as the role kubeadm has it."""
    return hostvars.get("kubeadm_node_ip") or hostvars.get("ansible_host", host)


# Defaults of the role site.
RANGES = {"site_pod_cidr": "10.244.0.0/16", "site_service_cidr": "10.96.0.0/16"}
EGRESS = ("egress_allowlist", "egress_mode", "egress_profile")
LICENSE_DEFAULTS = (
    "license_proxy_ca",
    "license_proxy_check_interval",
    "license_proxy_endpoint",
    "license_proxy_grace",
    "license_proxy_license",
    "license_proxy_mode",
    "license_proxy_persistence",
    "license_proxy_public_key",
)
INGRESS_DEFAULTS = (
    "ingress_install",
    "ingress_intermediate_certificates",
    "ingress_root_certificates",
    "ingress_unlimited_clients",
    "ingress_virtual_ip",
)


def _ingress_warnings(values: dict[str, Any]) -> list[str]:
    """Return differences between the chains served and those in the inventory."""
    values = _defaults("ingress", INGRESS_DEFAULTS) | values
    return certificates.warnings(
        values.get("ingress_certificates") or [],
        values["ingress_root_certificates"],
        values["ingress_intermediate_certificates"],
    )


def _defaults(role: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Some of a role's defaults, of those that are not templates."""
    text = (ROLES / role / "defaults/main.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    return {name: defaults[name] for name in names}


def _without_defaults(option: dict[str, Any]) -> dict[str, Any]:
    """Return the option for a validator, without a default that is a template: it has no type."""
    kept = {key: value for key, value in option.items() if key not in ("default", "description")}
    if "options" in kept:
        kept["options"] = {k: _without_defaults(v) for k, v in kept["options"].items()}
    return kept
