# SPDX-License-Identifier: Apache-2.0
"""Official packages, images and files in place of what would be built, as steps of the same names.

A part of a publisher is resolved first: its digest by the publisher's index is compared with the
lock file's, or recorded there. Then it is downloaded by that digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from lab.bundle import publishers, table
from lab.bundle.apt import Repository
from lab.bundle.images import ImageStore
from lab.bundle.lock import Lock
from lab.bundle.publishers import NotTakenError
from lab.bundle.steps import Step, digest
from lab.config import LabError, cache_dir

SETTING = "LAB_SOURCES"


class Source(Protocol):
    """Where a publisher has what one step of the bundle makes."""

    @property
    def name(self) -> str:
        """The step's name."""

    @property
    def items(self) -> tuple[str, ...]:
        """What the lock file records, as NAME=VERSION or as a URL."""

    @property
    def url(self) -> str:
        """Where it lies."""

    def resolve(self) -> dict[str, str]:
        """Return the digest that each item has at the publisher now.

        Raises:
            NotTakenError: the publisher does not have it, or does not answer.
        """

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        """Fill a step's folder with the items of these digests.

        Raises:
            NotTakenError: the publisher does not hand it out.
            LabError: what came has another digest.
        """


@dataclass(frozen=True)
class Package:
    """A Debian package, and those that its publisher keeps apart."""

    name: str
    items: tuple[str, ...]
    repository: Repository

    @property
    def url(self) -> str:
        """The apt repository."""
        return str(self.repository.spec["uri"])

    def resolve(self) -> dict[str, str]:
        """By the repository's signed index."""
        return {i: self.repository.digest(self.name, *_package(i)) for i in self.items}

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        """With apt."""
        for item, wanted in digests.items():
            self.repository.fetch(self.name, *_package(item), wanted, out)


@dataclass(frozen=True)
class Image:
    """A container image."""

    name: str
    image: str
    tag: str
    store: ImageStore

    @property
    def items(self) -> tuple[str, ...]:
        """The image and its tag."""
        return (f"image:{self.image}={self.tag}",)

    @property
    def url(self) -> str:
        """The repository at its registry."""
        host, _slash, repository = self.image.partition("/")
        return f"https://{publishers.registry_host(host)}/v2/{repository}"

    def resolve(self) -> dict[str, str]:
        """By the tag's manifest."""
        with publishers.client() as http:
            digest = publishers.image_digest(http, self.name, self.image, self.tag)
        return {self.items[0]: digest}

    def pull(self, digests: dict[str, str]) -> str:
        """Pull by digest into the store; returns the image's id there."""
        wanted = digests[self.items[0]]
        try:
            return self.store.pull(f"{self.image}@{wanted}")
        except LabError as error:
            raise NotTakenError(self.name, str(error).splitlines()[-1]) from error

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        """With podman."""
        self.store.note(out, f"{self.image}:{self.tag}", self.pull(digests))


@dataclass(frozen=True)
class Program(Image):
    """A program of an image, for this machine."""

    path: str

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        """Out of its image."""
        self.store.copy_out(self.pull(digests), self.path, out / self.name.rsplit("/", 1)[1])


@dataclass(frozen=True)
class Files:
    """Files of releases; `files` has the URL of each by the name that it is served by."""

    name: str
    files: dict[str, str]

    @property
    def items(self) -> tuple[str, ...]:
        """The files' URLs, which have the versions in them."""
        return tuple(self.files.values())

    @property
    def url(self) -> str:
        """The first file."""
        return self.items[0]

    def _get(self, url: str) -> bytes:
        with publishers.client() as http:
            return publishers.ask(http, self.name, "GET", url).content

    def resolve(self) -> dict[str, str]:
        """By their content."""
        return {url: _sha256(self._get(url)) for url in self.items}

    def fetch(self, digests: dict[str, str], out: Path) -> None:
        """Download them, and compare."""
        for name, url in self.files.items():
            content = self._get(url)
            if _sha256(content) != digests[url]:
                raise LabError(f"{url} has {_sha256(content)}, and {digests[url]} a moment before")
            (out / name).write_bytes(content)


def _package(item: str) -> tuple[str, str]:
    name, _equals, version = item.removeprefix("deb:").partition("=")
    return name, version


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def sources(spec: dict[str, Any], store: ImageStore, cache: Path) -> dict[str, Source]:
    """Every part that a publisher has, by the name of the step that builds it.

    `spec` is artifacts.yml; the rest is in upstream.yml.
    """
    known = table.upstream()
    repositories = {
        name: Repository(name, entry, cache / "upstream-apt" / name)
        for name, entry in known["repositories"].items()
    }
    made: list[Source] = []
    for name, entry in known["packages"].items():
        version = spec["packages"][name]["version"]
        items = tuple(f"deb:{each}={version}" for each in [name, *entry.get("with", [])])
        made.append(Package(f"deb:{name}", items, repositories[entry["repository"]]))
    for name, entry in spec["images"].items():
        made.append(Image(f"image:{name}", name, entry["tag"], store))
    for name, entry in known["programs"].items():
        made.append(Program(f"go:{name}", entry["image"], entry["tag"], store, entry["path"]))
    files = {spec["manifests"][name]["name"]: url for name, url in known["manifests"].items()}
    made.append(Files("manifests", files))
    return {source.name: source for source in made}


def setting() -> str:
    """LAB_SOURCES: `upstream`, `build`, or empty where it is not set.

    Raises:
        LabError: it is anything else.
    """
    value = os.environ.get(SETTING, "")
    if value not in {"", "build", "upstream"}:
        raise LabError(
            f"{SETTING}={value!r} is neither 'upstream' (take official packages and images) nor"
            " 'build' (compile everything): correct it, or leave it out to let 'make lab' look"
        )
    return value


def lock_path() -> Path:
    """Return the file with the digests of what was taken."""
    return cache_dir() / "upstream.lock.json"


class Taking:
    """Decides which steps of the bundle are replaced by a publisher's."""

    def __init__(
        self, known: dict[str, Source], cache: Path, say: Callable[[str], None], wanted: str
    ) -> None:
        """`known` are the publishers' parts; `wanted` is LAB_SOURCES."""
        self._known = known
        self._cache = cache
        self._say = say
        self._wanted = wanted
        # Parts that a publisher did not hand out in this run, which are built then.
        self._refused: set[str] = set()

    def cached(self, built: dict[str, Step]) -> dict[str, Step] | None:
        """Return the replaced steps, if the cache decides without a publisher; None otherwise.

        Without LAB_SOURCES, what was built stays, and what was taken stays.
        """
        if self._wanted == "build":
            return {}
        lock = Lock(lock_path())
        replaced = {}
        for name, source in self._known.items():
            if not self._wanted and built[name].output(self._cache).exists():
                continue
            digests = lock.digests(source.items)
            if digests is None:
                return None
            step = _step(source, digests)
            if not step.output(self._cache).exists():
                return None
            replaced[name] = step
        return replaced

    def choose(self, built: dict[str, Step]) -> dict[str, Step]:
        """Return the replaced steps, after a look at the publishers; records their digests.

        Raises:
            LabError: a publisher's digest is not the recorded one; or, with LAB_SOURCES=upstream,
                a part cannot be taken.
        """
        decided = self.cached(built)
        if decided is not None:
            return decided
        lock = Lock(lock_path())
        replaced: dict[str, Step] = {}
        open_: list[Source] = []
        for name, source in self._known.items():
            digests = lock.digests(source.items)
            step = _step(source, digests) if digests else None
            if step and step.output(self._cache).exists():
                replaced[name] = step
            elif self._wanted or not built[name].output(self._cache).exists():
                open_.append(source)
        open_ = [source for source in open_ if source.name not in self._refused]
        resolved = self._resolve(self._reachable(open_)) if open_ else []
        for source, digests in resolved:
            lock.record(digests, source.url)
            replaced[source.name] = _step(source, digests)
        if resolved:
            self._say(f"digests of what publishers handed out: {lock.path}")
        return replaced

    def refuse(self, error: NotTakenError) -> None:
        """Build a part after all that its publisher did not hand out.

        Raises:
            NotTakenError: LAB_SOURCES=upstream says that nothing is built in its place.
        """
        if self._wanted:
            raise error
        self._say(f"{error}; building it")
        self._refused.add(error.part)

    def _reachable(self, wanted: list[Source]) -> list[Source]:
        """Those whose host answers; says in one line which do not."""
        hosts = {str(urlsplit(source.url).hostname) for source in wanted}
        reached = publishers.answering(hosts)
        silent = sorted(hosts - reached)
        if silent and self._wanted:
            raise LabError(
                f"{SETTING}=upstream, and these do not answer: {', '.join(silent)}. Correct this"
                f" machine's way to them, or build: {SETTING}=build"
            )
        if not reached:
            self._say("none of the publishers' registries and repositories answers: building")
        else:
            self._say(
                f"taking official packages and images from {', '.join(sorted(reached))}"
                + (f"; no answer from {', '.join(silent)}" if silent else "")
            )
        return [source for source in wanted if urlsplit(source.url).hostname in reached]

    def _resolve(self, wanted: list[Source]) -> list[tuple[Source, dict[str, str]]]:
        resolved, refused = [], []
        with ThreadPoolExecutor(4) as pool:
            for source, answer in [(s, pool.submit(s.resolve)) for s in wanted]:
                try:
                    resolved.append((source, answer.result()))
                except NotTakenError as error:
                    refused.append(error)
        if refused and self._wanted:
            raise LabError(
                "; ".join(str(refusal) for refusal in refused)
                + f". Without {SETTING}, 'make lab' builds what cannot be taken"
            )
        for refusal in refused:
            self.refuse(refusal)
        return resolved


def _step(source: Source, digests: dict[str, str]) -> Step:
    def build(out: Path) -> None:
        source.fetch(digests, out)

    inputs = [f"{item} {value}" for item, value in sorted(digests.items())]
    return Step(
        name=source.name,
        key=digest("upstream", source.name, *inputs),
        seconds=6,
        build=build,
    )
