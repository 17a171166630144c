# SPDX-License-Identifier: Apache-2.0
"""The result of a site as JUnit XML, parsed."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_junit import xml

from tests.verify_results import EVIL, attacked, site


def test_a_test_case_for_each_check() -> None:
    root = ElementTree.fromstring(xml(site()).encode())
    [suite] = root
    for element in (root, suite):
        counted = {key: element.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
        assert counted == {"tests": "7", "failures": "1", "errors": "0", "skipped": "1"}
    assert suite.attrib["timestamp"] == "2026-11-29T12:00:00"
    assert suite.attrib["time"] == "21.4"
    kinds = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert kinds == {
        "rollouts": ["system-out"],
        "speech-ttfa": ["failure"],
        "ingress-certificate": ["system-out"],
        "autoscaling": ["skipped"],
        "licence": ["system-out"],
        "driver-support": ["system-out"],
        "nats": ["system-out"],
    }


def test_texts_of_a_failure_a_skip_and_a_warning() -> None:
    [suite] = ElementTree.fromstring(xml(site()).encode())
    cases = {case.attrib["name"]: case[0] for case in suite}
    failure = cases["speech-ttfa"]
    assert failure.attrib["message"].startswith("the median time to first audio")
    assert "do: look for throttled GPUs" in (failure.text or "")
    assert cases["autoscaling"].attrib["message"] == "no worker is autoscaled"
    assert (cases["ingress-certificate"].text or "").startswith("warning\n")
    assert not (cases["licence"].text or "").startswith("warning")


def test_texts_come_back_as_they_were() -> None:
    [[case]] = ElementTree.fromstring(xml(attacked()).encode())
    assert case[0].attrib["message"] == EVIL.replace("\x1b", "\ufffd")
