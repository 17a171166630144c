# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""How to reach a cluster, and as whom, by what a kubeconfig says.

The `kubernetes` package reads every kubeconfig there is, but to import it takes longer than most
modules work for. So what kubeadm writes is read here: one file, with certificates or a token in it.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._http.headers import HeaderValueError, header_value

IMPORT_ERROR: str | None = None
try:
    # The kubernetes package brings both.
    import urllib3
    import yaml
    from urllib3.util.ssl_ import create_urllib3_context
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

Object = Mapping[str, Any]

# A cluster or user that says anything else is the kubernetes package's to read.
CLUSTER = {"server", "certificate-authority-data"}
USERS = ({"client-certificate-data", "client-key-data"}, {"token"})


class UnusableError(Exception):
    """No cluster can be reached by this kubeconfig; the message names it and says why."""


@dataclass(frozen=True)
class Access:
    """How to reach a cluster.

    Attributes:
        server: URL of the API server, without a slash at its end.
        pool: options for urllib3's pool of connections.
        headers: returns the headers that say who asks; they may change in the course of time.
        proxy: URL of the proxy on the way, empty when there is none.
    """

    server: str
    pool: dict[str, Any] = field(default_factory=dict)
    headers: Callable[[], dict[str, str]] = dict
    proxy: str = ""


def access(path: str, context: str | None = None) -> Access:
    """How to reach the cluster of a kubeconfig's context, by default of its current one.

    Raises:
        UnusableError: the kubeconfig cannot be read, or lacks something.
    """
    return _plain(path, context) or _by_library(path, context)


def _plain(path: str, context: str | None) -> Access | None:
    """The access that one file with everything in it gives; None for any other kubeconfig."""
    try:
        said: Object = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        chosen = _named(said, "context", context or said["current-context"])
        cluster = _named(said, "cluster", chosen["cluster"])
        user = _named(said, "user", chosen["user"])
        server = str(cluster["server"]).rstrip("/")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        # What is wrong with it, the library tells.
        return None
    if cluster.keys() - CLUSTER or set(user) not in USERS:
        return None
    pool = {}
    if server.startswith("https://"):
        if "certificate-authority-data" not in cluster:
            return None
        try:
            pool["ssl_context"] = _tls(cluster, user)
        except (ValueError, OSError) as error:
            entries = ", ".join(key for key in (*cluster, *user) if key.endswith("-data"))
            raise UnusableError(f"kubeconfig {path} cannot be used: {entries}: {error}") from error
    who = {}
    if "token" in user:
        who = {"authorization": f"Bearer {_token(path, str(user['token']))}"}
    return Access(server, pool, lambda: who)


def _token(path: str, text: str) -> str:
    """Return a user's token as a header may hold it. Raises UnusableError, without the token."""
    try:
        return header_value(text, "the user's token")
    except HeaderValueError as error:
        raise UnusableError(f"kubeconfig {path} cannot be used: {error}") from None


def _named(said: Object, kind: str, name: str) -> Object:
    """The one cluster, user or context with a name. Raises LookupError."""
    for item in said[f"{kind}s"]:
        if item["name"] == name:
            return dict(item[kind])
    raise LookupError(name)


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    """What the server's certificate must come from, and the client's own certificate."""
    context: ssl.SSLContext = create_urllib3_context()
    context.load_verify_locations(
        cadata=_decoded(cluster["certificate-authority-data"]).decode("ascii")
    )
    if "client-key-data" in user:
        # OpenSSL takes it from a file only: one that none but this user may read, for the moment.
        with tempfile.NamedTemporaryFile(prefix="client-", suffix=".pem") as both:
            both.write(_decoded(user["client-certificate-data"]) + b"\n")
            both.write(_decoded(user["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _by_library(path: str, context: str | None) -> Access:
    """The access that any kubeconfig gives: files, plugins, proxies and the rest."""
    try:
        from kubernetes.client import Configuration
        from kubernetes.config import load_kube_config
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        raise UnusableError(f"kubeconfig {path} needs the Python package: {error}") from error
    said: Any = Configuration()
    try:
        load_kube_config(
            config_file=path, context=context, client_configuration=said, persist_config=False
        )
    except (ConfigException, OSError) as error:
        raise UnusableError(f"kubeconfig {path} cannot be used: {error}") from error
    if not said.verify_ssl:
        # The kubeconfig says so; a warning a request would not change it.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pool: dict[str, Any] = {
        "cert_reqs": "CERT_REQUIRED" if said.verify_ssl else "CERT_NONE",
        "ca_certs": said.ssl_ca_cert,
        "cert_file": said.cert_file,
        "key_file": said.key_file,
    }
    if getattr(said, "tls_server_name", None):
        pool["server_hostname"] = said.tls_server_name

    def headers() -> dict[str, str]:
        return {
            setting["key"]: _token(path, setting["value"])
            for setting in said.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }

    return Access(str(said.host).rstrip("/"), pool, headers, said.proxy or "")
