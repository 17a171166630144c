# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A thin client for the Kubernetes API: plain dictionaries in and out.

The requests go through urllib3, which the `kubernetes` package brings. The package's generated
classes differ between its releases and are slow to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from .kubeconfig import UnusableError, access
from .types import Object, ReadApi

try:
    import urllib3
except ImportError:
    urllib3 = None  # type: ignore[assignment]  # kubeconfig.IMPORT_ERROR says why

JSON = "application/json"
# Asks for the metadata alone, which is far smaller than a CustomResourceDefinition.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

NOT_FOUND = 404
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
# How often a request is sent again while the server is not ready; as in client-go's rest.Request.
ATTEMPTS = 10


class KubeError(Exception):
    """The API answered with an error or not at all. status: HTTP status, 0 for no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeApi(ReadApi, Protocol):
    """The calls of the API that a wait makes."""

    def text(self, path: str, **query: str) -> str:
        """Return the body of an endpoint that does not speak JSON (logs, proxied metrics)."""

    def watch(self, path: str, timeout_s: int, **query: str) -> Iterator[dict[str, Any]]:
        """Yield watch events until the server ends the stream. Raises KubeError."""


class KubeClient:
    """KubeApi over HTTPS with the credentials of a kubeconfig. Safe to use from threads."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        """Raises KubeError when the kubeconfig cannot be read."""
        try:
            self._access = access(kubeconfig, context)
        except UnusableError as error:
            raise KubeError(str(error)) from error
        pool: dict[str, Any] = {
            "maxsize": 16,
            # Only when the server sends Retry-After, for example while it prepares a new kind.
            "retries": urllib3.Retry(
                total=ATTEMPTS,
                connect=False,
                read=False,
                redirect=False,
                other=0,
                allowed_methods=None,
                raise_on_status=False,
            ),
        } | self._access.pool
        if self._access.proxy:
            self._pool: Any = urllib3.ProxyManager(self._access.proxy, **pool)
        else:
            self._pool = urllib3.PoolManager(**pool)

    def _open(
        self,
        path: str,
        query: Mapping[str, str],
        accept: str,
        read_s: float,
        method: str = "GET",
        body: Object | bytes | None = None,
    ) -> Any:
        headers = {"Accept": accept, "User-Agent": "baremetal.sonic"}
        if isinstance(body, bytes):
            headers["Content-Type"] = JSON
        elif body is not None:
            # JSON is YAML, and this is the only type that the API takes for it.
            headers["Content-Type"] = "application/apply-patch+yaml"
            body = json.dumps(body).encode()
        try:
            headers |= self._access.headers()
        except UnusableError as error:
            raise KubeError(str(error)) from None
        url = self._access.server + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s),
            )
        except urllib3.exceptions.HTTPError as error:
            why = getattr(error, "reason", None) or error
            raise KubeError(f"no answer from {self._access.server}: {why}") from error
        if response.status >= 300:
            text = response.data.decode("utf-8", "replace")
            response.release_conn()
            raise KubeError(_api_message(text) or f"HTTP {response.status}", response.status)
        return response

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return one object or list. Raises KubeError."""
        return self._object(path, query, JSON)

    def metadata(self, path: str) -> dict[str, Any]:
        """Return the metadata of one object. Raises KubeError."""
        return self._object(path, {}, METADATA)

    def apply(
        self, path: str, body: Object, manager: str, *, dry_run: bool, whole: bool = True
    ) -> dict[str, Any]:
        """Apply an object on the server's side and take over its fields. Raises KubeError.

        Args:
            path: path of the object.
            body: the object.
            manager: name of the field manager.
            dry_run: whether the API server only validates the apply.
            whole: whether to return the whole object; otherwise only its metadata.
        """
        query = {"fieldManager": manager, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        return self._object(path, query, JSON if whole else METADATA, "PATCH", body)

    def create(self, path: str, body: Object) -> dict[str, Any]:
        """Create an object in a collection. Raises KubeError, with 409 if it exists."""
        return self._object(path, {}, JSON, "POST", json.dumps(body).encode())

    def replace(self, path: str, body: Object) -> dict[str, Any]:
        """Replace an object. Raises KubeError, with 409 if its resourceVersion is another."""
        return self._object(path, {}, JSON, "PUT", json.dumps(body).encode())

    def _object(
        self,
        path: str,
        query: Mapping[str, str],
        accept: str,
        method: str = "GET",
        body: Object | bytes | None = None,
    ) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(
                self._open(path, query, accept, READ_TIMEOUT_S, method, body).data
            )
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise KubeError(f"{path}: unreadable answer: {error}") from error
        return answer

    def text(self, path: str, **query: str) -> str:
        """Return the body of an endpoint that does not speak JSON. Raises KubeError."""
        return self.content(path, query).decode("utf-8", "replace")

    def content(
        self, path: str, query: Mapping[str, str] | None = None, send: bytes | None = None
    ) -> bytes:
        """Get the bytes of an endpoint, or POST JSON and return the answer. Raises KubeError."""
        method = "GET" if send is None else "POST"
        try:
            data: bytes = self._open(path, query or {}, "*/*", READ_TIMEOUT_S, method, send).data
        except urllib3.exceptions.HTTPError as error:
            raise KubeError(f"{path}: unreadable answer: {error}") from error
        return data

    def watch(self, path: str, timeout_s: int, **query: str) -> Iterator[dict[str, Any]]:
        """Yield watch events until the server ends the stream. Raises KubeError.

        An ERROR event (an expired resourceVersion) is raised as a KubeError with its code.
        """
        query = {**query, "watch": "1", "timeoutSeconds": str(timeout_s)}
        query["allowWatchBookmarks"] = "true"
        response = self._open(path, query, "application/json", timeout_s + READ_TIMEOUT_S)
        try:
            for line in _lines(response.stream(None)):
                event: dict[str, Any] = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    raise KubeError(str(status.get("message")), int(status.get("code") or 0))
                yield event
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise KubeError(f"{path}: watch broke off: {error}") from error
        finally:
            response.close()

    def delete(self, path: str, version: str = "") -> None:
        """Delete an object, if it exists. Raises KubeError.

        version: the resourceVersion that it must have. KubeError has the status 409 otherwise.
        """
        body = {"preconditions": {"resourceVersion": version}} if version else None
        content = json.dumps(body).encode() if body else None
        try:
            self._object(path, {"propagationPolicy": "Background"}, JSON, "DELETE", content)
        except KubeError as error:
            if error.status != NOT_FOUND:
                raise


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole lines from a stream of byte chunks."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


def _api_message(body: str) -> str:
    """Return the message of a metav1.Status body, or the start of any other body."""
    try:
        status: Object = json.loads(body)
        return str(status.get("message") or "")
    except (ValueError, AttributeError):
        return body.strip()[:200]
