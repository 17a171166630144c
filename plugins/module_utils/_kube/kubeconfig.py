# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read from a kubeconfig how to reach a cluster and with which credentials.

The `kubernetes` package reads every kubeconfig, but its import takes longer than the work of most
modules. So this module reads what kubeadm writes: one file that holds certificates or a token.
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

Entry = Mapping[str, Any]

# The kubernetes package reads a cluster or user with any other field.
CLUSTER = {"server", "certificate-authority-data"}
USERS = ({"client-certificate-data", "client-key-data"}, {"token"})


class UnusableError(Exception):
    """A kubeconfig cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Access:
    """How to reach a cluster.

    Attributes:
        server: URL of the API server, without a slash at its end.
        pool: options for urllib3's pool of connections.
        headers: returns the headers with the credentials. They may change over time.
        proxy: URL of the proxy; empty for none.
    """

    server: str
    pool: dict[str, Any] = field(default_factory=dict)
    headers: Callable[[], dict[str, str]] = dict
    proxy: str = ""


def access(path: str, context: str | None = None) -> Access:
    """Return how to reach the cluster of a context; by default of the current one.

    Raises:
        UnusableError: the kubeconfig cannot be read, or lacks something.
    """
    return _plain(path, context) or _by_library(path, context)


def _plain(path: str, context: str | None) -> Access | None:
    """Read a kubeconfig that is one file with all credentials; None for any other kubeconfig."""
    try:
        config: Entry = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        chosen = _named(config, "context", context or config["current-context"])
        cluster = _named(config, "cluster", chosen["cluster"])
        user = _named(config, "user", chosen["user"])
        server = str(cluster["server"]).rstrip("/")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        # The library reports what is wrong with it.
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
    """Return a user's token for a header. Raises UnusableError, which never shows the token."""
    try:
        return header_value(text, "the user's token")
    except HeaderValueError as error:
        raise UnusableError(f"kubeconfig {path} cannot be used: {error}") from None


def _named(config: Entry, kind: str, name: str) -> Entry:
    """Return the cluster, user or context with a name. Raises LookupError."""
    for item in config[f"{kind}s"]:
        if item["name"] == name:
            return dict(item[kind])
    raise LookupError(name)


def _tls(cluster: Entry, user: Entry) -> ssl.SSLContext:
    """Return a TLS context with the cluster's CA and the client's certificate."""
    context: ssl.SSLContext = create_urllib3_context()
    context.load_verify_locations(
        cadata=_decoded(cluster["certificate-authority-data"]).decode("ascii")
    )
    if "client-key-data" in user:
        # OpenSSL reads a key from a file only. Only this user can read this one, which is removed.
        with tempfile.NamedTemporaryFile(prefix="client-", suffix=".pem") as both:
            both.write(_decoded(user["client-certificate-data"]) + b"\n")
            both.write(_decoded(user["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _by_library(path: str, context: str | None) -> Access:
    """Read any kubeconfig, also with files, plugins and proxies, by the kubernetes package."""
    try:
        from kubernetes.client import Configuration
        from kubernetes.config import load_kube_config
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        raise UnusableError(f"kubeconfig {path} needs the Python package: {error}") from error
    config: Any = Configuration()
    try:
        load_kube_config(
            config_file=path, context=context, client_configuration=config, persist_config=False
        )
    except (ConfigException, OSError) as error:
        raise UnusableError(f"kubeconfig {path} cannot be used: {error}") from error
    if not config.verify_ssl:
        # The kubeconfig turns verification off. A warning for each request would not help.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pool: dict[str, Any] = {
        "cert_reqs": "CERT_REQUIRED" if config.verify_ssl else "CERT_NONE",
        "ca_certs": config.ssl_ca_cert,
        "cert_file": config.cert_file,
        "key_file": config.key_file,
    }
    if getattr(config, "tls_server_name", None):
        pool["server_hostname"] = config.tls_server_name

    def headers() -> dict[str, str]:
        return {
            setting["key"]: _token(path, setting["value"])
            for setting in config.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }

    return Access(str(config.host).rstrip("/"), pool, headers, config.proxy or "")
