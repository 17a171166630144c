# SPDX-License-Identifier: Apache-2.0
"""What the endpoints of an API pod work with."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from sonic_reference.api.credentials import Credentials
from sonic_reference.api.dispatch import Dispatcher
from sonic_reference.api.library import Library
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.recordings import Recordings
from sonic_reference.api.sessions import Sessions
from sonic_reference.api.settings import ApiSettings
from sonic_reference.voices import Voices


@dataclass
class Site:
    """The parts of an API pod; ``draining`` is true from the signal to stop on."""

    settings: ApiSettings
    dispatcher: Dispatcher
    credentials: Credentials
    library: Library
    voices: Voices
    metrics: ApiMetrics
    draining: bool = False

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.credentials, self.settings.limits)
        self.recordings = Recordings()

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.dispatcher.connected and not self.draining


def site_of(connection: HTTPConnection) -> Site:
    """Return the site of the application that serves a request or a WebSocket."""
    site: Site = connection.app.state.site
    return site
