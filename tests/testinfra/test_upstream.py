# SPDX-License-Identifier: Apache-2.0
"""A bundle of official parts: the real code downloads it from stand-ins of all publishers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bundle import table
from lab.config import REPOSITORY, cache_dir
from lab.driver import package as driver

pytestmark = pytest.mark.soak
ABSENT = "image:quay.io/prometheuscommunity/json-exporter"
LAB = [sys.executable, "-m", "lab", "bundle"]


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder for caches, which the tests of this module fill."""
    return tmp_path_factory.mktemp("caches")


def bundle(
    caches: Path, sources: str, *options: str, served: bool = True
) -> subprocess.CompletedProcess[str]:
    """Make a bundle in that cache, with publishers' stand-ins or with what this machine reaches."""
    standins = [sys.executable, "-m", "lab.standins", "--from", str(cache_dir() / "bundle")]
    return subprocess.run(
        [*standins, *options, "--", *LAB] if served else LAB,
        cwd=REPOSITORY,
        env=os.environ | {"XDG_CACHE_HOME": str(caches), "LAB_SOURCES": sources},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_part_is_named_when_upstream_is_demanded(caches: Path) -> None:
    done = bundle(caches, "upstream", "--missing", ABSENT)
    assert done.returncode == 1
    assert f"error: {ABSENT} cannot be taken from its publisher" in done.stderr
    assert "404" in done.stderr


def test_whole_bundle_is_taken_and_nothing_is_compiled(caches: Path) -> None:
    done = bundle(caches, "upstream")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = caches / "baremetal-sonic/bundle"
    assert not list((folder / "steps").glob("go-sources-*"))
    (pool,) = (folder / "steps").glob("apt-repository-*/pool")
    have = {path.name.partition("_")[0] for path in pool.iterdir()}
    companions = {"nvidia-container-toolkit-base", "libnvidia-container1"}
    assert have >= {*table.artifacts()["packages"], *companions, driver.NAME, *driver.NAMES}
    repositories = folder / "registry/docker/registry/v2/repositories"
    for name, spec in table.artifacts()["images"].items():
        assert (repositories / name / "_manifests/tags" / spec["tag"]).is_dir(), name


def test_what_was_taken_needs_no_publisher_any_more(caches: Path) -> None:
    done = bundle(caches, "upstream", served=False)
    assert done.returncode == 0, done.stderr
    assert "official" not in done.stdout


def test_digest_that_changed_is_refused(caches: Path) -> None:
    path = caches / "baremetal-sonic/upstream.lock.json"
    entries = json.loads(path.read_text())
    (name,) = [item for item in entries if item.startswith("image:registry.k8s.io/pause=")]
    digest = entries[name]["digest"]
    other = "sha256:" + "0" * 64
    entries[name]["digest"] = other
    path.write_text(json.dumps(entries))
    done = bundle(caches, "upstream")
    assert done.returncode == 1
    for word in (name, digest, other, str(path), "delete the entry"):
        assert word in done.stderr
