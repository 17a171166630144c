# SPDX-License-Identifier: Apache-2.0
"""The site's HTTP proxy as the roles see it, and apt's file for it."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.baremetal.sonic.plugins.plugin_utils.templating import trust_as_template

from tests.unit.rendering import ROOT, templated

INVENTORY: dict[str, Any] = {
    "inventory_hostname": "cp1",
    "site_nodes": ["cp1", "gpu1"],
    "hostvars": {
        "cp1": {"ansible_host": "192.0.2.11"},
        "gpu1": {"ansible_host": "gpu1.example.com", "kubeadm_node_ip": "192.0.2.21"},
    },
    "site_package_repositories": [
        {"name": "a", "uris": "https://pkgs.k8s.io/core:/stable:/v1.36/deb/"},
        {"name": "b", "uris": "http://deb.intranet.example.com/x"},
    ],
}


def site(expression: str, **variables: Any) -> Any:
    """An expression with the variables of the role site."""
    values: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        path = ROOT / f"roles/site/{name}/main.yml"
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        values |= {
            key: trust_as_template(value) if isinstance(value, str) else value
            for key, value in loaded.items()
        }
    return templated(expression, values | INVENTORY | variables)


def apt(**variables: Any) -> list[str]:
    """The settings in apt's file."""
    path = ROOT / "roles/host/templates/apt-proxy.conf.j2"
    text = site(f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}", **variables)
    return [line for line in text.splitlines() if not line.startswith("//")]


def test_no_proxy_by_default() -> None:
    assert site("{{ site_proxy_environment }}") == {}
    assert site("{{ site_secret_settings | bool }}") is False


def test_https_goes_by_the_same_proxy() -> None:
    actual = site("{{ site_proxy_environment }}", site_http_proxy="http://proxy:3128")
    assert actual["HTTP_PROXY"] == actual["https_proxy"] == "http://proxy:3128"


def test_the_sites_own_servers_are_reached_directly() -> None:
    actual = site(
        "{{ site_proxy_environment }}",
        site_https_proxy="http://proxy:3128",
        site_no_proxy=[".intranet.example.com"],
        site_registry_mirror="https://registry.example.com:5000",
        containerd_mirrors={"ghcr.io": "https://harbor.example.com/v2/x"},
    )
    assert actual["HTTP_PROXY"] == ""
    names = actual["NO_PROXY"].split(",")
    inside = {"cp1", "gpu1", "192.0.2.11", "gpu1.example.com", "192.0.2.21", "10.244.0.0/16"}
    inside |= {"10.96.0.0/16", "registry.example.com", "harbor.example.com", ".svc"}
    assert inside | {".intranet.example.com"} <= set(names)


def test_apt_knows_no_domains_so_its_hosts_are_named() -> None:
    actual = apt(site_http_proxy="http://proxy:3128", site_no_proxy=[".intranet.example.com"])
    assert actual == [
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy "http://proxy:3128";',
        'Acquire::http::Proxy::deb.intranet.example.com "DIRECT";',
        'Acquire::https::Proxy::deb.intranet.example.com "DIRECT";',
    ]


def test_settings_with_a_password_are_not_logged() -> None:
    secret = "{{ site_secret_settings | bool }}"
    assert site(secret, site_http_proxy="http://u:p@proxy:3128") is True
    assert site(secret, site_https_proxy="http://u:p@proxy:3128") is True
    access = {"registry.example.com": {"username": "u", "password": "p"}}
    assert site(secret, site_registry_access=access) is True
    assert site(secret, site_registry_access={"registry.example.com": {"ca": "PEM"}}) is False
    for role, file in (("host", "proxy.yml"), ("containerd", "main.yml")):
        tasks = yaml.safe_load((ROOT / f"roles/{role}/tasks/{file}").read_text(encoding="utf-8"))
        assert tasks[0]["no_log"] == secret


def test_apts_file_goes_with_the_proxy() -> None:
    folder = ROOT / "roles/host/templates"
    look = f"{{{{ lookup('ansible.builtin.template', '{folder}/proxy.yml.j2') | from_yaml }}}}"
    search = {"ansible_search_path": [str(folder.parent)]}
    path = "/etc/apt/apt.conf.d/95baremetal-sonic-proxy"
    assert site(look, **search) == [{"path": path, "state": "absent"}]
    [plain] = site(look, site_http_proxy="http://proxy:3128", **search)
    assert (plain["path"], plain["mode"]) == (path, "0644")
    assert 'Acquire::http::Proxy "http://proxy:3128";' in plain["content"]
    [secret] = site(look, site_http_proxy="http://u:p@proxy:3128", **search)
    assert secret["mode"] == "0600"
