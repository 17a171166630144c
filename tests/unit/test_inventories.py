# SPDX-License-Identifier: Apache-2.0
"""The example inventories pass preflight, and bad ones get all problems at once."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.playbooks import ROOT, ansible
from tests.unit.plugins.plugin_utils.authority import Authority

ROLES = yaml.safe_load((ROOT / "roles/preflight/defaults/main.yml").read_text())["preflight_roles"]
# What host_check would say of hosts that are in order; no host is spoken to here.
PLAYBOOK = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Report",
                "ansible.builtin.set_fact": {
                    "report": {
                        "problems": [],
                        "machine_id": "{{ inventory_hostname }}",
                        "cluster_ca": "{{ ca | default('') }}",
                        "networks": "{{ networks | default([]) }}",
                        "node": "{{ node | default({}) }}",
                        "packages": "{{ packages | default({}) }}",
                    },
                    # As of a control plane that the play does not have.
                    "leader": {
                        "cluster_ca": "{{ leader_ca | default('') }}",
                        "node": "{{ leader_node | default({}) }}",
                        "packages": "{{ leader_packages | default({}) }}",
                    },
                    "disks": {"problems": "{{ disk_problems | default([]) }}"},
                },
            },
            {
                "name": "Validate",
                "baremetal.sonic.preflight": {
                    "roles": ROLES,
                    "report": "report",
                    "leader_report": "leader",
                    "disk_report": "disks",
                    "others_report": "others",
                },
                "run_once": True,
            },
        ],
    }
]


def certificate(folder: Path, name: str, host: str) -> None:
    """A certificate for a host and its key, as NAME.pem and NAME.key, trusted as its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    (folder / f"{name}.pem").write_bytes(text)
    with (folder / "ca.pem").open("ab") as trusted:
        trusted.write(text)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / f"{name}.key").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))


def inventory(tmp_path: Path, name: str) -> Path:
    """A copy of an example with the files that its user would bring."""
    copied = tmp_path / name
    shutil.copytree(ROOT / "inventories" / name, copied)
    files = copied / "files"
    files.mkdir()
    (files / "api-key").write_text("sk_test", encoding="utf-8")
    certificate(files, "ingress", "speech.example.com")
    for site in ("berlin", "oslo"):
        certificate(files, site, f"{site}.speech.example.com")
    return copied / "hosts.yml"


def validate(
    tmp_path: Path, hosts: Path, *options: str, what: str = "problems"
) -> tuple[int, list[str]]:
    """Run preflight; return the exit status and the problems (or the warnings)."""
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(yaml.safe_dump(PLAYBOOK), encoding="utf-8")
    done = ansible(
        "-i",
        hosts,
        playbook,
        *options,
        environment={"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
    )
    assert "{" in done.stdout, done.stdout + done.stderr
    output: dict[str, Any] = json.loads(
        done.stdout[done.stdout.index("{") : done.stdout.rindex("\n}") + 2]
    )
    results = output["plays"][0]["tasks"][-1]["hosts"].values()
    return done.returncode, [line for result in results for line in result.get(what, [])]


@pytest.mark.parametrize("name", ["single-site", "two-sites"])
def test_examples_are_in_order(tmp_path: Path, name: str) -> None:
    assert validate(tmp_path, inventory(tmp_path, name)) == (0, [])


def test_all_problems_are_reported_at_once_with_their_site(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "two-sites")
    copied = hosts.parent
    (copied / "group_vars/oslo.yml").write_text("site_name: oslo\ntts_replicas: 5\n")
    certificate(copied / "files", "berlin", "elsewhere.example.com")
    (copied / "files/api-key").unlink()
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert [line for line in problems if "license_proxy_api_key" in line and "berlin" in line]
    assert [line for line in problems if "license_proxy_api_key" in line and "oslo" in line]
    assert [line for line in problems if "site berlin: ingress_certificates[0] is for" in line]
    assert [line for line in problems if "site oslo: the variable workers asks for 5 GPUs" in line]


def test_hosts_that_differ_and_disks_with_content_are_named(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    folder = hosts.parent / "host_vars"
    folder.mkdir()
    text = 'nvidia_driver_branch: "590"\ndisk_problems: [/dev/sdb holds ext4]\n'
    (folder / "gpu2.yml").write_text(text)
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    [disk, branch] = problems
    assert disk == "gpu2: /dev/sdb holds ext4"
    assert "nvidia_driver_branch differs" in branch


def test_more_pods_than_gpus_are_worth_a_warning(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    site = hosts.parent / "group_vars/all/site.yml"
    site.write_text(site.read_text().replace("maxReplicas: 8", "maxReplicas: 9"))
    status, warnings = validate(tmp_path, hosts, what="warnings")
    assert status == 0
    assert [line for line in warnings if "maxReplicas is 9, the inventory has 8 GPUs" in line]


def test_missing_and_mistyped_variables(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    (hosts.parent / "group_vars/all/site.yml").write_text(
        "site_name: rack1\nworkers: [{name: tts, replicas: many, workerArgs: {model: m}}]\n"
    )
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    text = "\n".join(problems)
    for name in ("ingress_hosts", "ingress_certificates", "license_proxy_api_key", "capacity"):
        assert name in text, name


def test_one_bad_variable_of_a_role_hides_no_other(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    wrong: dict[str, Any] = {
        "site_image_digests": {"nats": f"sha256:{'0' * 64}"},
        "workers": [
            {
                "name": "tts",
                "workerArgs": {"model": "m", "image": "x/w:1", "capacity": 4},
                "autoscaling": {"enabled": True, "minReplicas": -1},
            }
        ],
    }
    status, problems = validate(
        tmp_path, hosts, "-e", json.dumps(wrong | {"site_apt_allow": ["all"]})
    )
    assert status != 0
    for text in ("nats is no image in full", "site_apt_allow", "minReplicas is -1"):
        assert [line for line in problems if text in line], text


def test_empty_groups(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {lonely: {}}}\n", encoding="utf-8")
    status, problems = validate(tmp_path, tmp_path / "hosts.yml")
    assert status != 0
    for group in ("control_plane", "gpu_workers", "ingress"):
        assert any(f"the group {group} has no host" in line for line in problems), group


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"egress_profile": "lax", "egress_mode": "sometimes"},
            (
                "egress_profile must be one of: off, vendor, strict, got: lax",
                "egress_mode must be one of: connected, airgapped, got: sometimes",
            ),
        ),
        (
            {
                "egress_allowlist": [{"name": "*.cartesia.ai", "reason": "all", "used_by": []}],
                "egress_gateway_offset": 3,
            },
            (
                "egress_allowlist: *.cartesia.ai is not a full host name",
                "egress_allowlist: *.cartesia.ai: used_by is empty",
                "egress_gateway_offset 3",
                "api.cartesia.ai:443, which egress_allowlist does not let the license-proxy reach",
            ),
        ),
    ],
)
def test_bad_egress_variables(
    tmp_path: Path, variables: dict[str, Any], message: tuple[str, ...]
) -> None:
    hosts = inventory(tmp_path, "single-site")
    (hosts.parent / "group_vars/all/egress.yml").write_text(yaml.safe_dump(variables))
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert [text for text in message if text not in "\n".join(problems)] == []
    assert len(problems) == len(message)


def test_a_bare_off_is_the_profile_off(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    (hosts.parent / "group_vars/all/egress.yml").write_text("egress_profile: off\n")
    assert validate(tmp_path, hosts) == (0, [])


def test_hosts_and_clients_of_the_ingress(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    wrong = {"ingress_hosts": ["a_b.example.com"], "ingress_unlimited_clients": ["office"]}
    _status, [client, host] = validate(tmp_path, hosts, "-e", json.dumps(wrong))
    assert client.startswith("ingress_unlimited_clients: 'office' is no address and no network")
    assert host.startswith("ingress_hosts: 'a_b.example.com' is no host name")
    given = json.dumps({"ingress_hosts": ["Speech.Example.COM."]})
    assert validate(tmp_path, hosts, "-e", given) == (0, [])


def test_virtual_ip_is_validated(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    status, problems = validate(tmp_path, hosts, "-e", "ingress_virtual_ip=192.0.2.21")
    assert status != 0
    [problem] = problems
    assert "ingress_virtual_ip=192.0.2.21 is the address of gpu1" in problem


def test_another_controller_needs_no_ingress_hosts(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    text = hosts.read_text(encoding="utf-8")
    hosts.write_text(
        text.replace("    ingress:\n      hosts:\n        cp1:\n", ""), encoding="utf-8"
    )
    assert validate(tmp_path, hosts)[0] != 0
    assert validate(tmp_path, hosts, "-e", '{"ingress_install": false}') == (0, [])


def test_license_is_validated(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    status, problems = validate(tmp_path, hosts, "-e", "license_proxy_mode=airgapped")
    assert status != 0
    [persistence, key] = problems
    assert "license_proxy_persistence: air-gapped mode keeps its audit log" in persistence
    assert "license_proxy_public_key is empty" in key


def test_nats_is_validated_with_the_servers_that_the_site_has(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    authority = Authority()
    server = authority.server(["nats"])
    given: dict[str, Any] = {"nats_certificate": server["certificate"], "nats_key": server["key"]}
    given |= {"nats_ca": authority.certificate, "nats_users": {"worker": "w" * 16}}
    options = tmp_path / "nats.json"
    options.write_text(json.dumps(given), encoding="utf-8")
    status, [users, names] = validate(tmp_path, hosts, "-e", f"@{options}")
    assert status != 0
    assert "nats_users.worker is no user of NATS" in users
    assert "not for nats-0.nats-headless, nats-1.nats-headless, nats-2.nats-headless" in names
    options.write_text(json.dumps(given | {"nats_replicas": 1, "nats_users": {}}), encoding="utf-8")
    assert validate(tmp_path, hosts, "-e", f"@{options}") == (0, [])
    status, [problem] = validate(tmp_path, hosts, "-e", "nats_access=lax")
    assert status != 0
    assert "nats_access must be one of: strict, users, open" in problem


def test_a_host_is_added_by_limit(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    assert validate(tmp_path, hosts, "--limit", "gpu2") == (0, [])


def test_limit_leaves_nothing_of_the_site_out(tmp_path: Path) -> None:
    """The whole site's variables count, and the cluster of a leader outside the play."""
    hosts = inventory(tmp_path, "single-site")
    options = ["--limit", "gpu2", "-e", '{"ca": "aaaa", "leader_ca": "bbbb", "ingress_hosts": []}']
    status, problems = validate(tmp_path, hosts, *options)
    assert status != 0
    assert [line for line in problems if line.startswith("gpu2: belongs to another cluster")]
    (hosts.parent / "files/api-key").unlink()
    _status, problems = validate(tmp_path, hosts, "--limit", "gpu2")
    assert [line for line in problems if "license_proxy_api_key" in line]


@pytest.mark.parametrize("form", ["text", "ini"])
def test_a_text_for_a_truth_value_means_what_it_says(tmp_path: Path, form: str) -> None:
    """No ingress host is needed where the controller is not installed."""
    hosts = inventory(tmp_path, "single-site")
    text = hosts.read_text(encoding="utf-8").replace(
        "    ingress:\n      hosts:\n        cp1:\n", ""
    )
    hosts.write_text(text, encoding="utf-8")
    assert validate(tmp_path, hosts)[0] != 0
    if form == "text":
        assert validate(tmp_path, hosts, "-e", "ingress_install=false") == (0, [])
        return
    ini = hosts.with_name("hosts.ini")
    ini.write_text(
        "[control_plane]\ncp1 ansible_host=192.0.2.11\n[gpu_workers]\n"
        "gpu1 ansible_host=192.0.2.21 nvidia_driver_gpu_count=8\n"
        "[all:vars]\ningress_install=false\n"
    )
    assert validate(tmp_path, ini) == (0, [])


def test_a_text_for_a_list_is_refused(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    status, problems = validate(tmp_path, hosts, "-e", "ingress_hosts=speech.example.com")
    assert status != 0
    assert [line for line in problems if "ingress_hosts is text, but must be a list" in line]


def test_names_addresses_and_networks_of_hosts(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    text = hosts.read_text(encoding="utf-8")
    text = text.replace("gpu1:", "GPU_1:").replace("192.0.2.22", "gpu2.dc.example.test")
    hosts.write_text(text, encoding="utf-8")
    networks = '{"networks": [{"network": "10.96.0.0/12", "interface": "eth1"}]}'
    status, problems = validate(tmp_path, hosts, "-e", networks)
    assert status != 0
    starts = (
        "GPU_1: the inventory name becomes",
        "gpu2: its address in the cluster would be gpu2.",
    )
    for start in (*starts, "cp1: its network 10.96.0.0/12 (eth1) lies in site_service_cidr"):
        assert [line for line in problems if line.startswith(start)], start
