# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the collection's plugins by the name that Ansible gives them."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

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
