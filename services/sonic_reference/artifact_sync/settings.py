# SPDX-License-Identifier: Apache-2.0
"""The artifact sync's settings; services/README.md documents the variables."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, ValidationInfo, field_validator

from sonic_reference.artifact_sync.sources import Bucket, Folder, Source, SourceError, open_bucket
from sonic_reference.artifacts import seal
from sonic_reference.settings import Port, ServiceSettings, refused


class SyncSettings(ServiceSettings):
    """Times are in seconds."""

    port: Port = Field(default=8080, validation_alias="SONIC_PORT")
    folder: Path = Field(default=Path("/tmp/artifacts"), validation_alias="SONIC_ARTIFACTS_FOLDER")
    interval_s: float = Field(
        default=30.0, validation_alias="SONIC_ARTIFACTS_INTERVAL", ge=0.1, le=86400.0
    )
    longest_pause_s: float = Field(
        default=300.0, validation_alias="SONIC_ARTIFACTS_LONGEST_PAUSE", ge=0.1, le=86400.0
    )
    source_folder: str = Field(default="", validation_alias="SONIC_ARTIFACTS_SOURCE")
    bucket_name: str = Field(
        default="", validation_alias="SONIC_ARTIFACTS_BUCKET", validate_default=True
    )
    prefix: str = Field(default="", validation_alias="SONIC_ARTIFACTS_PREFIX")
    endpoint: str = Field(
        default="https://storage.googleapis.com", validation_alias="SONIC_ARTIFACTS_ENDPOINT"
    )
    # The bucket as this service account sees it; without an account, as the public does.
    bucket: Bucket | None = Field(
        default=None,
        validation_alias="GOOGLE_APPLICATION_CREDENTIALS",
        validate_default=True,
        repr=False,
    )
    public_key: Ed25519PublicKey | None = Field(
        default=None, validation_alias="SONIC_ARTIFACTS_PUBLIC_KEY"
    )

    @property
    def source(self) -> Source:
        """Where artifacts come from."""
        return self.bucket or Folder(Path(self.source_folder))

    @field_validator("bucket_name")
    @classmethod
    def _one_source(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) == bool(info.data["source_folder"]):
            raise refused("set one of SONIC_ARTIFACTS_BUCKET and SONIC_ARTIFACTS_SOURCE")
        return value

    @field_validator("bucket", mode="before")
    @classmethod
    def _open(cls, file: object, info: ValidationInfo) -> object:
        name = info.data.get("bucket_name")
        if not name:
            return None
        try:
            account = json.loads(Path(file).read_bytes()) if isinstance(file, str) else None
            return open_bucket(name, info.data["prefix"], info.data["endpoint"], account)
        except (OSError, ValueError, SourceError) as error:
            raise refused(f"GOOGLE_APPLICATION_CREDENTIALS={str(file or '')!r}: {error}") from None

    @field_validator("public_key", mode="before")
    @classmethod
    def _signing_key(cls, text: object) -> object:
        try:
            return seal.public_key(text) if isinstance(text, str) else None
        except ValueError:
            raise refused(
                "SONIC_ARTIFACTS_PUBLIC_KEY is no Ed25519 public key in PEM form"
            ) from None
