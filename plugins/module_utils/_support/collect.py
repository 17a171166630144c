# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read a site's cluster into a bundle. What cannot be read is noted there, and raises nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

from .._kube.client import KubeError
from .._kube.store import collection, service_proxy
from .._kube.types import Object
from . import objects
from .archive import Bundle, last_bytes
from .metrics import QUERIES, STEP_S
from .redaction import Redactor

PARALLEL = 8
# A log whose last lines do not fit is asked for again with fewer lines.
LINES = 20_000
TRIES = 5


class SupportApi(Protocol):
    """What the collection needs of the Kubernetes API."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return one object or list. Raises KubeError."""

    def text(self, path: str, **query: str) -> str:
        """Return the body of an endpoint that does not speak JSON. Raises KubeError."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a site.

    prometheus: its namespace, and its Service as NAME:PORT. since_s: seconds of logs and figures.
    log_bytes: most bytes of one log. total_bytes: most bytes of all logs. now: seconds since 1970.
    """

    namespace: str
    prometheus: tuple[str, str]
    since_s: int
    log_bytes: int
    total_bytes: int
    now: float


Lists: TypeAlias = "Mapping[str, list[Object] | str]"


def lists_of(api: SupportApi) -> Lists:
    """Return all lists of objects; text in place of one is the reason why it is missing."""

    def listed(path: str) -> list[Object] | str:
        try:
            return list(api.get(path).get("items") or [])
        except KubeError as error:
            return str(error)

    with ThreadPoolExecutor(PARALLEL) as pool:
        paths = {**objects.LISTS, **objects.NAMED}
        return dict(zip(paths, pool.map(listed, paths.values()), strict=True))


def bundle_of(lists: Lists, secrets: Sequence[str], namespace: str) -> Bundle:
    """Return an empty bundle that removes these secrets and the values of all Secrets."""
    known = [secret.encode() for secret in secrets]
    listed = lists.get("secrets", [])
    if not isinstance(listed, str):
        known += objects.secret_values(listed, namespace)
    return Bundle(Redactor(known))


def add_objects(bundle: Bundle, server: Object, lists: Lists) -> None:
    """Add lists of objects, names of Secrets and ConfigMaps, and versions."""
    for name, items in lists.items():
        if isinstance(items, str):
            bundle.leave_out(f"objects/{name}.json", items)
        elif name in objects.NAMED:
            bundle.add_data(f"objects/{name}.json", objects.names_of(items))
        else:
            bundle.add_data(f"objects/{name}.json", objects.trimmed(items))
    nodes, pods = (
        [] if isinstance(items := lists[name], str) else items for name in ("nodes", "pods")
    )
    bundle.add_data("versions.json", objects.versions(server, nodes, pods))


def read_log(api: SupportApi, path: str, most: int, **query: str) -> tuple[str, bool]:
    """Return the last lines of a container's log, and whether earlier ones are missing.

    limitBytes keeps the first bytes and support needs the last: so the lines get fewer until
    they fit. Raises KubeError.
    """
    lines = LINES
    text = ""
    for _try in range(TRIES):
        text = api.text(path, **query, tailLines=str(lines), limitBytes=str(most + 1))
        count = text.count("\n")
        if len(text.encode("utf-8", "replace")) <= most:
            return text, count >= lines
        # The lines that came are the first of those that were asked for.
        lines = max(1, min(lines, count) * 3 // 4)
    # The server cut the last line anywhere, also inside a secret.
    return last_bytes(text.rpartition("\n")[0], most)[0], True


def add_logs(bundle: Bundle, api: SupportApi, pods: Sequence[Object], wanted: Wanted) -> None:
    """Add the logs of all containers, the site's first, until all bytes are used."""
    logs: list[tuple[str, str, dict[str, str]]] = []
    for namespace, pod, container, restarted in objects.containers(pods, wanted.namespace):
        path = f"{collection('pods', namespace)}/{pod}/log"
        query = {"container": container, "timestamps": "true"}
        since = {"sinceSeconds": str(wanted.since_s)}
        logs.append((f"logs/{namespace}/{pod}/{container}.log", path, query | since))
        if restarted:
            name = f"logs/{namespace}/{pod}/{container}.previous.log"
            logs.append((name, path, {**query, "previous": "true"}))
    left = wanted.total_bytes

    def read(log: tuple[str, str, dict[str, str]]) -> tuple[str, bool] | str:
        try:
            return read_log(api, log[1], wanted.log_bytes, **log[2])
        except KubeError as error:
            return str(error)

    with ThreadPoolExecutor(PARALLEL) as pool:
        while logs and left > 0:
            batch, logs = logs[: 2 * PARALLEL], logs[2 * PARALLEL :]
            for (name, _path, _query), answer in zip(batch, pool.map(read, batch), strict=True):
                if isinstance(answer, str):
                    bundle.leave_out(name, answer)
                    continue
                text, truncated = answer
                text, cut = last_bytes(text, max(left, 0))
                if cut and not text:
                    bundle.leave_out(name, _full(wanted.total_bytes))
                    continue
                left -= bundle.add_text(name, text, truncated or cut)
    for name, _path, _query in logs:
        bundle.leave_out(name, _full(wanted.total_bytes))


def _full(most: int) -> str:
    return f"the logs before it have all of the {most} bytes. Raise support_total_bytes"


def add_metrics(bundle: Bundle, api: SupportApi, wanted: Wanted) -> None:
    """Add figures of now, of the time before, and the alerts that fire."""
    base = f"{service_proxy(*wanted.prometheus)}/api/v1"
    start = wanted.now - wanted.since_s
    period = f"start={start:.0f}&end={wanted.now:.0f}&step={STEP_S}"

    def asked(path: str) -> Any:
        try:
            answer = api.get(f"{base}/{path}")
            return answer["data"]
        except (KubeError, KeyError, TypeError) as error:
            return KubeError(str(error) or type(error).__name__)

    def now(name: str) -> Any:
        return asked(f"query?query={quote(QUERIES[name], safe='')}&time={wanted.now:.0f}")

    def before(name: str) -> Any:
        return asked(f"query_range?query={quote(QUERIES[name], safe='')}&{period}")

    alerts = asked("alerts")
    if isinstance(alerts, KubeError):
        bundle.leave_out("metrics", f"Prometheus cannot be asked: {alerts}")
        return
    bundle.add_data("alerts.json", alerts["alerts"])
    parts: dict[str, Callable[[str], Any]] = {"now": now, "range": before}
    for file, ask in parts.items():
        with ThreadPoolExecutor(PARALLEL) as pool:
            answers = dict(zip(QUERIES, pool.map(ask, QUERIES), strict=True))
        series = {}
        for name, answer in answers.items():
            if isinstance(answer, KubeError):
                bundle.leave_out(f"metrics/{file}.json: {name}", str(answer))
            else:
                series[name] = {"query": QUERIES[name], "series": answer["result"]}
        bundle.add_data(f"metrics/{file}.json", series)


def add_hosts(bundle: Bundle, hosts: Mapping[str, Mapping[str, Any]], most: int) -> None:
    """Add what was read on the hosts; see the module support_host."""
    for host, result in sorted(hosts.items()):
        if result.get("unreachable") or result.get("failed"):
            bundle.leave_out(f"hosts/{host}", str(result.get("msg") or "it cannot be reached"))
            continue
        if "files" not in result:
            bundle.leave_out(f"hosts/{host}", "it was not read. Run without --limit")
            continue
        for name, text in sorted(result["files"].items()):
            kept, cut = last_bytes(str(text), most)
            bundle.add_text(f"hosts/{host}/{name}", kept, cut or name in result["truncated"])
        for line in result["left_out"]:
            bundle.leave_out(f"hosts/{host}/{line['what']}", str(line["why"]))


def add_inventory(bundle: Bundle, inventory: Mapping[str, Any]) -> None:
    """Add the inventory; values below secret names are removed once more."""
    bundle.add_data("inventory.json", json.loads(json.dumps(inventory)), names=True)
