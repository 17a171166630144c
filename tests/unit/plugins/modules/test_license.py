# SPDX-License-Identifier: Apache-2.0
"""The modules license and license_audit; the proxy behind the API is the test's own."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.modules import license as license_module
from ansible_collections.baremetal.sonic.plugins.modules import license_audit

from lab.licences import Vendor
from tests.unit.plugins.module_utils._license.test_audit import chain
from tests.unit.plugins.modules.running import Modules

VENDOR = Vendor()
BASE = "/api/v1/namespaces/cartesia/services/license-proxy:8080/proxy"


def terms(text: str) -> dict[str, Any]:
    """What the proxy tells of a licence: the same times, written in another way."""
    read = license_module.terms_of(text)
    return {name: value.replace("+00:00", "Z") for name, value in read.items()}


class Proxy:
    """The license proxy, as the Kubernetes API leads to it."""

    def __init__(self) -> None:
        self.license: dict[str, Any] | None = None
        self.refuses = ""
        self.sent: list[bytes] = []
        self.warnings: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        assert path == f"{BASE}/status"
        state = "airgapped" if self.license else "expired"
        return {"mode": "airgapped", "state": state, "reason": "so", "until": None,
                "license": self.license, "warnings": self.warnings}  # fmt: skip

    def content(self, path: str, query: Any = None, send: bytes | None = None) -> bytes:
        if path == f"{BASE}/audit":
            return b"archive"
        assert path == f"{BASE}/license"
        assert send is not None
        self.sent.append(send)
        if self.refuses:
            raise KubeError(self.refuses, 409)
        new = terms(send.decode())
        changed, self.license = new != self.license, new
        return json.dumps(self.get(f"{BASE}/status") | {"changed": changed}).encode()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Proxy:
    made = Proxy()
    monkeypatch.setattr(license_module, "client_of", lambda *_unused, **_more: made)
    return made


def call(modules: Modules, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"kubeconfig": "/none", "namespace": "cartesia"}
    return modules.call(license_module.main, **given, **options)


def test_without_a_licence_the_state_is_returned_and_nothing_sent(
    modules: Modules, proxy: Proxy
) -> None:
    result = call(modules, license="")
    assert (result["changed"], result["state"], result["reason"]) == (False, "expired", "so")
    assert "terms" not in result
    assert proxy.sent == []


def test_a_licence_is_handed_in_once(modules: Modules, proxy: Proxy) -> None:
    text = VENDOR.licence()
    first = call(modules, license=text, diff=True)
    assert (first["changed"], first["state"], first["terms"]["id"]) == (True, "airgapped", "L-1")
    assert first["diff"]["before"] == "no licence\n"
    assert first["diff"]["after"].startswith("L-1, from ")
    assert call(modules, license=text)["changed"] is False
    assert proxy.sent == [text.encode()] * 2


def test_what_a_file_adds_to_a_licence_is_not_sent(modules: Modules, proxy: Proxy) -> None:
    text = VENDOR.licence()
    assert call(modules, license=f"\ufeff{text}\r\n", check=True)["changed"] is True
    assert call(modules, license=f"\ufeff{text}\r\n")["changed"] is True
    assert proxy.sent == [text.encode()]


def test_check_mode_sends_nothing_and_predicts(modules: Modules, proxy: Proxy) -> None:
    text = VENDOR.licence()
    result = call(modules, license=text, check=True, diff=True)
    assert result["changed"] is True
    assert result["diff"]["after"].startswith("L-1, from ")
    assert proxy.sent == []
    call(modules, license=text)
    assert call(modules, license=text, check=True)["changed"] is False
    assert call(modules, license=VENDOR.licence(), check=True)["changed"] is True


@pytest.mark.parametrize("text", ["plain", "{}", "[]", '{"license": "e30="}', '{"license": 7}'])
def test_check_mode_names_what_is_no_licence(modules: Modules, proxy: Proxy, text: str) -> None:
    result = call(modules, license=text, check=True)
    assert result["failed"]
    assert "this is no licence" in result["msg"]


def test_check_mode_predicts_a_refusal(modules: Modules, proxy: Proxy) -> None:
    now = datetime.now(UTC)
    call(modules, license=VENDOR.licence("L-2", issued=now - timedelta(hours=1)))
    for text, expected in (
        (VENDOR.licence("L-1", issued=now - timedelta(hours=2)), "L-1 is not newer than L-2"),
        (VENDOR.licence("L-3", issued=now + timedelta(days=2)), "L-3 is of "),
        (VENDOR.licence("L-0", issued=now - timedelta(days=90)), "L-0 ended "),
    ):
        answer = call(modules, license=text, check=True)
        assert answer["failed"]
        assert expected in answer["msg"]
    assert len(proxy.sent) == 1


def test_what_the_proxy_warns_of_is_a_warning(
    modules: Modules, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    call(modules, license="")
    assert warnings == []
    proxy.warnings = ["audit log: the log was cut"]
    call(modules, license="")
    assert warnings == ["the license proxy says: audit log: the log was cut"]


def test_a_refusal_is_reported_with_the_proxys_message(modules: Modules, proxy: Proxy) -> None:
    proxy.refuses = "the licence L-1 is not newer than L-2"
    result = call(modules, license=VENDOR.licence())
    assert result["failed"]
    assert result["msg"].endswith("says: the licence L-1 is not newer than L-2")


def test_the_audit_log_is_written(modules: Modules, proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "audit.tar"
    assert call(modules, audit_dest=str(path), check=True)["changed"] is True
    assert not path.exists()
    assert call(modules, audit_dest=str(path))["changed"] is True
    assert path.read_bytes() == b"archive"
    result = call(modules, audit_dest=str(tmp_path / "none/audit.tar"))
    assert "cannot be written" in result["msg"]


def archive(path: Path, count: int, text: str = "", lines: int | None = None) -> str:
    """Write an archive of a log; with ``lines``, one from which the rest was removed."""
    log = chain(count, text)
    parts = {
        "audit.jsonl": b"".join(line + b"\n" for line in log.lines[:lines]),
        "manifest.json": json.dumps(log.manifest).encode(),
    }
    with tarfile.open(path, "w") as made:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return str(path)


def test_an_archive_is_verified(modules: Modules, tmp_path: Path) -> None:
    path = archive(tmp_path / "new.tar", 5)
    earlier = archive(tmp_path / "old.tar", 3)
    result = modules.call(license_audit.main, path=path, earlier=earlier)
    assert (result["changed"], result["problems"], result["records"]) == (False, [], 5)


def test_an_archive_that_was_changed_fails_and_says_where(modules: Modules, tmp_path: Path) -> None:
    cut = archive(tmp_path / "cut.tar", 5, lines=4)
    result = modules.call(license_audit.main, path=cut)
    assert result["problems"] == ["the manifest says 5 records, the log has 4"]
    rewritten = archive(tmp_path / "rewritten.tar", 5, "less")
    result = modules.call(
        license_audit.main, path=rewritten, earlier=archive(tmp_path / "old.tar", 3)
    )
    assert "does not begin with the 3 records of the earlier one" in result["msg"]
    (tmp_path / "text").write_text("no archive")
    for wrong in ("text", "absent"):
        result = modules.call(license_audit.main, path=str(tmp_path / wrong))
        assert "cannot be verified" in result["msg"]
