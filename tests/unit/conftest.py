# SPDX-License-Identifier: Apache-2.0
"""Shared by all unit tests: plugins under Ansible's names, and a storage for artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

from tests.unit.storage import Storage, find_storage

ROOT = Path(__file__).resolve().parents[2]


def link_collection() -> None:
    """Link this checkout as a collection, as lab/bootstrap does; pyproject.toml has the path."""
    link = ROOT / ".lab" / "collections" / "ansible_collections" / "baremetal" / "sonic"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.resolve() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)


link_collection()
# Before the first import of a plugin: templates find the collection's filters, too.
init_plugin_loader([str(ROOT / ".lab" / "collections")])


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """A storage with an empty bucket."""
    binary = find_storage()
    if not binary:
        pytest.skip("no fake-gcs-server: set FAKE_GCS_SERVER, or put it on the search path")
    made = Storage(binary, tmp_path / "storage")
    made.start()
    try:
        yield made
    finally:
        made.stop()
