# SPDX-License-Identifier: Apache-2.0
"""A worker's settings; services/README.md documents the variables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sonic_reference.artifacts.settings import FollowerSettings
from sonic_reference.settings import NatsUrl, Port, Secret, ServiceSettings


def _operation(value: str) -> str:
    operation = value.lower()
    if operation not in ("tts", "stt"):
        raise ValueError("is neither TTS nor STT")
    return operation


class WorkerSettings(ServiceSettings):
    """Times are in seconds."""

    metrics_port: Port = Field(default=8080, validation_alias="SONIC_METRICS_PORT")
    nats_url: NatsUrl = Field(validation_alias="NATS_URL", repr=False)
    model: str = Field(validation_alias="SONIC_MODEL")
    operation: Annotated[Literal["tts", "stt"], BeforeValidator(_operation)] = Field(
        default="tts", validation_alias="SONIC_OPERATION"
    )
    offering_key: Secret = Field(default="", validation_alias="SONIC_OFFERING_KEY")
    batch_size: int = Field(default=4, validation_alias="SONIC_BATCH_SIZE", ge=1, le=256)
    # 0 stands for the batch size.
    given_capacity: int = Field(default=0, validation_alias="SONIC_CAPACITY", ge=1, le=1024)
    continuous: bool = Field(default=True, validation_alias="SONIC_USE_CB")
    use_lora: bool = Field(default=False, validation_alias="SONIC_USE_LORA")
    pace: float = Field(default=0.0, validation_alias="SONIC_PACE", ge=0.0, le=10.0)
    artifacts: FollowerSettings
    drain_timeout_s: float = Field(
        default=600.0, validation_alias="SONIC_DRAIN_TIMEOUT", ge=0.0, le=86400.0
    )

    @property
    def capacity(self) -> int:
        """How many streams the worker takes."""
        return self.given_capacity or self.batch_size
