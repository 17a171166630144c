# SPDX-License-Identifier: Apache-2.0
"""The API server's settings; services/README.md documents the variables."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sonic_reference.api.authorization import presentable
from sonic_reference.api.limits import Limits
from sonic_reference.artifacts.settings import FollowerSettings
from sonic_reference.settings import (
    HttpUrl,
    Names,
    NatsUrl,
    Port,
    Secret,
    ServiceSettings,
    refused,
)


def _site_key(key: str) -> str:
    if key and not presentable(key):
        raise refused(
            "CARTESIA_API_KEY must be printable ASCII, at most 512 characters: write the key again"
        )
    return key


class ApiSettings(ServiceSettings):
    """Times are in seconds."""

    port: Port = Field(default=5000, validation_alias="SONIC_PORT")
    metrics_port: Port = Field(default=8080, validation_alias="SONIC_METRICS_PORT")
    nats_url: NatsUrl = Field(validation_alias="NATS_URL", repr=False)
    offerings_key: Secret = Field(default="", validation_alias="SONIC_OFFERINGS_KEY")
    proxy_url: HttpUrl = Field(validation_alias="LICENSE_PROXY_URL")
    site_key: Annotated[Secret, AfterValidator(_site_key)] = Field(
        default="", validation_alias="CARTESIA_API_KEY"
    )
    authorization_ttl_s: float = Field(
        default=10.0, validation_alias="SONIC_AUTHORIZATION_TTL", ge=0.0, le=3600.0
    )
    authorization_grace_s: float = Field(
        default=300.0, validation_alias="SONIC_AUTHORIZATION_GRACE", ge=0.0, le=86400.0
    )
    models: Names = Field(default=("sonic-reference",), validation_alias="SONIC_MODELS")
    stt_models: Names = Field(default=("ink-reference",), validation_alias="SONIC_STT_MODELS")
    queue_timeout_s: float = Field(
        default=2.0, validation_alias="SONIC_QUEUE_TIMEOUT", ge=0.0, le=3600.0
    )
    queue_limit: int = Field(default=64, validation_alias="SONIC_QUEUE_LIMIT", ge=0, le=100_000)
    stream_timeout_s: float = Field(
        default=5.0, validation_alias="SONIC_STREAM_TIMEOUT", ge=2.0, le=300.0
    )
    max_body_bytes: int = Field(
        default=262_144, validation_alias="SONIC_MAX_BODY_BYTES", ge=1024, le=900_000
    )
    max_audio_bytes: int = Field(
        default=26_214_400, validation_alias="SONIC_MAX_AUDIO_BYTES", ge=1024, le=2**30
    )
    limits: Limits
    library_replicas: int = Field(default=1, validation_alias="SONIC_LIBRARY_REPLICAS", ge=1, le=5)
    artifacts: FollowerSettings
    shutdown_delay_s: float = Field(
        default=3.0, validation_alias="SONIC_SHUTDOWN_DELAY", ge=0.0, le=300.0
    )
    drain_timeout_s: float = Field(
        default=600.0, validation_alias="SONIC_DRAIN_TIMEOUT", ge=0.0, le=86400.0
    )
