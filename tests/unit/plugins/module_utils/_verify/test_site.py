# SPDX-License-Identifier: Apache-2.0
"""How a site is read, and how its checks run one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import Any
from urllib.parse import unquote

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.catalogue import LIMITS
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.definitions import DEFINITIONS
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import (
    OBJECTS,
    QUERIES,
    Definition,
    Result,
    UnreadableError,
    each,
    gather,
    run,
    stored_secrets,
)

from tests.healthy_site import (
    IDS,
    SPEECH,
    Site,
)

DOWN = "Prometheus cannot be asked: no endpoints"


def test_a_consequence_names_what_failed_first_also_over_others() -> None:
    def fails(*_unused: Any) -> Result:
        return Result(FAIL, "broken")

    definitions = [
        Definition("power", "t", fails, "r"),
        Definition("host", "t", fails, "r", after=("power",)),
        Definition("cable", "t", fails, "r"),
        Definition("pod", "t", fails, "r", after=("host", "cable")),
        Definition("other", "t", fails, "r", after=("unknown",)),
    ]
    site = Site()
    checks = {check.id: check for check in run(definitions, site.seen, site.wanted)}
    assert checks["host"].verdict == SKIPPED
    assert checks["pod"].evidence == "broken. power and cable failed: repair that first"
    assert [checks[name].verdict for name in ("power", "cable", "other")] == [FAIL] * 3


def test_what_the_operator_skips_explains_no_failure() -> None:
    site = Site()
    site.series = dict.fromkeys(site.series, "no endpoints")
    site.drop("nodes", "gpu2")
    site.want(skip=["nodes"])
    checks = site.checks()
    assert checks["gpus"].verdict == FAIL
    assert checks["metrics"].verdict == FAIL
    assert checks["clocks"].evidence == f"{DOWN}. metrics failed: repair that first"
    site.want(skip=["nodes", "metrics"])
    assert site.checks()["clocks"].verdict == FAIL


def test_a_check_of_another_list_may_have_failed_first() -> None:
    def fails(*_unused: Any) -> Result:
        return Result(FAIL, "broken")

    definitions = [Definition("a", "t", fails, "r", after=("nodes", "metrics"))]
    [check] = each(definitions, {}, fails, failed=["metrics"])
    assert check.evidence == "broken. metrics failed: repair that first"
    [check] = each(definitions, {}, fails, failed=["metrics"], skip=["metrics"])
    assert check.verdict == FAIL


def test_a_warning_has_no_consequence_and_a_consequence_may_warn() -> None:
    def warns(*_unused: Any) -> Result:
        return Result(WARN, "soon")

    def fails(*_unused: Any) -> Result:
        return Result(FAIL, "broken")

    definitions = [
        Definition("first", "t", warns, "r"),
        Definition("second", "t", fails, "r", after=("first",)),
        Definition("third", "t", warns, "r", after=("second",)),
    ]
    site = Site()
    verdicts = [check.verdict for check in run(definitions, site.seen, site.wanted)]
    assert verdicts == [WARN, FAIL, WARN]


def test_checks_come_after_others_that_exist_and_stand_before_them() -> None:
    for place, item in enumerate(DEFINITIONS):
        assert set(item.after) <= set(IDS[:place]), item.id


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_that_cannot_be_read_fail_the_checks_that_need_them(kind: str) -> None:
    site = Site()
    site.objects[kind] = "forbidden"
    affected = [check for check in site.checks().values() if check.verdict != PASS]
    assert affected
    for check in affected:
        assert f"{kind} cannot be read: forbidden" in check.evidence
        assert check.verdict in (FAIL, SKIPPED)
    assert FAIL in {check.verdict for check in affected}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_cannot_be_asked_fails_its_check(query: str) -> None:
    site = Site()
    site.series[query] = "no endpoints"
    failed = [c for c in site.checks().values() if c.verdict == FAIL]
    assert failed
    assert {c.evidence for c in failed} == {DOWN}


def test_an_api_server_without_metrics_proves_no_encryption() -> None:
    site = Site(storage="HTTP 403")
    check = site.checks()["encryption"]
    assert (check.verdict, check.evidence) == (
        FAIL, "the API server's metrics cannot be read: HTTP 403"
    )  # fmt: skip


def test_an_odd_object_costs_only_its_checks() -> None:
    site = Site()
    del site.get("nodes", "gpu1")["status"]["nodeInfo"]
    checks = site.checks()
    others = {each for each, check in checks.items() if check.verdict != PASS}
    assert others == {"versions"}
    assert checks["versions"].verdict == FAIL
    assert checks["versions"].evidence == (
        "what the cluster returned cannot be understood: KeyError: 'nodeInfo'"
    )


def test_limits_of_the_inventory_replace_the_defaults() -> None:
    site = Site()
    site.want(limits={"certificates": 100.0, "disk": 81.0, "clocks": 0.01, "support": 900.0})
    checks = site.checks()
    others = {each: check.verdict for each, check in checks.items() if check.verdict != PASS}
    assert others == {"certificates": WARN, "disk": FAIL, "clocks": FAIL, "support": WARN}
    assert checks["certificates"].figures[0].limit == 100.0
    assert set(site.wanted.limits) < set(LIMITS)


def test_a_limit_of_0_counts() -> None:
    site = Site()
    site.want(limits={"restarts": 0.0})
    assert site.checks()["restarts"].evidence == "cartesia/api-6b8d-ddddd restarted 1 times"


def test_one_failed_poll_of_a_trigger_is_no_failure() -> None:
    """KEDA asks as soon as a ScaledObject is made, often in the busiest moment of a deployment."""
    site = Site()
    for failures, verdict in ((1, PASS), (2, PASS), (3, FAIL)):
        health = {"numberOfFailures": failures, "status": "Failing"}
        site.get("scaledobjects", "tts")["status"]["health"]["s0-load"] = health
        assert site.checks()["autoscaling"].verdict == verdict


EXPOSITION = """\
# HELP apiserver_storage_transformation_operations_total [ALPHA] Total number of transformations.
# TYPE apiserver_storage_transformation_operations_total counter
apiserver_storage_transformation_operations_total{resource="configmaps",status="OK",\
transformation_type="to_storage",transformer_prefix=""} 7
apiserver_storage_transformation_operations_total{resource="secrets",status="OK",\
transformation_type="from_storage",transformer_prefix=""} 5
apiserver_storage_transformation_operations_total{resource="secrets",status="OK",\
transformation_type="to_storage",transformer_prefix="k8s:enc:secretbox:v1:key1:"} 41
apiserver_storage_transformation_operations_total{resource="secrets",status="Unknown",\
transformation_type="to_storage",transformer_prefix="k8s:enc:secretbox:v1:key1:"} 1
apiserver_storage_transformation_operations_total{resource="secrets",status="OK",\
transformation_type="to_storage",transformer_prefix=""} 2e+00
apiserver_storage_objects{resource="secrets"} 51
"""


def test_only_writes_of_secrets_count() -> None:
    assert stored_secrets(EXPOSITION) == {"k8s:enc:secretbox:v1:key1:": 42.0, "": 2.0}
    assert stored_secrets("") == {}


class Api:
    """An API server that answers from a site; a barrier shows that it is asked in parallel."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.errors: dict[str, Exception] = {}
        self.odd: dict[str, dict[str, Any]] = {}
        self.exposition = EXPOSITION
        self.asked: list[str] = []
        self.barrier: threading.Barrier | None = None

    def _arrive(self, name: str) -> None:
        self.asked.append(name)
        if self.barrier and len(self.asked) <= self.barrier.parties:
            self.barrier.wait(timeout=10)
        if name in self.errors:
            raise self.errors[name]

    def get(self, path: str, **query: str) -> dict[str, Any]:
        assert not query
        base = "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1/query"
        if path.startswith(f"{base}?query="):
            expression = unquote(path.partition("?query=")[2])
            [name] = [each for each, text in QUERIES.items() if text == expression]
            self._arrive(name)
            samples = self.site.series[name]
            assert not isinstance(samples, str)
            result = [{"metric": s.labels, "value": [0, str(s.value)]} for s in samples]
            return self.odd.get(name) or {"status": "success", "data": {"result": result}}
        [name] = [each for each, listed in OBJECTS.items() if listed == path]
        self._arrive(name)
        return {"items": self.site.objects[name]}

    def text(self, path: str, **query: str) -> str:
        assert (path, query) == ("/metrics", {})
        self._arrive("metrics")
        return self.exposition


PROMETHEUS = ("monitoring", "prometheus-operated:9090")


def test_a_site_is_read_as_it_is() -> None:
    api = Api(Site())
    api.exposition = EXPOSITION.replace('prefix=""} 2', 'prefix=""} 0')
    seen = gather(api, PROMETHEUS)
    assert sorted(api.asked) == sorted([*OBJECTS, *QUERIES, "metrics"])
    assert {check.verdict for check in run(DEFINITIONS, seen, api.site.wanted)} == {PASS}
    assert seen.storage() == {"k8s:enc:secretbox:v1:key1:": 42.0, "": 0.0}
    assert seen.samples("clocks") == api.site.series["clocks"]
    assert len(seen.items("pods")) == 10
    assert len(seen.items("pods", SPEECH)) == 9


def test_a_site_is_read_in_parallel() -> None:
    api = Api(Site())
    api.barrier = threading.Barrier(8)
    gather(api, PROMETHEUS)
    assert not api.barrier.broken


def test_an_error_of_the_api_is_the_reason() -> None:
    api = Api(Site())
    denied = KubeError("nodes is forbidden", 403)
    api.errors = {"nodes": denied, "up": KubeError("no endpoints", 503), "metrics": denied}
    seen = gather(api, PROMETHEUS)
    with pytest.raises(UnreadableError, match=r"^nodes cannot be read: nodes is forbidden$"):
        seen.items("nodes")
    with pytest.raises(UnreadableError, match=f"^{DOWN}$"):
        seen.samples("up")
    with pytest.raises(UnreadableError, match="metrics cannot be read: nodes is forbidden"):
        seen.storage()
    assert seen.samples("clocks")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "error"}, "it returned no list of samples (KeyError: 'data')"),
        ({"data": {"result": [{"metric": {}, "value": []}]}}, "(IndexError: "),
        ({"data": {"result": [{"metric": {}, "value": [0, "?"]}]}}, "(ValueError: "),
        ({"data": {"result": None}, "x": 1}, "(TypeError: "),
    ],
)
def test_an_odd_answer_of_prometheus_is_a_reason(answer: dict[str, Any], reason: str) -> None:
    api = Api(Site())
    api.odd = {"up": answer}
    with pytest.raises(UnreadableError) as caught:
        gather(api, PROMETHEUS).samples("up")
    assert reason in str(caught.value)


def test_odd_metrics_of_the_api_server_are_a_reason() -> None:
    api = Api(Site())
    api.exposition = EXPOSITION.replace("} 41", "} many")
    with pytest.raises(UnreadableError, match="could not convert string to float: 'many'"):
        gather(api, PROMETHEUS).storage()


def test_prometheus_understands_every_query() -> None:
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool: set PROMTOOL to its path, or put it on the search path")
    for expression in QUERIES.values():
        done = subprocess.run(
            [promtool, "--experimental", "promql", "format", expression],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
