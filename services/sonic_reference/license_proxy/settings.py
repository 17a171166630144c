# SPDX-License-Identifier: Apache-2.0
"""The license proxy's settings; services/README.md documents the variables."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, ValidationInfo, field_validator

from sonic_reference.license_proxy import offline
from sonic_reference.license_proxy.states import AIR_GAPPED, CONNECTED
from sonic_reference.settings import Port, Secret, ServiceSettings, https, not_set, refused

MODES = (CONNECTED, AIR_GAPPED)


class ProxySettings(ServiceSettings):
    """Times are in seconds. A variable that only one mode needs is ignored in the other."""

    port: Port = Field(default=8080, validation_alias="SONIC_PORT")
    site_key: Secret = Field(default="", validation_alias="CARTESIA_API_KEY")
    container_key: Secret = Field(
        default="", validation_alias="CONTAINER_KEY", validate_default=True
    )
    folder: Path = Field(default=Path("/var/lib/license-proxy"), validation_alias="SONIC_STATE_DIR")
    site: str = Field(default="default", validation_alias="SONIC_SITE")
    mode: str = Field(default=CONNECTED, validation_alias="SONIC_LICENSE_MODE")
    grace_s: float = Field(
        default=259200.0, validation_alias="SONIC_LICENSE_GRACE", ge=0, le=366 * 86400
    )
    interval_s: float = Field(
        default=300.0, validation_alias="SONIC_LICENSE_CHECK_INTERVAL", ge=1, le=86400
    )
    file: str = Field(default="", validation_alias="SONIC_LICENSE_FILE")
    url: str = Field(default="", validation_alias="SONIC_LICENSE_ENDPOINT", validate_default=True)
    # Without a file httpx trusts the public authorities.
    trusted: ssl.SSLContext | None = Field(default=None, validation_alias="SONIC_LICENSE_CA_FILE")
    public_key: Ed25519PublicKey | None = Field(
        default=None, validation_alias="SONIC_LICENSE_PUBLIC_KEY", validate_default=True
    )

    @property
    def keys(self) -> list[str]:
        """The keys that are accepted; the license endpoint is shown the first."""
        return [key for key in (self.site_key, self.container_key) if key]

    @field_validator("container_key")
    @classmethod
    def _some_key(cls, value: str, info: ValidationInfo) -> str:
        if not value and not info.data["site_key"]:
            raise refused(
                "neither CARTESIA_API_KEY nor CONTAINER_KEY is set: no request could be authorized"
            )
        return value

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, value: str) -> str:
        if value not in MODES:
            raise ValueError(f"is none of {', '.join(MODES)}")
        return value

    @field_validator("url")
    @classmethod
    def _endpoint(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("mode") != CONNECTED:
            return ""
        if not value:
            raise not_set()
        return https(value)

    @field_validator("trusted", mode="before")
    @classmethod
    def _authorities(cls, file: object, info: ValidationInfo) -> object:
        if info.data.get("mode") != CONNECTED or not isinstance(file, str):
            return None
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            raise ValueError(f"cannot be used: {error}") from None

    @field_validator("public_key", mode="before")
    @classmethod
    def _licence_key(cls, text: object, info: ValidationInfo) -> object:
        if info.data.get("mode") != AIR_GAPPED:
            return None
        if not isinstance(text, str):
            raise not_set()
        try:
            return offline.public_key(text)
        except ValueError:
            raise refused("SONIC_LICENSE_PUBLIC_KEY is no Ed25519 public key in PEM form") from None
