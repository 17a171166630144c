# SPDX-License-Identifier: Apache-2.0
"""What is collected of a cluster, and what is not, with an API of the test's own."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._support import objects
from ansible_collections.baremetal.sonic.plugins.module_utils._support.archive import (
    MANIFEST,
    Bundle,
    last_bytes,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._support.collect import (
    Wanted,
    add_hosts,
    add_logs,
    add_metrics,
    add_objects,
    bundle_of,
    lists_of,
    read_log,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._support.metrics import QUERIES
from ansible_collections.baremetal.sonic.plugins.module_utils._support.redaction import (
    MARK,
    Redactor,
)

CANARY = "canary-of-a-secret-1234"
ENCODED = base64.b64encode(CANARY.encode()).decode()
PROMETHEUS = ("monitoring", "prometheus:9090")


def pod(name: str, *, namespace: str = "cartesia", restarts: int = 0) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "managedFields": ["who"],
            "annotations": {objects.APPLIED: CANARY, "keep": "this"},
        },
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "command": ["python", "-c", "print('literal')", "--flag"],
                    "args": ["--key=literal", "literal", "-v", "--a b"],
                    "env": [
                        {"name": "PLAIN", "value": "literal"},
                        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                    "livenessProbe": {
                        "httpGet": {"httpHeaders": [{"name": "X-A", "value": "literal"}]}
                    },
                }
            ]
        },
        "status": {
            "containerStatuses": [
                {"name": "main", "image": "i:1", "imageID": "i@sha256:1", "restartCount": restarts}
            ]
        },
    }


SECRETS: list[dict[str, Any]] = [
    {
        "metadata": {"name": "s", "namespace": "cartesia"},
        "type": "Opaque",
        "data": {"k": ENCODED, "username": base64.b64encode(b"reader").decode()},
    },
    {
        "metadata": {"name": "t", "namespace": "other"},
        "data": {"username": base64.b64encode(b"pod-prefix").decode()},
    },
]


class Api:
    """A cluster. `broken` are beginnings of paths that cannot be read."""

    def __init__(self, *pods: dict[str, Any], broken: tuple[str, ...] = ()) -> None:
        self.lists: dict[str, list[Any]] = {
            objects.LISTS["pods"]: list(pods),
            objects.LISTS["nodes"]: [
                {"metadata": {"name": "gpu1"}, "status": {"nodeInfo": {"kubeletVersion": "v1"}}}
            ],
            objects.LISTS["events"]: [{"metadata": {"name": "e"}, "message": f"pulled {CANARY}"}],
            objects.NAMED["secrets"]: SECRETS,
            objects.NAMED["configmaps"]: [
                {"metadata": {"name": "c", "namespace": "n"}, "data": {"file": "literal"}}
            ],
        }
        self.broken = broken
        self.logs: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str, **query: str) -> dict[str, Any]:
        self._check(path)
        if "/proxy/api/v1/" in path:
            self.asked.append((path, query))
            if path.endswith("/alerts"):
                return {"data": {"alerts": [{"labels": {"alertname": f"A{CANARY}"}}]}}
            return {"data": {"result": [{"metric": {"pod": "p"}, "values": [[1, "2"]]}]}}
        return {"items": self.lists.get(path, [])}

    def text(self, path: str, **query: str) -> str:
        self._check(path)
        self.asked.append((path, query))
        text = self.logs.get(path.split("/pods/")[1].split("/")[0], f"a line with {CANARY}\n")
        lines = text.splitlines(True)[-int(query["tailLines"]) :]
        return "".join(lines)[: int(query["limitBytes"])]

    def _check(self, path: str) -> None:
        if path.startswith(self.broken):
            raise KubeError(f"forbidden: {CANARY}", 403)


def wanted(total: int = 100_000) -> Wanted:
    return Wanted("cartesia", PROMETHEUS, 3600, 1000, total, 10_000.0)


def content(bundle: Bundle, name: str) -> Any:
    return json.loads(bundle.files[name])


def test_objects_have_no_literal_values_and_secrets_only_names() -> None:
    lists = lists_of(Api(pod("p")))
    bundle = bundle_of(lists, [], "cartesia")
    add_objects(bundle, {"gitVersion": "v1.2"}, lists)
    whole = b"".join(bundle.files.values()).decode()
    assert CANARY not in whole
    assert ENCODED not in whole
    assert "literal" not in whole
    [listed] = content(bundle, "objects/pods.json")
    container = listed["spec"]["containers"][0]
    assert container["command"] == ["python", "-c", MARK, "--flag"]
    assert container["args"] == [f"--key={MARK}", MARK, "-v", MARK]
    assert container["env"] == [
        {"name": "PLAIN", "value": MARK},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    assert listed["metadata"]["annotations"] == {"keep": "this"}
    assert content(bundle, "objects/events.json")[0]["message"] == f"pulled {MARK}"
    assert content(bundle, "objects/secrets.json")[0] == {
        "namespace": "cartesia", "name": "s", "type": "Opaque", "created": "",
        "keys": ["k", "username"],
    }  # fmt: skip
    assert content(bundle, "objects/configmaps.json")[0]["keys"] == ["file"]
    assert content(bundle, "versions.json") == {
        "api_server": {"gitVersion": "v1.2"},
        "nodes": {"gpu1": {"kubeletVersion": "v1"}},
        "images": [{"image": "i:1", "digest": "i@sha256:1", "containers": 1}],
    }
    assert bundle.left_out == []


def test_what_cannot_be_read_is_named() -> None:
    api = Api(broken=("/apis/keda.sh", "/api/v1/nodes", "/api/v1/namespaces/monitoring"))
    lists = lists_of(api)
    bundle = bundle_of(lists, [], "cartesia")
    add_objects(bundle, {}, lists)
    add_metrics(bundle, api, wanted())
    assert bundle.left_out == [
        {"what": "objects/nodes.json", "why": f"forbidden: {MARK}"},
        {"what": "objects/scaledobjects.json", "why": f"forbidden: {MARK}"},
        {"what": "metrics", "why": f"Prometheus cannot be asked: forbidden: {MARK}"},
    ]


def test_names_of_users_count_in_the_sites_namespace_only() -> None:
    assert set(objects.secret_values(SECRETS, "cartesia")) == {CANARY.encode(), b"reader"}


def test_logs_of_restarted_containers_come_with_the_ones_before() -> None:
    pods = [pod("z", namespace="a"), pod("b"), pod("c", restarts=2)]
    api = Api(*pods, broken=("/api/v1/namespaces/cartesia/pods/b/",))
    bundle = bundle_of(lists_of(api), [], "cartesia")
    add_logs(bundle, api, pods, wanted())
    assert list(bundle.files) == [
        "logs/cartesia/c/main.log", "logs/cartesia/c/main.previous.log", "logs/a/z/main.log",
    ]  # fmt: skip
    assert set(bundle.files.values()) == {f"a line with {MARK}\n".encode()}
    assert bundle.left_out == [{"what": "logs/cartesia/b/main.log", "why": f"forbidden: {MARK}"}]
    queries = [query for _path, query in api.asked]
    assert [query.get("sinceSeconds") for query in queries] == ["3600", None, "3600"]
    assert [query.get("previous") for query in queries] == [None, "true", None]


def test_last_lines_of_a_long_log_are_kept() -> None:
    api = Api()
    api.logs["p"] = "".join(f"line {number:06}\n" for number in range(30_000))
    text, truncated = read_log(api, "/api/v1/namespaces/n/pods/p/log", 1000)
    assert truncated
    assert 0 < len(text) <= 1000
    # limitBytes keeps the first bytes: fewer lines were asked for, again and again.
    assert text.splitlines()[-1] == "line 029999"
    assert read_log(api, "/api/v1/namespaces/n/pods/p/log", 10**6) == (
        "".join(f"line {number:06}\n" for number in range(10_000, 30_000)), True,
    )  # fmt: skip


def test_line_that_the_server_cut_is_left_out() -> None:
    api = Api()
    api.logs["p"] = "x" * 900 + "\n" + "y" * 5000 + "\n"
    assert read_log(api, "/api/v1/namespaces/n/pods/p/log", 1000) == ("", True)


def test_all_logs_have_a_limit() -> None:
    pods = [pod(name) for name in "abc"]
    api = Api(*pods)
    for name in "abc":
        api.logs[name] = f"{'x' * 98}\n" * 6
    bundle = Bundle(Redactor())
    add_logs(bundle, api, pods, wanted(total=1000))
    assert [len(text) for text in bundle.files.values()] == [594, 396]
    assert bundle.entries[1]["truncated"]
    assert "truncated" not in bundle.entries[0]
    assert [line["what"] for line in bundle.left_out] == ["logs/cartesia/c/main.log"]
    assert "support_total_bytes" in bundle.left_out[0]["why"]


def test_figures_of_now_and_of_the_last_hour() -> None:
    api = Api()
    bundle = Bundle(Redactor([CANARY.encode()]))
    add_metrics(bundle, api, wanted())
    assert content(bundle, "alerts.json") == [{"labels": {"alertname": f"A{MARK}"}}]
    for part in ("now", "range"):
        figures = content(bundle, f"metrics/{part}.json")
        assert set(figures) == set(QUERIES)
        assert figures["up"] == {
            "query": "up", "series": [{"metric": {"pod": "p"}, "values": [[1, "2"]]}],
        }  # fmt: skip
    paths = [path for path, _query in api.asked]
    base = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1"
    assert f"{base}/query?query=up&time=10000" in paths
    assert f"{base}/query_range?query=up&start=6400&end=10000&step=60" in paths


def test_hosts_that_were_not_read_are_named() -> None:
    bundle = Bundle(Redactor([CANARY.encode()]))
    read: dict[str, Any] = {
        "files": {"a.log": f"old\n{CANARY} a\n"},
        "truncated": ["a.log"],
        "left_out": [{"what": "b", "why": "not installed"}],
    }
    hosts: dict[str, dict[str, Any]] = {
        "h3": {},
        "h2": {"unreachable": True, "msg": f"no route {CANARY}"},
        "h1": read,
    }
    add_hosts(bundle, hosts, 1000)
    assert bundle.files == {"hosts/h1/a.log": f"old\n{MARK} a\n".encode()}
    assert bundle.entries == [
        {"file": "hosts/h1/a.log", "bytes": 17, "redacted": 1, "truncated": True}
    ]
    assert bundle.left_out == [
        {"what": "hosts/h1/b", "why": "not installed"},
        {"what": "hosts/h2", "why": f"no route {MARK}"},
        {"what": "hosts/h3", "why": "it was not read. Run without --limit"},
    ]


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("ab\ncd\n", 6, ("ab\ncd\n", False)),
        ("ab\ncd\n", 5, ("cd\n", True)),
        ("abcdef", 3, ("", True)),
        ("aé\nü\n", 4, ("ü\n", True)),
    ],
)
def test_only_whole_lines_are_kept(text: str, most: int, kept: tuple[str, bool]) -> None:
    assert last_bytes(text, most) == kept


def test_archive_is_private_whole_and_has_a_manifest(tmp_path: Path) -> None:
    bundle = Bundle(Redactor([CANARY.encode()]))
    bundle.add_text("a.log", f"{CANARY}\n", truncated=True)
    bundle.add_data("b.json", {"x": 1})
    bundle.leave_out("c", f"because of {CANARY}")
    path = tmp_path / "site.tar.gz"
    path.write_text("earlier", encoding="utf-8")
    size = bundle.write(path, {"site": "s", "cluster": CANARY}, "s-1")
    assert size == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with tarfile.open(path) as archive:
        texts = {
            member.name: file.read().decode()
            for member in archive
            if (file := archive.extractfile(member))
        }
    assert list(texts) == [f"s-1/{MANIFEST}", "s-1/a.log", "s-1/b.json"]
    assert not any(CANARY in text for text in texts.values())
    assert json.loads(texts[f"s-1/{MANIFEST}"]) == {
        "schema": 1,
        "site": "s",
        "cluster": MARK,
        "secrets": {"redacted": 2, "too_short": 0},
        "files": [
            {"file": "a.log", "bytes": 11, "redacted": 1, "truncated": True},
            {"file": "b.json", "bytes": 12, "redacted": 0},
        ],
        "left_out": [{"what": "c", "why": f"because of {MARK}"}],
    }


def test_failed_write_leaves_the_old_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "site.tar.gz"
    path.write_text("earlier", encoding="utf-8")

    def fail(*_unused: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tarfile.TarFile, "addfile", fail)
    with pytest.raises(OSError, match="disk full"):
        Bundle(Redactor()).write(path, {}, "s")
    assert path.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [path]
