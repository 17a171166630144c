# SPDX-License-Identifier: Apache-2.0
"""Packages of a publisher's apt repository, by apt's own client in a root of its own."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.bundle import publishers
from lab.bundle.steps import run
from lab.config import LabError

# What apt expects below its root.
FOLDERS = (
    "etc/apt/sources.list.d",
    "etc/apt/preferences.d",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
)


@dataclass
class Repository:
    """An apt repository of upstream.yml; `root` is the folder that apt works in."""

    name: str
    spec: dict[str, Any]
    root: Path
    _alone: threading.Lock = field(default_factory=threading.Lock)
    _ready: bool = False
    # Why it cannot be used: the other packages of this repository need not wait for that again.
    _failure: str = ""

    def digest(self, part: str, package: str, version: str) -> str:
        """Return the sha256 of a package, by the repository's signed index.

        Raises:
            NotTakenError: the repository has no such version, or does not answer.
            LabError: its key is not the pinned one.
        """
        self._prepare(part)
        reason = f"{self.spec['uri']} has no {package} {version}"
        try:
            shown = run(["apt-cache", *self._options(), "show", f"{package}={version}"])
        except LabError as error:
            raise publishers.NotTakenError(part, reason) from error
        match = re.search(r"^SHA256: ([0-9a-f]{64})$", shown, re.MULTILINE)
        if match is None:
            raise publishers.NotTakenError(part, f"{reason} with a sha256")
        return f"sha256:{match[1]}"

    def fetch(self, part: str, package: str, version: str, digest: str, out: Path) -> None:
        """Download a package into `out`.

        Raises:
            NotTakenError: it could not be downloaded.
            LabError: its sha256 is not `digest`, or the repository's key is not the pinned one.
        """
        self._prepare(part)
        before = set(out.iterdir())
        with self._alone:
            try:
                run(
                    ["apt-get", "-qq", *self._options(), "download", f"{package}={version}"],
                    cwd=out,
                )
            except LabError as error:
                raise publishers.NotTakenError(part, _last(error)) from error
        (deb,) = set(out.iterdir()) - before
        actual = f"sha256:{hashlib.sha256(deb.read_bytes()).hexdigest()}"
        if actual != digest:
            raise LabError(f"{deb.name} of {self.spec['uri']} has {actual}, not {digest}")

    def _options(self) -> list[str]:
        return ["-c", str(self.root / "apt.conf")]

    def _configuration(self) -> str:
        settings = {
            "Dir": self.root,
            "Dir::State::status": self.root / "status",
            # Only this repository's own source and key count.
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": 3,
            "Acquire::https::Timeout": int(publishers.TIMEOUT_S),
        }
        # What this machine runs after its own updates is no business of these.
        hooks = ("APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success")
        lines = [f"#clear {name};" for name in (*hooks, "APT::Architectures")]
        return "\n".join([*lines, *(f'{k} "{v}";' for k, v in settings.items())]) + "\n"

    def _prepare(self, part: str) -> None:
        with self._alone:
            if self._failure:
                raise publishers.NotTakenError(part, self._failure)
            if self._ready:
                return
            try:
                self._update(part)
            except publishers.NotTakenError as error:
                self._failure = error.reason
                raise
            self._ready = True

    def _update(self, part: str) -> None:
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        (self.root / "apt.conf").write_text(self._configuration(), encoding="utf-8")
        key = self.root / "key.asc"
        with publishers.client() as http:
            answer = publishers.ask(http, part, "GET", self.spec["key_url"])
        key.write_bytes(answer.content)
        self._check_key(part, key)
        text = f"Types: deb\nURIs: {self.spec['uri']}\nSuites: {self.spec['suite']}\n"
        text += f"Components: {self.spec['components']}\n" if self.spec["components"] else ""
        text += f"Signed-By: {key}\n"
        source = self.root / "etc/apt/sources.list.d/publisher.sources"
        source.write_text(text, encoding="utf-8")
        try:
            run(["apt-get", "-qq", *self._options(), "update"])
        except LabError as error:
            raise publishers.NotTakenError(part, _last(error)) from error

    def _check_key(self, part: str, key: Path) -> None:
        """Compare every primary key of the file with the pinned fingerprints."""
        try:
            listed = run(["gpg", "--batch", "--show-keys", "--with-colons", key])
        except LabError as error:
            reason = f"{self.spec['key_url']} is no key"
            raise publishers.NotTakenError(part, reason) from error
        fingerprints = set(
            re.findall(r"^pub:.*\n(?:(?!fpr).*\n)*fpr:+([0-9A-F]+):", listed, re.MULTILINE)
        )
        if not fingerprints:
            raise publishers.NotTakenError(part, f"{self.spec['key_url']} is no key")
        if not fingerprints <= set(self.spec["fingerprints"]):
            raise LabError(
                f"the key at {self.spec['key_url']} has the fingerprint"
                f" {', '.join(sorted(fingerprints))}, and"
                f" lab/bundle/upstream.yml pins {', '.join(self.spec['fingerprints'])}: nothing"
                " was taken. Compare with what the publisher announces before you change the pin"
            )


def _last(error: LabError) -> str:
    """Return what apt said at its end, which names the cause."""
    return str(error).splitlines()[-1]
