# SPDX-License-Identifier: Apache-2.0
"""The bundle as a whole: which steps there are, and where their results lie."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.bundle import golang, manifests, packages, table, wheels
from lab.bundle.images import ImageStore, debian_step
from lab.bundle.steps import Runner, Step, digest
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


def build(say: Callable[[str], None]) -> Bundle:
    """Build what the cache does not hold.

    Raises:
        LabError: a part could not be built; what was finished stays in the cache.
    """
    cache = cache_dir() / "bundle"
    cache.mkdir(parents=True, exist_ok=True)
    spec = table.artifacts()
    store = ImageStore(cache)
    binaries = golang.steps(spec["binaries"], cache)
    debian = debian_step("debian", ["ca-certificates"])
    host = debian_step("host", HOST_PACKAGES, HOST_HOOKS, seconds=60)
    pythons = store.python_steps(debian)
    services = wheels.services_step(REPOSITORY / "services/requirements.txt")
    client = wheels.client_step(table.versions()["kubernetes_python"])
    kubectl = binaries["go:kubernetes/kubectl"]
    releases = manifests.step(spec["manifests"], binaries[golang.SOURCES], kubectl, cache)
    debs = packages.steps(spec["packages"], binaries, cache)
    debs["deb:nvidia-driver-mock"] = _driver_step()
    repository = packages.repository_step(debs, cache)
    images = store.steps(spec["images"], binaries, debian)
    tag = reference_tag()
    images |= store.service_steps(tag, pythons, services)
    steps: list[Step] = [debian, host, services, client, releases, *pythons.values()]
    steps += [*binaries.values(), *debs.values(), repository, *images.values()]
    registry = binaries["go:registry/registry"].output(cache) / "registry"
    runner = Runner(cache, say, workers=3)
    if not runner.complete(steps) or store.unseeded(images):
        with _alone(cache, say):
            runner.run(steps)
            store.seed(registry, images, say)
    return Bundle(
        repository=repository.output(cache),
        wheels=client.output(cache),
        manifests=releases.output(cache),
        registry_binary=registry,
        registry_store=store.registry,
        storage_binary=binaries["go:fake-gcs-server/fake-gcs-server"].output(cache)
        / "fake-gcs-server",
        host_image=host.output(cache) / "rootfs.tar",
        host_image_key=host.key,
        reference_tag=tag,
    )


def reference_tag() -> str:
    """The reference services' version and a digest of their source, so that a change rolls out."""
    services = REPOSITORY / "services"
    files = [services / "Containerfile", services / "requirements.txt"]
    files += sorted((services / "sonic_reference").rglob("*.py"))
    content = digest(*(part for f in files for part in (str(f.relative_to(services)), f)))
    return f"{table.versions()['sonic_reference']}-{content[:8]}"


def program(component: str, name: str) -> Path:
    """A program of the bundle for use on this machine, built if it is not in the cache.

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
        driver.build_package(out)

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
