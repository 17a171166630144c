# SPDX-License-Identifier: Apache-2.0
"""Disk space for the workers' images, two versions of each."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.sonic.plugins.filter.image_space import image_space

from tests.unit.rendering import ROOT, templated

VENDOR = "us-docker.pkg.dev/cartesia/worker:1.2"


def workers(*images: str) -> list[dict[str, Any]]:
    """Workers with these images."""
    return [{"name": image, "workerArgs": {"image": image}} for image in images]


@pytest.mark.parametrize(
    ("images", "sizes", "gib"),
    [
        ([], {}, 0),
        ([VENDOR], {}, 60),
        ([VENDOR, VENDOR], {}, 60),
        ([VENDOR, "other/worker:1"], {}, 120),
        ([VENDOR], {"us-docker.pkg.dev/cartesia/*": 25}, 50),
        ([VENDOR, "tiny"], {"*": 10, "tiny": 0.5}, 21),
        ([VENDOR], {"*": "12"}, 24),
    ],
)
def test_two_versions_of_each_image(images: list[str], sizes: dict[str, Any], gib: float) -> None:
    assert image_space(workers(*images), sizes) == gib


@pytest.mark.parametrize("wrong", ["text", None, [None], [{"name": "x"}], [{"workerArgs": "y"}]])
def test_workers_that_preflight_refuses_later_need_no_space(wrong: Any) -> None:
    assert image_space(wrong, {}) == 0


def test_a_size_that_is_no_number() -> None:
    with pytest.raises(AnsibleFilterError, match=r"preflight_image_gib: \*: 'big' is no number"):
        image_space(workers(VENDOR), {"*": "big"})


@pytest.mark.parametrize(("host", "gib"), [("gpu1", 65.0), ("cp1", 5)])
def test_gpu_hosts_of_the_example_have_room_for_their_images(host: str, gib: float) -> None:
    """The example's one worker, through the role's own variables."""
    text = (ROOT / "inventories/single-site/group_vars/all/site.yml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    for name in ("defaults", "vars"):
        path = ROOT / f"roles/preflight/{name}/main.yml"
        values |= yaml.safe_load(path.read_text(encoding="utf-8"))
    values |= {"inventory_hostname": host, "groups": {"gpu_workers": ["gpu1"]}}
    needed = templated(values["preflight_needed_gib"], values)
    assert needed == {"/var/lib/containerd": gib, "/var/lib/kubelet": 1}
