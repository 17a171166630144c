# SPDX-License-Identifier: Apache-2.0
"""Build the whole bundle: its steps, and the places of their results."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.bundle import golang, manifests, packages, table, upstream, wheels
from lab.bundle.images import ImageStore, debian_step
from lab.bundle.publishers import NotTakenError
from lab.bundle.steps import Runner, Step, closure, digest
from lab.config import REPOSITORY, cache_dir
from lab.driver import package as driver

# A host as an installer of Debian leaves it: systemd, SSH, Python, and the networking tools
# that Kubernetes' packages depend on (a mirror of Debian is not part of the bundle).
HOST_PACKAGES = """
    ca-certificates conntrack curl dbus ethtool gnupg ipset iproute2 iptables iputils-ping kmod
    libseccomp2 openssh-server procps python3 python3-apt python3-packaging
    python3-venv sudo systemd systemd-sysv
    udev util-linux
""".split()

# Every host makes its own identity at its first boot, as an installed machine has its own.
HOST_KEYS = "/etc/systemd/system/ssh.service.d/host-keys.conf"
HOST_HOOKS = (
    "rm -f $1/etc/ssh/ssh_host_*",
    ": > $1/etc/machine-id",
    "mkdir -p $1/etc/systemd/system/ssh.service.d",
    r"printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\n' > $1" + HOST_KEYS,
)


@dataclass(frozen=True)
class Bundle:
    """Finished parts of a bundle, as folders of this machine."""

    repository: Path
    wheels: Path
    manifests: Path
    registry_binary: Path
    registry_store: Path
    storage_binary: Path
    host_image: Path
    host_image_key: str
    reference_tag: str


# What the lab runs on this machine.
REGISTRY = "go:registry/registry"
STORAGE = "go:fake-gcs-server/fake-gcs-server"


class Plan:
    """The bundle's steps: every one that can be built, with some replaced by a publisher's."""

    def __init__(self, cache: Path, store: ImageStore, tag: str) -> None:
        """`tag` is the one of the reference services' images."""
        self.cache = cache
        spec = table.artifacts()
        self.binaries = golang.steps(spec["binaries"], cache)
        debian = debian_step("debian", ["ca-certificates"])
        self.host = debian_step("host", HOST_PACKAGES, HOST_HOOKS, seconds=105)
        pythons = store.python_steps(debian)
        services = wheels.services_step(REPOSITORY / "services/requirements.txt")
        self.client = wheels.client_step(table.versions()["kubernetes_python"])
        kubectl = self.binaries["go:kubernetes/kubectl"]
        sources = self.binaries[golang.SOURCES]
        self.manifests = manifests.step(spec["manifests"], sources, kubectl, cache)
        self.debs = packages.steps(spec["packages"], self.binaries, cache)
        self.debs["deb:nvidia-driver-mock"] = _driver_step()
        self.images = store.steps(spec["images"], self.binaries, debian)
        self.images |= store.service_steps(tag, pythons, services)
        base = [debian, self.host, services, self.client, *pythons.values()]
        self._base = {step.name: step for step in base}
        self.replace({})

    def built(self) -> dict[str, Step]:
        """Return the steps that a publisher's may replace, by name."""
        return self.binaries | self.debs | self.images | {self.manifests.name: self.manifests}

    def replace(self, taken: dict[str, Step]) -> None:
        """Put these steps in place of those that build the same."""
        every = self._base | self.built() | taken
        self.releases = every[self.manifests.name]
        self.repository = packages.repository_step({n: every[n] for n in self.debs}, self.cache)
        self.served = {name: every[name] for name in self.images}
        self.registry, self.storage = every[REGISTRY], every[STORAGE]
        every[self.repository.name] = self.repository
        targets = [*self._base, *self.images, self.releases.name, self.repository.name]
        self.steps = closure([*targets, REGISTRY, STORAGE], every)


def build(say: Callable[[str], None]) -> Bundle:
    """Take from publishers or build what the cache does not hold.

    Raises:
        LabError: a part could not be made; what was finished stays in the cache.
    """
    wanted = upstream.setting()
    cache = cache_dir() / "bundle"
    cache.mkdir(parents=True, exist_ok=True)
    store = ImageStore(cache)
    tag = reference_tag()
    plan = Plan(cache, store, tag)
    known = upstream.sources(table.artifacts(), store, cache)
    taking = upstream.Taking(known, cache, say, wanted)
    plan.replace(taking.cached(plan.built()) or {})
    if not Runner(cache, say).complete(plan.steps) or store.unseeded(plan.served):
        with _alone(cache, say):
            _make(plan, taking, store, say)
    return Bundle(
        repository=plan.repository.output(cache),
        wheels=plan.client.output(cache),
        manifests=plan.releases.output(cache),
        registry_binary=plan.registry.output(cache) / "registry",
        registry_store=store.registry,
        storage_binary=plan.storage.output(cache) / "fake-gcs-server",
        host_image=plan.host.output(cache) / "rootfs.tar",
        host_image_key=plan.host.key,
        reference_tag=tag,
    )


def _make(
    plan: Plan, taking: upstream.Taking, store: ImageStore, say: Callable[[str], None]
) -> None:
    """Run the plan's steps; a part that a publisher refuses half-way is built after all."""
    while True:
        plan.replace(taking.choose(plan.built()))
        try:
            Runner(plan.cache, say, workers=3).run(plan.steps)
        except NotTakenError as error:
            taking.refuse(error)
            continue
        store.seed(plan.registry.output(plan.cache) / "registry", plan.served, say)
        return


def reference_tag() -> str:
    """Return the reference services' version with a digest of their source."""
    services = REPOSITORY / "services"
    files = [services / "Containerfile", services / "requirements.txt"]
    files += sorted((services / "sonic_reference").rglob("*.py"))
    content = digest(*(part for f in files for part in (str(f.relative_to(services)), f)))
    return f"{table.versions()['sonic_reference']}-{content[:8]}"


def program(component: str, name: str) -> Path:
    """Return a program of the bundle for use on this machine, built if it is not in the cache.

    Raises:
        LabError: it could not be built.
    """
    cache = cache_dir() / "bundle"
    made = golang.steps({component: table.artifacts()["binaries"][component]}, cache)
    step = made[f"go:{component}/{name}"]
    Runner(cache, print).run([made[golang.SOURCES], step])
    return step.output(cache) / name


def _driver_step() -> Step:
    sources = sorted(p for p in Path(driver.__file__).parent.rglob("*") if p.is_file())
    sources = [p for p in sources if "__pycache__" not in p.parts]

    def build_driver(out: Path) -> None:
        driver.build_packages(out)

    return Step(name="deb:nvidia-driver-mock", key=digest(*sources), seconds=3, build=build_driver)


@contextmanager
def _alone(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Two labs may be made at once, but only one of them builds."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab's build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
