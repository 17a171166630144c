# SPDX-License-Identifier: Apache-2.0
"""Run the license proxy: ``python3 -m sonic_reference.license_proxy``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from sonic_reference import service
from sonic_reference.license_proxy.app import create_app
from sonic_reference.license_proxy.authority import StaticKeys
from sonic_reference.settings import Environment

KEYS = ("CARTESIA_API_KEY", "CONTAINER_KEY")


async def main(variables: Mapping[str, str], stop: asyncio.Event) -> None:
    """Serve until stopped."""
    environment = Environment(variables)
    host = environment.text("SONIC_HOST", "0.0.0.0")
    port = environment.integer("SONIC_PORT", 8080, 1, 65535)
    keys = [key for name in KEYS if (key := environment.text(name, ""))]
    if not keys:
        environment.refuse(f"neither {' nor '.join(KEYS)} is set: no request could be authorized")
    environment.check()
    listener = service.Listener(create_app(StaticKeys(keys)), host, port)
    await listener.start()
    await stop.wait()
    await listener.stop(5)


if __name__ == "__main__":
    sys.exit(service.run("license-proxy", main))
