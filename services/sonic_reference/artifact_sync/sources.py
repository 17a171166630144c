# SPDX-License-Identifier: Apache-2.0
"""Where artifacts come from: a bucket of Google Cloud Storage, or a folder."""

from __future__ import annotations

import base64
import itertools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import google_crc32c
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.oauth2 import service_account
from requests.exceptions import RequestException

from sonic_reference.artifacts import catalogue, seal
from sonic_reference.artifacts.generations import MAX_FILE_BYTES, PIECE_BYTES, MismatchError

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
# Seconds to connect, and between two parts of an answer. Trying again is the sync's business.
TIMEOUT_S = (5.0, 30.0)
# Ten times what a generation may have: a bucket may hold other objects, too.
MAX_LISTED = 20_000


class SourceError(Exception):
    """The source cannot be read."""


@dataclass(frozen=True)
class Listed:
    """A file as the source lists it; another version may have another content.

    ``crc32c`` is base64 as Google writes it, empty when the source has no checksums. ``size`` is in
    bytes, None when the source does not list it.
    """

    name: str
    version: str
    crc32c: str = ""
    size: int | None = None


class Source(Protocol):
    """A place that artifacts come from; its calls block, so call them in threads."""

    def list(self) -> Mapping[str, Listed]:
        """Return all files by their names. Raises SourceError."""

    def fetch(self, entry: Listed, target: Path) -> None:
        """Write one file's content.

        Raises SourceError, MismatchError when it is another one, InvalidArtifactsError when it is
        longer than a file may be: no more than that is ever written.
        """


class Limited:
    """A file that refuses more bytes than a file of a generation may have."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._left = MAX_FILE_BYTES

    def write(self, content: bytes) -> int:
        """Write on. Raises InvalidArtifactsError when it gets too long."""
        self._left -= len(content)
        if self._left < 0:
            message = f"{self._name}: larger than {MAX_FILE_BYTES} bytes"
            raise catalogue.InvalidArtifactsError(message)
        return self._file.write(content)


def _check_count(count: int) -> None:
    """Raises SourceError for a source with more files than are read."""
    if count > MAX_LISTED:
        raise SourceError(
            f"it has more than {MAX_LISTED} files: keep artifacts apart from other files, in a"
            " bucket of their own or below artifact_sync_prefix"
        )


class Bucket:
    """Objects of a bucket below a prefix, by the official client."""

    def __init__(self, client: storage.Client, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def list(self) -> Mapping[str, Listed]:
        """See :class:`Source`; one request for every 1000 objects, up to MAX_LISTED of them."""
        try:
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=self._prefix or None,
                fields="items(name,generation,crc32c,size),nextPageToken",
                max_results=MAX_LISTED + 1,
                timeout=TIMEOUT_S,
                retry=None,
            )
            listed = [
                Listed(
                    blob.name.removeprefix(self._prefix),
                    str(blob.generation),
                    blob.crc32c,
                    blob.size,
                )
                for blob in blobs
            ]
        except (GoogleAPIError, GoogleAuthError, RequestException, ValueError) as error:
            raise SourceError(_text(error)) from error
        _check_count(len(listed))
        return {one.name: one for one in listed}

    def fetch(self, entry: Listed, target: Path) -> None:
        """See :class:`Source`; just this generation of the object."""
        blob = self._bucket.blob(f"{self._prefix}{entry.name}", generation=int(entry.version))
        try:
            with target.open("wb") as file:
                blob.download_to_file(
                    Limited(file, entry.name),
                    checksum="crc32c",
                    raw_download=True,
                    timeout=TIMEOUT_S,
                    retry=None,
                )
        except DataCorruption as error:
            raise MismatchError(f"{entry.name}: {_text(error)}") from error
        except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
            raise SourceError(f"{entry.name}: {_text(error)}") from error
        # The client compares with the sum in the download's own answer, where there is one.
        if (actual := crc32c(target)) != entry.crc32c:
            raise MismatchError(
                f"{entry.name}: its CRC32C is {actual}, the bucket lists {entry.crc32c}"
            )


class Folder:
    """Files of a folder that something else fills: a share, or a disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self) -> Mapping[str, Listed]:
        """See :class:`Source`."""
        try:
            if not self._root.is_dir():
                raise SourceError(f"there is no folder {self._root}")
            listed = {}
            paths = itertools.chain(self._root.glob("*/*"), self._root.glob(seal.FILE))
            first = list(itertools.islice(paths, MAX_LISTED + 1))
            _check_count(len(first))
            for path in sorted(first):
                if path.is_file() and not path.name.startswith("."):
                    state = path.stat()
                    name = str(path.relative_to(self._root))
                    version = f"{state.st_mtime_ns}-{state.st_size}"
                    listed[name] = Listed(name, version, size=state.st_size)
        except OSError as error:
            raise SourceError(str(error)) from error
        return listed

    def fetch(self, entry: Listed, target: Path) -> None:
        """See :class:`Source`."""
        path = self._root / entry.name
        try:
            with path.open("rb") as source, target.open("wb") as file:
                shutil.copyfileobj(source, Limited(file, entry.name), PIECE_BYTES)
            state = path.stat()
        except OSError as error:
            raise SourceError(str(error)) from error
        if f"{state.st_mtime_ns}-{state.st_size}" != entry.version:
            raise MismatchError(f"{entry.name}: it was written to meanwhile")


def open_bucket(
    bucket: str, prefix: str, endpoint: str, account: Mapping[str, Any] | None
) -> Bucket:
    """Return a bucket as this service account sees it, or without an account as the public does.

    Raises SourceError when the account cannot be used.
    """
    options = {"api_endpoint": endpoint}
    if account is None:
        everybody = AnonymousCredentials()
        client = storage.Client(project="none", credentials=everybody, client_options=options)
        return Bucket(client, bucket, prefix)
    try:
        credentials = service_account.Credentials.from_service_account_info(account, scopes=SCOPES)
    except (ValueError, GoogleAuthError) as error:
        raise SourceError(f"the service account cannot be used: {error}") from error
    # It signs its requests itself, so that no other host than the bucket's is asked for a token.
    signing = credentials.with_always_use_jwt_access(True)
    project = str(account.get("project_id") or "none")
    client = storage.Client(project=project, credentials=signing, client_options=options)
    return Bucket(client, bucket, prefix)


def crc32c(path: Path) -> str:
    """Return a file's CRC32C as Google Cloud Storage lists it."""
    total = google_crc32c.Checksum()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            total.update(piece)
    return base64.b64encode(total.digest()).decode()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
