# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs that are read here and those that the library reads, against a server with mTLS."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import (
    KubeClient,
    KubeError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.kubeconfig import (
    UnusableError,
    access,
)

from tests.playbooks import ROOT
from tests.unit.plugins.plugin_utils.authority import Authority

Entries = dict[str, Any]


class Who(BaseHTTPRequestHandler):
    """Answers with the name in the client's certificate and the authorization that it sent."""

    def do_GET(self) -> None:
        connection: Any = self.connection
        subject = (connection.getpeercert() or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        answer = {"names": names, "authorization": self.headers["Authorization"]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Cluster CA")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an API server that asks for certificates of its own authority."""
    folder = tmp_path_factory.mktemp("server")
    issued = authority.server(["localhost"])
    (folder / "both.pem").write_text(issued["certificate"] + issued["key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    context.load_verify_locations(cadata=authority.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Who)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://localhost:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def cluster(server: str, authority: Authority) -> Entries:
    return {"server": server, "certificate-authority-data": encoded(authority.certificate)}


@pytest.fixture
def admin(authority: Authority) -> Entries:
    issued = authority.server([])
    return {
        "client-certificate-data": encoded(issued["certificate"]),
        "client-key-data": encoded(issued["key"]),
    }


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a kubeconfig and returns its path."""

    def to_file(cluster: Entries, user: Entries, **changed: Any) -> str:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "other", "cluster": {"server": "https://192.0.2.1"}},
                {"name": "mine", "cluster": cluster},
            ],
            "users": [{"name": "me", "user": user}],
            "contexts": [
                {"name": "there", "context": {"cluster": "other", "user": "me"}},
                {"name": "here", "context": {"cluster": "mine", "user": "me"}},
            ],
            "current-context": "here",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(content | changed), encoding="utf-8")
        return str(path)

    return to_file


def to_files(folder: Path, entries: Entries) -> Entries:
    """The same entries by the names of files."""
    named = {}
    for key, value in entries.items():
        if not key.endswith("-data"):
            named[key] = value
            continue
        path = folder / key.removesuffix("-data")
        path.write_bytes(base64.b64decode(value))
        named[path.name] = str(path)
    return named


def test_certificates_in_the_file(write: Write, cluster: Entries, admin: Entries) -> None:
    path = write(cluster, admin)
    assert "ssl_context" in access(path).pool
    assert KubeClient(path).get("/") == {"names": ["server"], "authorization": None}


def test_certificates_in_other_files(
    write: Write, cluster: Entries, admin: Entries, tmp_path: Path
) -> None:
    path = write(to_files(tmp_path, cluster), to_files(tmp_path, admin))
    assert access(path).pool["key_file"] == str(tmp_path / "client-key")
    assert KubeClient(path).get("/") == {"names": ["server"], "authorization": None}


def test_token(write: Write, cluster: Entries) -> None:
    path = write(cluster, {"token": "secret"})
    assert KubeClient(path).get("/") == {"names": [], "authorization": "Bearer secret"}


def test_token_with_a_line_feed(write: Write, cluster: Entries) -> None:
    path = write(cluster, {"token": "secret\n"})
    assert KubeClient(path).get("/") == {"names": [], "authorization": "Bearer secret"}


def test_token_that_no_header_holds_is_not_shown(write: Write, cluster: Entries) -> None:
    path = write(cluster, {"token": "\n".join(["sk"] * 2)})
    with pytest.raises(UnusableError) as caught:
        access(path)
    text = "".join(traceback.format_exception(caught.value))
    assert "the user's token holds a character" in text
    assert "sk\\nsk" not in text
    assert "sk\nsk" not in text


def test_plugin(write: Write, cluster: Entries, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        ' "status": {"token": "asked"}}\'\n'
    )
    plugin.chmod(0o755)
    asked = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []}
    path = write(cluster, {"exec": asked | {"interactiveMode": "Never"}})
    assert KubeClient(path).get("/")["authorization"] == "Bearer asked"


def test_another_context(write: Write, cluster: Entries, admin: Entries) -> None:
    path = write(cluster, admin, **{"current-context": "there"})
    assert access(path, "here").server == cluster["server"]


def test_server_of_another_authority_is_not_spoken_to(
    write: Write, cluster: Entries, admin: Entries
) -> None:
    cluster["certificate-authority-data"] = encoded(Authority("Other").certificate)
    with pytest.raises(KubeError, match="certificate verify failed"):
        KubeClient(write(cluster, admin)).get("/")


def test_server_of_another_name_is_not_spoken_to(
    write: Write, cluster: Entries, admin: Entries
) -> None:
    cluster["server"] = cluster["server"].replace("localhost", "127.0.0.1")
    with pytest.raises(KubeError, match=r"127\.0\.0\.1"):
        KubeClient(write(cluster, admin)).get("/")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"current-context": "nowhere"}, "nowhere"),
        ({"contexts": []}, "here"),
        ({"clusters": [{"name": "other", "cluster": {"server": "x"}}]}, "mine"),
    ],
)
def test_missing_parts_are_reported(
    write: Write, cluster: Entries, admin: Entries, changed: Entries, says: str
) -> None:
    path = write(cluster, admin, **changed)
    with pytest.raises(UnusableError, match=says) as caught:
        access(path)
    assert path in str(caught.value)


def test_broken_key_is_reported(write: Write, cluster: Entries, admin: Entries) -> None:
    admin["client-key-data"] = encoded("no key")
    with pytest.raises(UnusableError, match="client-key-data"):
        access(write(cluster, admin))


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="absent"):
        access(str(tmp_path / "absent"))


def test_what_kubeadm_writes_is_read_without_the_library(
    write: Write, cluster: Entries, admin: Entries
) -> None:
    code = (
        "import sys\n"
        "from plugins.module_utils._kube.kubeconfig import access\n"
        f"access({write(cluster, admin)!r})\n"
        "sys.exit('kubernetes' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
