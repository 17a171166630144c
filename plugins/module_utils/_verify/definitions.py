# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""All checks that one look at the cluster and its Prometheus answers, in the report's order."""

from __future__ import annotations

from . import security, services, workloads
from .site import Definition

DEFINITIONS = (
    Definition(
        "nodes",
        "Every host of the inventory is a Ready node that takes pods",
        workloads.nodes,
        "Look at the host's kubelet, or uncordon the node when its maintenance is done",
    ),
    Definition(
        "clocks",
        "The hosts' clocks agree",
        services.clocks,
        "Repair the time service of the host: chronyc tracking, or timedatectl",
        limit=5.0,
    ),
    Definition(
        "disk",
        "Each host has room for the images of one more rollout, in GiB",
        services.disk,
        "Remove unused images (crictl rmi --prune), or enlarge the data disk",
        limit=20.0,
    ),
    Definition(
        "versions",
        "Kubelets have the version of the inventory",
        workloads.versions,
        "Set site_versions.kubernetes to what runs, or upgrade the hosts",
    ),
    Definition(
        "support",
        "The version of Kubernetes is maintained, for more than so many days",
        services.support,
        "Plan an upgrade of Kubernetes",
        limit=60.0,
    ),
    Definition(
        "metrics",
        "Prometheus answers",
        services.metrics,
        "Run playbooks/platform.yml, and look at the pod of Prometheus",
        "runbooks/MetricsAbsent.md",
    ),
    Definition(
        "nats",
        "All NATS servers are ready and clients are connected",
        services.nats,
        "Look at the pods of NATS: kubectl -n NAMESPACE logs nats-0",
        "runbooks/NatsSlowConsumers.md",
        after=("nodes", "metrics"),
    ),
    Definition(
        "gpus",
        "Nodes offer the GPUs of the inventory",
        workloads.gpus,
        "Look at the device plugin's log, and at nvidia-smi on the host",
        "runbooks/GpuMissing.md",
        after=("nodes",),
    ),
    Definition(
        "workers",
        "Workers have their pods, and these serve",
        workloads.workers,
        "Free GPUs or set fewer pods, then run playbooks/stack.yml",
        "runbooks/SpeechNoCapacity.md",
        after=("nodes", "gpus", "metrics", "nats"),
    ),
    Definition(
        "rollouts",
        "All other workloads are complete",
        workloads.rollouts,
        "Look at the pods: kubectl describe pod; then run the playbook of their layer again",
        after=("nodes", "nats"),
    ),
    Definition(
        "restarts",
        "No container restarts often, in an hour",
        workloads.restarts,
        "Read the last log of the container: kubectl logs --previous",
        after=("metrics",),
        limit=3.0,
    ),
    Definition(
        "images",
        "Pods run the images and digests of the inventory",
        workloads.images,
        "Run playbooks/stack.yml. If a registry gave another image, pin it in site_image_digests",
    ),
    Definition(
        "scrape",
        "Prometheus asks all pods of the stack, and they answer",
        services.scrape,
        "Run playbooks/platform.yml: it restores the PodMonitors",
        "runbooks/MetricsTargetDown.md",
        after=("nodes", "metrics", "nats", "workers", "rollouts"),
    ),
    Definition(
        "autoscaling",
        "Autoscaled workers follow their load",
        services.autoscaling,
        "Look at the pods in the namespace keda, then run playbooks/platform.yml and stack.yml",
        after=("nodes", "metrics"),
    ),
    Definition(
        "alerts",
        "No alert fires",
        services.alerts,
        "Follow the runbook of the alert",
        "runbooks/README.md",
        after=("metrics",),
    ),
    Definition(
        "licence",
        "The licence is in force, for more than so many days",
        services.licence,
        "Install a new licence: playbooks/license.yml",
        "runbooks/LicenseExpired.md",
        after=("metrics", "rollouts"),
        limit=14.0,
    ),
    Definition(
        "certificates",
        "Certificates of ingress and control plane end in more than so many days",
        security.certificates,
        "Put the new certificate into the inventory and run playbooks/platform.yml",
        "runbooks/IngressCertificateExpires.md",
        after=("metrics",),
        limit=14.0,
    ),
    Definition(
        "join-tokens",
        "No old join token is left",
        security.join_tokens,
        "Remove those that you do not need: kubeadm token delete",
    ),
    Definition(
        "encryption",
        "Secrets are encrypted in etcd",
        security.encryption,
        "See docs/cluster.md, Encryption of Secrets",
    ),
    Definition(
        "policies",
        "The network policies of the inventory are there",
        security.policies,
        "Run playbooks/platform.yml: it restores them",
    ),
    Definition(
        "disruption",
        "A drain can evict pods of each workload",
        workloads.disruption,
        "Add a replica, or allow one pod to be away",
        after=("nodes", "rollouts", "workers", "nats"),
    ),
)
