# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a site that support needs, by the name of the file's entry."""

from __future__ import annotations

STEP_S = 60
MEMORY = 'container_memory_working_set_bytes{container!=""}'
REQUESTS = 'api_request_seconds_count{route!="/status"}'
CPU = 'container_cpu_usage_seconds_total{container!=""}'
FIRST_AUDIO = "sum by (offering, le) (rate(api_ttfa_seconds_bucket[5m]))"
QUERIES = {
    "up": "up",
    "api_requests": f"sum by (route, status) (rate({REQUESTS}[5m]))",
    "api_first_audio_p95": f"histogram_quantile(0.95, {FIRST_AUDIO})",
    "api_queue": "api_queue_size",
    "api_unserviceable": "api_unserviceable_requests_size",
    "api_broken_streams": "sum by (pod, reason) (rate(api_broken_streams_total[5m]))",
    "worker_load": "inferno_worker_load",
    "worker_capacity": "inferno_worker_capacity",
    "worker_jobs": "sum by (pod, outcome) (rate(inferno_worker_jobs_total[5m]))",
    "licence_state": "license_proxy_state == 1",
    "licence_end": "license_proxy_license_expires_timestamp_seconds",
    "artifacts_last_success": "artifact_sync_last_success_timestamp_seconds",
    "artifacts_failures": "artifact_sync_failures_total",
    "nats_connections": "nats_varz_connections",
    "nats_slow_consumers": "nats_varz_slow_consumers",
    "certificates": "probe_ssl_earliest_cert_expiry or haproxyingress_cert_expire_date_epoch",
    "restarts": "increase(kube_pod_container_status_restarts_total[1h]) > 0",
    "pods_not_ready": 'kube_pod_status_ready{condition="true"} == 0',
    "pod_memory": f"sum by (namespace, pod) ({MEMORY})",
    "pod_cpu": f"sum by (namespace, pod) (rate({CPU}[5m]))",
    "node_load": "node_load5",
    "node_memory_available": "node_memory_MemAvailable_bytes",
    "node_disk_available": 'node_filesystem_avail_bytes{mountpoint=~"/|/var|/var/lib.*"}',
    "node_clock": "node_time_seconds - timestamp(node_time_seconds)",
    "gpus_allocatable": "node:gpu_allocatable:sum",
    "gpus_requested": "node:gpu_requested:sum",
    "etcd_leader_changes": "etcd_server_leader_changes_seen_total",
}
