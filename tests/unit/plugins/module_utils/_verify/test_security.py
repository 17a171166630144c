# SPDX-License-Identifier: Apache-2.0
"""Checks of certificates, tokens, encryption and network policies."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify import security
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
    End,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import (
    Result,
    Sample,
    UnreadableError,
)

from tests.healthy_site import API_DIGEST, SPEECH, Site, api_server, at, container, pod, seconds


def certificates(*samples: Sample, limit: float = 14.0) -> Result:
    site = Site()
    site.series["certificates"] = list(samples)
    return security.certificates(site.seen, site.wanted, limit)


def ends(host: str, **ahead: float) -> Sample:
    return Sample({"host": host, "instance": "https://192.0.2.1/status"}, seconds(**ahead))


def test_the_same_certificate_at_several_addresses_is_one_and_the_earliest_end_counts() -> None:
    site = Site()
    checked = security.certificates(site.seen, site.wanted, 14.0)
    assert checked.ends == (
        End("certificate of 192.0.2.1:6443", "certificate", "2027-09-25T12:00:00Z",
            "docs/ingress.md"),
        End("certificate of speech.example.com", "certificate", "2027-02-17T12:00:00Z",
            "docs/ingress.md"),
        End("certificate of voice.example.com", "certificate", "2027-02-27T12:00:00Z",
            "docs/ingress.md"),
    )  # fmt: skip
    assert checked.figures[0].points == (80.0, 90.0, 300.0)
    early = certificates(ends("a", days=80), ends("a", days=3))
    assert early.evidence == "the certificate of a ends in 3 days"


@pytest.mark.parametrize(
    ("ahead", "verdict", "evidence"),
    [
        ({"days": 15}, PASS, "the first of 1, a, ends in 15 days"),
        ({"days": 13}, WARN, "the certificate of a ends in 13 days"),
        ({"days": 1}, WARN, "the certificate of a ends in 1 day"),
        ({"hours": 3}, WARN, "the certificate of a ends within a day"),
        ({"hours": -3}, FAIL, "the certificate of a ended within the last day"),
        ({"days": -1}, FAIL, "the certificate of a ended 1 day ago"),
    ],
)
def test_the_end_of_a_certificate(ahead: dict[str, float], verdict: str, evidence: str) -> None:
    checked = certificates(ends("a", **ahead))
    assert (checked.verdict, checked.evidence) == (verdict, evidence)


def test_one_that_ended_fails_with_those_that_end_soon() -> None:
    checked = certificates(ends("a", days=5), ends("b", days=-9), ends("c", days=99))
    assert checked.verdict == FAIL
    assert checked.evidence == (
        "the certificate of a ends in 5 days; the certificate of b ended 9 days ago"
    )


def test_without_any_end_nothing_is_proved() -> None:
    with pytest.raises(UnreadableError, match="Prometheus knows the end of no certificate"):
        certificates()


@pytest.mark.parametrize(
    ("made", "verdict"), [({"minutes": 60}, PASS), ({"minutes": 61}, FAIL), ({"days": 9}, FAIL)]
)
def test_a_join_token_may_be_an_hour_old(made: dict[str, float], verdict: str) -> None:
    site = Site()
    site.get("tokens", "bootstrap-token-abcdef")["metadata"]["creationTimestamp"] = at(**made)
    assert security.join_tokens(site.seen, site.wanted, 0).verdict == verdict


def test_without_join_tokens_none_is_old() -> None:
    site = Site()
    site.objects["tokens"] = []
    assert security.join_tokens(site.seen, site.wanted, 0).verdict == PASS


def encryption(site: Site) -> tuple[str, str]:
    checked = security.encryption(site.seen, site.wanted, 0)
    return checked.verdict, checked.evidence


def test_encryption_that_the_inventory_turns_off_is_not_checked() -> None:
    site = Site(storage="HTTP 403")
    site.want(encryption=False)
    assert encryption(site) == (SKIPPED, "the inventory sets kubeadm_encryption to false")


@pytest.mark.parametrize("prefix", ["", "identity", "k8s:enc:identity"])
def test_what_is_written_plain_fails_whatever_else_is_encrypted(prefix: str) -> None:
    site = Site(storage={"k8s:enc:aescbc:v1:key1:": 100.0, prefix: 2.0})
    assert encryption(site) == (
        FAIL, "the API server has written Secrets to etcd unencrypted, 2 times"
    )  # fmt: skip
    site.storage = {"k8s:enc:aescbc:v1:key1:": 100.0, prefix: 0.0}
    assert encryption(site)[0] == PASS


def test_before_the_first_write_the_flag_of_all_servers_counts() -> None:
    site = Site(storage={})
    assert encryption(site) == (
        PASS, "the API server is set to encrypt, and has written no Secret since its start"
    )  # fmt: skip
    for host in ("cp2", "cp3"):
        plain = api_server(host)
        plain["spec"]["containers"][0]["command"] = None
        site.listed("pods").append(plain)
    flag = "--encryption-provider-config"
    assert encryption(site) == (
        FAIL, f"kube-apiserver-cp2 has no {flag}; kube-apiserver-cp3 has no {flag}"
    )  # fmt: skip
    for host in ("cp2", "cp3"):
        arguments = ["--encryption-provider-config=/etc/kubernetes/encryption.yml"]
        server = site.get("pods", f"kube-apiserver-{host}")
        server["spec"]["containers"][0]["args"] = arguments
    assert encryption(site)[0] == PASS


def test_without_a_pod_of_an_api_server_nothing_is_known() -> None:
    site = Site(storage={})
    site.drop("pods", "kube-apiserver-cp1")
    other = pod("coredns-1", "coredns", "cp1", container("coredns"), API_DIGEST, "kube-system")
    del other["metadata"]["labels"]
    site.listed("pods").append(other)
    assert encryption(site) == (
        FAIL, "no pod of an API server is in kube-system, so nothing is known"
    )  # fmt: skip


def policies(wanted: list[str], live: list[str]) -> Result:
    site = Site()
    site.want(policies=wanted)
    names = [policy.split("/") for policy in live]
    site.objects["policies"] = [{"metadata": {"namespace": n[0], "name": n[1]}} for n in names]
    return security.policies(site.seen, site.wanted, 0)


def test_policies_are_known_by_namespace_and_name() -> None:
    assert policies([f"{SPEECH}/a"], [f"{SPEECH}/a", "other/b"]).verdict == PASS
    missing = policies([f"{SPEECH}/b", f"{SPEECH}/a"], ["other/a"])
    assert missing.verdict == FAIL
    assert missing.evidence == (
        "the network policy cartesia/a is missing; the network policy cartesia/b is missing"
    )


def test_without_policies_in_the_inventory_none_is_checked() -> None:
    assert policies([], []).verdict == SKIPPED
