# SPDX-License-Identifier: Apache-2.0
"""A NATS server on loopback with the role's own configuration: its users, subjects and TLS."""

from __future__ import annotations

import functools
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import yaml

from lab.config import REPOSITORY
from lab.waiting import wait
from plugins.plugin_utils import nats_secrets

ROLE = REPOSITORY / "roles" / "nats"
# By this name clients ask for the server, so that they can check its certificate.
HOST = "localhost"


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@functools.cache
def configuration(access: str = "strict") -> str:
    """Return the configuration of one server as the role makes it, with this nats_access."""
    variables: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables |= yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))
    # As Ansible sets it up; the tests compare the two.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["to_json"] = json.dumps
    given = {"nats_replicas": 1, "nats_access": access}
    return environment.get_template("nats.conf.j2").render(variables | given)


class Bus:
    """The server's files in a folder, and how the users connect; ``port`` is where it listens."""

    def __init__(self, folder: Path, port: int, access: str = "strict") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._port = port
        given = {"users": {}, "certificate": "", "key": "", "ca": ""}
        self.secrets: dict[str, Any] = nats_secrets.complete([], given, [HOST, "nats"])
        self._guarded = access != "open"
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(self.secrets["ca"], encoding="utf-8")
        (folder / "tls.crt").write_text(self.secrets["certificate"], encoding="utf-8")
        (folder / "tls.key").write_text(self.secrets["key"], encoding="utf-8")
        text = configuration(access)
        for there, here in (("/etc/nats-tls/", f"{folder}/"), ("/data", f"{folder}/jetstream")):
            text = text.replace(there, here)
        self._config = folder / "nats.conf"
        self._config.write_text(text, encoding="utf-8")

    @property
    def arguments(self) -> list[str]:
        """The server's arguments; what they name goes before the configuration."""
        return [
            *("--config", str(self._config), "-a", "127.0.0.1", "-p", str(self._port)),
            # No monitoring: two servers of one test would want the same port.
            *("-m", "-1"),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment."""
        passwords = {f"PASSWORD_{n.upper()}": p for n, p in self.secrets["users"].items()}
        return passwords | {"POD_NAME": "nats-0"}

    def url(self, user: str) -> str:
        """Return the URL that a user connects to, with its password."""
        if not self._guarded:
            return f"nats://{HOST}:{self._port}"
        return f"tls://{user}:{self.secrets['users'][user]}@{HOST}:{self._port}"

    def settings(self, user: str, model: str = "") -> Mapping[str, str]:
        """Return what a service needs to connect as a user, and to have the jobs of a model."""
        variables = {"NATS_URL": self.url(user), "SSL_CERT_FILE": str(self.ca_file)}
        master = self.secrets["offerings"]
        if user == "api":
            return variables | {"SONIC_OFFERINGS_KEY": master}
        return variables | {"SONIC_OFFERING_KEY": nats_secrets.offering_key(master, user, model)}

    @property
    def tls(self) -> ssl.SSLContext:
        """What a client of a test trusts."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@contextmanager
def running(program: str, folder: Path, access: str = "strict") -> Iterator[RunningBus]:
    """Run a server of its own while the caller does something. Raises TimeoutError: no start."""
    bus = RunningBus(folder, program, access)
    try:
        bus.start()
        yield bus
    finally:
        bus.stop()


class RunningBus(Bus):
    """A server as a process; ``program`` is its binary."""

    def __init__(self, folder: Path, program: str, access: str) -> None:
        super().__init__(folder, free_port(), access)
        self._program = program
        self._log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready. Raises TimeoutError."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *self.arguments], env=self.environment, stdout=log, stderr=log
            )
        wait("NATS is ready", lambda: b"Server is ready" in self._log.read_bytes(), 60, pause=0.02)

    def stop(self) -> None:
        """End it; one that has ended is no error."""
        if self._process:
            self._process.terminate()
            self._process.wait()
