# SPDX-License-Identifier: Apache-2.0
"""What the services read that have artifacts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sonic_reference.settings import HttpUrl, Settings


class FollowerSettings(Settings):
    """Where an API pod or a worker has its artifacts from, and where it keeps them."""

    url: HttpUrl = Field(default="", validation_alias="SONIC_ARTIFACTS_URL")
    folder: Path = Field(default=Path("/tmp/artifacts"), validation_alias="SONIC_ARTIFACTS_FOLDER")
