# SPDX-License-Identifier: Apache-2.0
"""The values and Secrets that the roles chart and stack make for the vendor's chart."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.unit.rendering import applied, render

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "tests/chart/cartesia"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

# The example of the vendor's page "Managed Kubernetes", step 3, but for the ingress, which it says
# to disable on kubeadm, and with the two keys that its pages name elsewhere.
EXAMPLE = """
clusterName: cartesia-production

infra:
  provider: gcp
  authenticate: true
  imageRegistry: us-docker.pkg.dev/cartesia-external/self-serve
  imagePullSecret: gar-pull-secret
  gcsSecretName: gar-pull-secret
  serviceAccount: cartesia-image-sa

release:
  version: "1.0.0"
  releaseTag: "sonic-20251118"

filesystem:
  storageClass:
    name: standard-rwo

ingress:
  enabled: false

metrics:
  enabled: true

networkPolicy:
  denyExternalEgress: true

legacyComponents:
  enabled: false

licenseProxy:
  persistence:
    enabled: false
    storageClass: ""

workers:
  - name: tts-worker
    workerArgs:
      model: rosy-dragon
      image: cartesia-sonic-rosy-dragon
      gpuType: nvidia.com/gpu
      capacity: 4
      operation: TTS
      useCB: true
      useLora: false
    autoscaling:
      enabled: true
      threshold: "0.6"
      minReplicas: 1
      maxReplicas: 10
"""
REGISTRY = "us-docker.pkg.dev/cartesia-external/self-serve"


def inventory() -> dict[str, Any]:
    """The example's site, in the variables of this collection; threshold as Terraform has it."""
    worker = yaml.safe_load(EXAMPLE)["workers"][0]
    worker["autoscaling"]["threshold"] = 0.6
    return {
        "vendor_chart_cluster_name": "cartesia-production",
        "vendor_chart_version": "1.0.0",
        "site_release_tag": "sonic-20251118",
        "vendor_chart_storage_class": "standard-rwo",
        "workers": [worker],
    }


def values(**variables: Any) -> dict[str, Any]:
    """The values that the role renders."""
    [rendered] = render("vendor_chart", "values.yml.j2", **inventory() | variables)
    result: dict[str, Any] = rendered
    return result


def test_values_are_the_vendors_example() -> None:
    assert values() == yaml.safe_load(EXAMPLE)


def test_stand_in_takes_them_and_no_other() -> None:
    checker = jsonschema.Draft7Validator(SCHEMA)
    good = values()
    checker.validate(good)
    # At every level, an unknown key and a missing key fail.
    wrong = 0
    for path in maps(good):
        for change in ("more", "less"):
            broken = copy.deepcopy(good)
            place = broken
            for step in path:
                place = place[step]
            if change == "more":
                place["unknown"] = 1
            else:
                place.pop(next(iter(place)))
            wrong += 1
            assert not checker.is_valid(broken), (path, change)
    assert wrong == 28


def maps(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all maps in a value."""
    paths = [path] if isinstance(value, dict) else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            paths += maps(inner, (*path, key))
    return paths


def leaves(value: Any, path: str = "") -> list[str]:
    """The places of all that is no map, as a template writes them; lists by their first entry."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return leaves(value[0], path)
    return [path]


def test_stand_in_uses_every_key() -> None:
    text = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    short = {
        ".workers.workerArgs.": "$args.",
        ".workers.autoscaling.": "$scaling.",
        ".workers.": "$worker.",
        ".licenseProxy.persistence.": "$kept.",
    }
    unused = []
    for leaf in leaves(values()):
        own = [leaf.replace(long, name) for long, name in short.items() if leaf.startswith(long)]
        name = own[0] if own else f".Values{leaf}"
        if name not in text:
            unused.append(name)
    assert unused == []


def test_stand_in_has_the_sites_nats() -> None:
    versions = yaml.safe_load((ROOT / "roles/site/defaults/main.yml").read_text())["site_versions"]
    assert f"library/nats:{versions['nats']}\n" in (CHART / "templates/nats.yaml").read_text()


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("worker", "worker"),
        (f"{REGISTRY}/worker:sonic-20251118", "worker"),
        (f"{REGISTRY}/worker@sha256:{'0' * 64}", f"worker@sha256:{'0' * 64}"),
    ],
)
def test_chart_completes_images_itself(image: str, wanted: str) -> None:
    worker = inventory()["workers"][0]
    worker["workerArgs"]["image"] = image
    results = values(workers=[worker])
    assert results["workers"][0]["workerArgs"]["image"] == wanted
    jsonschema.validate(results, SCHEMA)


def test_least_that_a_worker_needs() -> None:
    args = {"model": "m", "image": "w", "capacity": 2}
    chart = values(workers=[{"name": "w", "workerArgs": args, "replicas": 3}])
    [worker] = chart["workers"]
    # The chart knows no number of pods but the autoscaling's.
    scaling = {"enabled": False, "threshold": "0.6", "minReplicas": 3, "maxReplicas": 3}
    assert worker["autoscaling"] == scaling
    jsonschema.validate(chart, SCHEMA)


def test_secrets_have_the_vendors_names_and_keys() -> None:
    account = json.dumps({"client_email": "a@b", "private_key": "k\n"})
    keys = {
        "license_proxy_api_key": "sk_ours",
        "vendor_chart_openai_api_key": "o",
        "vendor_chart_anthropic_api_key": "a",
    }
    made = applied("vendor_chart", "secrets.yml.j2", site_service_account=account, **keys)
    actual = {
        item["metadata"]["name"]: {k: base64.b64decode(v).decode() for k, v in item["data"].items()}
        for item in made
    }
    assert actual == {
        "api-key-secret": {
            "CONTAINER_KEY": "sk_ours",
            "CARTESIA_API_KEY": "sk_ours",
            "OPENAI_API_KEY": "o",
            "ANTHROPIC_API_KEY": "a",
        },
        "gcs-access-secret": {"service-account.json": account},
    }


def test_pull_secret_is_what_kubectl_would_make() -> None:
    account = json.dumps({"client_email": "a@b", "private_key": "k\n"})
    [secret] = applied("stack", "pull-secret.yml.j2", site_service_account=account)
    assert secret["metadata"]["name"] == "gar-pull-secret"
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    [(host, entry)] = config["auths"].items()
    assert host == "us-docker.pkg.dev"
    assert (entry["username"], entry["password"]) == ("_json_key", account)
    assert base64.b64decode(entry["auth"]).decode() == f"_json_key:{account}"
