# SPDX-License-Identifier: Apache-2.0
"""The cluster through its API: nodes, GPUs, workloads, how they are confined, network policy."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from lab.config import for_anybody
from lab.waiting import wait

STACK = "cartesia"


def conditions(status: Any) -> dict[str, str]:
    """Return a status's conditions, type -> status."""
    return {condition.type: condition.status for condition in status.conditions or []}


def stack_pods(core: client.CoreV1Api) -> list[Any]:
    """Return the stack's pods. Fails when there is none."""
    pods: list[Any] = core.list_namespaced_pod(STACK).items
    assert pods, f"no pod in namespace {STACK}"
    return pods


def stack_pod(core: client.CoreV1Api, prefix: str) -> Any:
    """Return the first of the stack's pods whose name begins so. Fails when there is none."""
    pods = [pod for pod in stack_pods(core) if pod.metadata.name.startswith(prefix)]
    assert pods, f"no pod {prefix}* in namespace {STACK}"
    return pods[0]


def test_every_host_is_a_ready_node(core: client.CoreV1Api, info: dict[str, Any]) -> None:
    nodes = {
        node.metadata.name: conditions(node.status)["Ready"] for node in core.list_node().items
    }
    assert nodes == dict.fromkeys(info["hosts"], "True")


def test_nodes_offer_their_gpus(core: client.CoreV1Api, info: dict[str, Any]) -> None:
    offered = {
        node.metadata.name: int((node.status.allocatable or {}).get("nvidia.com/gpu", "0"))
        for node in core.list_node().items
    }
    assert offered == {name: host["gpus"] for name, host in info["hosts"].items()}
    assert sorted(offered.values()) == [0, 2, 4]


def test_every_workload_is_ready(apps: client.AppsV1Api) -> None:
    behind = {}
    for kind in ("deployment", "stateful_set"):
        for item in getattr(apps, f"list_{kind}_for_all_namespaces")().items:
            if (item.status.ready_replicas or 0) != item.spec.replicas:
                behind[f"{item.metadata.namespace}/{item.metadata.name}"] = (
                    item.status.ready_replicas
                )
    for item in apps.list_daemon_set_for_all_namespaces().items:
        if item.status.number_ready != item.status.desired_number_scheduled:
            behind[f"{item.metadata.namespace}/{item.metadata.name}"] = item.status.number_ready
    assert behind == {}


@pytest.mark.parametrize("name", ["license-proxy", "cartesia-api", "tts-worker"])
def test_stack_has_its_deployments(apps: client.AppsV1Api, name: str) -> None:
    assert apps.read_namespaced_deployment(name, STACK).status.ready_replicas >= 1


def test_stack_has_nats(apps: client.AppsV1Api) -> None:
    assert apps.read_namespaced_stateful_set("nats", STACK).status.ready_replicas >= 1


def test_stack_runs_confined(core: client.CoreV1Api) -> None:
    loose = []
    for pod in stack_pods(core):
        shared = pod.spec.security_context or client.V1PodSecurityContext()
        for container in pod.spec.containers:
            own = container.security_context or client.V1SecurityContext()
            name = f"{pod.metadata.name}/{container.name}"
            if not (own.run_as_non_root or shared.run_as_non_root):
                loose.append(f"{name}: may run as root")
            if not own.read_only_root_filesystem:
                loose.append(f"{name}: may write its root file system")
            if own.allow_privilege_escalation is not False:
                loose.append(f"{name}: may gain privileges")
            if not own.capabilities or own.capabilities.drop != ["ALL"]:
                loose.append(f"{name}: keeps capabilities")
            if not (container.resources.requests or {}).keys() >= {"cpu", "memory"}:
                loose.append(f"{name}: requests no cpu or memory")
    assert loose == []


def test_stack_runs_as_non_root_in_fact(core: client.CoreV1Api) -> None:
    pod = stack_pod(core, "tts-worker")
    status = run_in(core, STACK, pod.metadata.name, "cat /proc/1/status")
    users = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    assert "0" not in users


def test_no_join_token_is_left(core: client.CoreV1Api) -> None:
    """A reader of a token can join any host."""
    left = core.list_namespaced_secret(
        "kube-system", field_selector="type=bootstrap.kubernetes.io/token"
    ).items
    assert [secret.metadata.name for secret in left] == []


@pytest.mark.parametrize(
    ("namespace", "level"),
    # The monitoring's exporters and the ingress take ports of their hosts.
    [(STACK, "restricted"), ("keda", "restricted"), ("monitoring", "privileged")],
)
def test_namespaces_enforce_pod_security(
    core: client.CoreV1Api, namespace: str, level: str
) -> None:
    labels = core.read_namespace(namespace).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == level


def test_a_pod_that_could_become_root_is_refused(core: client.CoreV1Api) -> None:
    pod = {
        "metadata": {"generateName": "loose-"},
        "spec": {"containers": [{"name": "loose", "image": "registry.k8s.io/pause:3.10.2"}]},
    }
    with pytest.raises(ApiException, match="violates PodSecurity"):
        core.create_namespaced_pod(STACK, pod, dry_run="All")


def allowed(api: client.ApiClient, account: str, verb: str, **resource: str) -> bool:
    """Whether a service account (NAMESPACE:NAME) may do something."""
    review = client.AuthorizationV1Api(api).create_subject_access_review(
        {
            "spec": {
                "user": f"system:serviceaccount:{account}",
                "resourceAttributes": {"verb": verb} | resource,
            }
        }
    )
    answer: bool = review.status.allowed
    return answer


@pytest.mark.parametrize("name", ["keda-operator", "keda-metrics-apiserver", "keda-admission"])
def test_keda_reads_no_secrets_of_others(api: client.ApiClient, name: str) -> None:
    account = f"keda:{name}"
    for namespace in (STACK, "kube-system", "monitoring", "default"):
        for verb in ("get", "list", "watch"):
            assert not allowed(api, account, verb, resource="secrets", namespace=namespace)
    assert not allowed(api, account, "get", resource="nodes", subresource="proxy")
    assert not allowed(api, account, "get", resource="pods", namespace=STACK)
    scales = {"group": "apps", "resource": "deployments", "subresource": "scale"}
    may = allowed(api, account, "update", namespace=STACK, **scales)
    assert may == (name == "keda-operator")
    assert not allowed(api, account, "update", namespace="monitoring", **scales)


def on_leader(machines: Callable[[str], Any], command: str) -> str:
    """What a command prints on the lab's control plane. Fails when the command does."""
    output: str = machines("cp1").check_output(command)
    return output


def test_secrets_are_encrypted_in_etcd(
    core: client.CoreV1Api, machines: Callable[[str], Any]
) -> None:
    name, text = "encryption-test", "a-text-to-look-for"
    core.create_namespaced_secret(
        "default", {"metadata": {"name": name}, "stringData": {"a": text}}
    )
    try:
        stored = on_leader(
            machines,
            "crictl exec $(crictl ps --name '^etcd$' --quiet) etcdctl"
            " --cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/etcd/server.crt"
            " --key=/etc/kubernetes/pki/etcd/server.key"
            f" get --print-value-only /registry/secrets/default/{name} | base64 --wrap=0",
        )
        value = base64.b64decode(stored)
        assert value.startswith(b"k8s:enc:secretbox:v1:key1:")
        assert text.encode() not in value
        key = "stat -c '%a %U' /etc/kubernetes/baremetal-sonic/encryption.json"
        assert on_leader(machines, key).split() == ["600", "root"]
    finally:
        core.delete_namespaced_secret(name, "default")


def test_who_reads_a_secret_is_noted_and_never_what_is_in_it(
    core: client.CoreV1Api, machines: Callable[[str], Any]
) -> None:
    name, text = "audit-test", "another-text-to-look-for"
    core.create_namespaced_secret(
        "default", {"metadata": {"name": name}, "stringData": {"a": text}}
    )
    core.delete_namespaced_secret(name, "default")
    log = "/var/log/kubernetes/audit/audit.log"
    noted = on_leader(machines, f'grep --fixed-strings \'"name":"{name}"\' {log}')
    events = [json.loads(line) for line in noted.splitlines()]
    assert {event["verb"] for event in events} >= {"create", "delete"}
    assert {event["level"] for event in events} == {"Metadata"}
    assert all(event["user"]["username"] for event in events)
    assert on_leader(machines, f"grep --count --fixed-strings {text} {log} || true").strip() == "0"
    assert on_leader(machines, f"stat -c %a {log}").strip() == "600"


def test_worker_asks_for_one_gpu_and_gets_it(core: client.CoreV1Api) -> None:
    workers = core.list_namespaced_pod(
        STACK, label_selector="app.kubernetes.io/component=worker"
    ).items
    assert workers
    for pod in workers:
        container = pod.spec.containers[0]
        assert container.resources.limits["nvidia.com/gpu"] == "1"
        devices = run_in(core, STACK, pod.metadata.name, "ls -d /dev/nvidia*").split()
        assert len([path for path in devices if path.removeprefix("/dev/nvidia").isdigit()]) == 1


def test_worker_waits_for_its_model(core: client.CoreV1Api) -> None:
    workers = core.list_namespaced_pod(
        STACK, label_selector="app.kubernetes.io/component=worker"
    ).items
    assert workers
    assert all(pod.spec.containers[0].startup_probe for pod in workers)


def run_in(core: client.CoreV1Api, namespace: str, pod: str, command: str) -> str:
    """Return what a shell command prints in a pod, standard error too."""
    output: str = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        namespace,
        command=["/bin/sh", "-c", command],
        stdout=True,
        stderr=True,
    )
    return output


@pytest.fixture
def playground(core: client.CoreV1Api) -> Iterator[str]:
    """A namespace with pods ``server`` (HTTP) and ``caller`` on different hosts; removed after."""
    name = "policy-test"
    image = for_anybody(stack_pod(core, "license-proxy").spec.containers[0].image)
    nodes = [
        node.metadata.name
        for node in core.list_node().items
        if "node-role.kubernetes.io/control-plane" not in node.metadata.labels
    ]
    core.create_namespace({"metadata": {"name": name}})
    try:
        for pod, node, command in (
            ("server", nodes[0], ["python3", "-m", "http.server", "8000", "--directory", "/etc"]),
            ("caller", nodes[-1], ["sleep", "600"]),
        ):
            container = {"name": pod, "image": image, "command": command}
            spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}
            core.create_namespaced_pod(
                name, {"metadata": {"name": pod, "labels": {"app": pod}}, "spec": spec}
            )
        wait(
            "pods of the network policy test",
            lambda: all(
                conditions(core.read_namespaced_pod(pod, name).status).get("Ready") == "True"
                for pod in ("server", "caller")
            ),
        )
        yield name
    finally:
        core.delete_namespace(name)
        wait("removal of the network policy test", lambda: gone(core, name))


def gone(core: client.CoreV1Api, namespace: str) -> bool:
    """Tell whether a namespace is no more."""
    try:
        core.read_namespace(namespace)
    except ApiException as error:
        if error.status == 404:
            return True
        raise
    return False


def test_network_policy_is_enforced(
    api: client.ApiClient, core: client.CoreV1Api, playground: str
) -> None:
    address = core.read_namespaced_pod("server", playground).status.pod_ip
    call = (
        "python3 -c 'import socket; socket.create_connection((\"" + address + "\", 8000), 3)' "
        "2>/dev/null && echo answered || echo refused"
    )
    wait(
        "the server's answer without a policy",
        lambda: "answered" in run_in(core, playground, "caller", call),
    )
    client.NetworkingV1Api(api).create_namespaced_network_policy(
        playground,
        {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    )
    wait("the policy's refusal", lambda: "refused" in run_in(core, playground, "caller", call), 30)


def test_a_service_without_endpoints_leads_nowhere(core: client.CoreV1Api, playground: str) -> None:
    """Not out of the cluster either, where a server may have any address."""
    wanted = {"selector": {"app": "no-pod"}, "ports": [{"port": 80}]}
    core.create_namespaced_service(playground, {"metadata": {"name": "no-pod"}, "spec": wanted})
    address = core.read_namespaced_service("no-pod", playground).spec.cluster_ip
    call = (
        "python3 -c 'import socket; socket.create_connection((\"" + address + "\", 80), 3)' 2>&1"
        " && echo connected"
    )
    actual = run_in(core, playground, "caller", call)
    assert "connected" not in actual
    assert "timed out" in actual or "refused" in actual


def test_names_are_resolved_in_the_cluster(core: client.CoreV1Api) -> None:
    pod = stack_pod(core, "cartesia-api")
    asked = "python3 -c 'import socket; print(socket.gethostbyname(\"nats\"))'"
    address = run_in(core, STACK, pod.metadata.name, asked).strip()
    service = core.read_namespaced_service("nats", STACK)
    addresses = {
        subset.ip
        for part in core.read_namespaced_endpoints("nats", STACK).subsets
        for subset in part.addresses
    }
    assert address in addresses | {service.spec.cluster_ip}
