# SPDX-License-Identifier: Apache-2.0
"""Build container images with podman in a separate storage, and fill a registry's store."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.bundle import golang
from lab.bundle.steps import Step, digest, read_json, run, write_json
from lab.bundle.table import HERE
from lab.config import REPOSITORY, LabError

DEBIAN_RELEASE = "bookworm"


def debian_step(
    name: str, packages: list[str], hooks: tuple[str, ...] = (), seconds: int = 40
) -> Step:
    """Return a root file system of Debian as rootfs.tar; `hooks` are run with it as $1."""

    def build(out: Path) -> None:
        run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
            + ["--aptopt=Acquire::Languages none"]
            + ["--customize-hook=rm -rf $1/var/cache/apt/*.bin $1/usr/share/doc/*"]
            + [f"--customize-hook={hook}" for hook in hooks]
            + [DEBIAN_RELEASE, out / "rootfs.tar"]
        )

    return Step(name=name, key=digest(*packages, *hooks), seconds=seconds, build=build)


def run_root(cache: Path) -> Path:
    """The folder for podman's state of one boot: podman refuses a path of over 50 characters."""
    folder = cache / "podman-run"
    if len(str(folder)) <= 50:
        return folder
    return Path("/run/baremetal-sonic") / digest(str(cache))[:12]


class ImageStore:
    """The podman storage that images are built in, separate from all others."""

    def __init__(self, cache: Path) -> None:
        """`cache` is the bundle's cache folder."""
        self.cache = cache
        self.podman: list[str | Path] = ["podman", "--root", cache / "podman"]
        self.podman += ["--runroot", run_root(cache), "--runtime", "runc"]

    def base(self, step: Step) -> str:
        """Return the reference of a base image, imported when it is not there yet."""
        reference = f"localhost/{step.name}:{step.key}"
        if not self.exists(reference):
            run([*self.podman, "import", "--quiet", step.output(self.cache) / "rootfs.tar"]
                + [reference])  # fmt: skip
        return reference

    def exists(self, reference: str) -> bool:
        """Return whether the image is in this storage."""
        command = [*self.podman, "image", "exists", reference]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def pull(self, reference: str) -> str:
        """Pull an image of a publisher by its digest; returns the image's id.

        Raises:
            LabError: the registry does not have it, or hands out something else.
        """
        return run([*self.podman, "pull", "--quiet", reference]).split()[-1]

    def copy_out(self, image: str, path: str, target: Path) -> None:
        """Copy a file of an image; no program of it is run.

        Raises:
            LabError: the image has no such file.
        """
        name = run([*self.podman, "create", "--network", "none", image, path]).split()[-1]
        try:
            run([*self.podman, "cp", f"{name}:{path}", target])
        finally:
            run([*self.podman, "rm", "--force", name])

    def note(self, out: Path, reference: str, image: str = "") -> None:
        """Note in a step's folder the reference that an image is served by.

        `image` is the image's id where this storage does not know it by that reference.
        """
        (out / "reference.json").write_text(json.dumps(reference), encoding="utf-8")
        if image:
            (out / "image.json").write_text(json.dumps(image), encoding="utf-8")

    def steps(
        self, images: dict[str, Any], sources: dict[str, Step], debian: Step
    ) -> dict[str, Step]:
        """Return a step for each image of the table; its result is reference.json."""
        made = {}
        for name, spec in images.items():
            needs = {s for s in spec["files"].values() if s in sources}
            inputs = [sources[s].key for s in sorted(needs)]
            inputs += [digest(HERE / s[2:]) for s in spec["files"].values() if s.startswith("c:")]
            if "module_files" in spec:
                needs.add(golang.SOURCES)
                inputs.append(sources[golang.SOURCES].key)
            if spec.get("base") == "debian":
                needs.add(debian.name)
                inputs.append(debian.key)
            made[f"image:{name}"] = Step(
                name=f"image:{name}",
                key=digest(repr(sorted(spec.items())), *inputs, Path(__file__)),
                seconds=20 if spec.get("apt") else 4,
                build=self._builder(name, spec, sources, debian),
                needs=tuple(sorted(needs)),
            )
        return made

    def _builder(
        self, name: str, spec: dict[str, Any], sources: dict[str, Step], debian: Step
    ) -> Callable[[Path], None]:
        def build(out: Path) -> None:
            context = out / "context"
            root = context / "root"
            root.mkdir(parents=True)
            if "module_files" in spec:
                wanted = spec["module_files"]
                module = golang.module_directory(
                    sources[golang.SOURCES].output(self.cache), wanted["module"]
                )
                shutil.copytree(module / wanted["path"], root, dirs_exist_ok=True)
                run(["chmod", "-R", "u+w,a+rX", root])
            for target, source in spec["files"].items():
                destination = root / target.lstrip("/")
                destination.parent.mkdir(parents=True, exist_ok=True)
                if source.startswith("c:"):
                    run(["gcc", "-Os", "-static", "-s", "-Wall", "-Werror"]
                        + ["-o", destination, HERE / source[2:]])  # fmt: skip
                else:
                    output = sources[source].output(self.cache)
                    _link(output / source.rsplit("/", 1)[1], destination)
            lines = [f"FROM {self.base(debian) if spec.get('base') == 'debian' else 'scratch'}"]
            if spec.get("apt"):
                lines.append(_apt_line(spec["apt"]))
            lines.append("COPY root/ /")
            lines += [f"RUN {command}" for command in spec.get("run", [])]
            lines.append("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            if "user" in spec:
                lines.append(f"USER {spec['user']}")
            lines.append(f"ENTRYPOINT {json.dumps(spec['entrypoint'])}")
            containerfile = context / "Containerfile"
            containerfile.write_text("\n".join(lines) + "\n", encoding="utf-8")
            self.build_image(f"{name}:{spec['tag']}", context, containerfile, out)

        return build

    def build_image(
        self, reference: str, context: Path, containerfile: Path, out: Path, *options: str
    ) -> None:
        """Build one image and note its reference in `out`; the context is removed."""
        # chroot: a build needs no control groups; host: apt uses this machine's network.
        run(
            [*self.podman, "build", "--quiet", "--isolation", "chroot", "--network", "host"]
            + ["--layers=false", "--timestamp", "0", "--tag", reference, *options]
            + ["--file", containerfile, context],
            env=dict(os.environ) | {"BUILDAH_FORMAT": "oci"},
        )
        self.note(out, reference)
        shutil.rmtree(context)

    def python_steps(self, debian: Step) -> dict[str, Step]:
        """Bases with Debian's Python, one of them with the speech synthesizer."""
        made = {}
        for name, packages in {
            "base:python": ("python3", "tini"),
            "base:python-espeak": ("python3", "tini", "espeak-ng"),
        }.items():

            def build(out: Path, name: str = name, packages: tuple[str, ...] = packages) -> None:
                context = out / "context"
                context.mkdir()
                containerfile = context / "Containerfile"
                text = f"FROM {self.base(debian)}\n{_apt_line(packages)}\n"
                containerfile.write_text(text, encoding="utf-8")
                tag = f"localhost/{name.removeprefix('base:')}:{digest(debian.key)}"
                self.build_image(tag, context, containerfile, out)

            made[name] = Step(
                name=name,
                key=digest(debian.key, *packages),
                seconds=40,
                build=build,
                needs=(debian.name,),
            )
        return made

    def service_steps(
        self, tag: str, pythons: dict[str, Step], site_packages: Step
    ) -> dict[str, Step]:
        """Return the reference speech stack's images, from services/Containerfile."""
        services = REPOSITORY / "services"
        made = {}
        for service in ("api", "artifact_sync", "license_proxy", "worker"):
            base = pythons["base:python-espeak" if service == "worker" else "base:python"]
            name = f"ghcr.io/baremetal-sonic/{service.replace('_', '-')}"

            def build(
                out: Path, service: str = service, name: str = name, base: Step = base
            ) -> None:
                context = out / "context"
                shutil.copytree(
                    services / "sonic_reference",
                    context / "sonic_reference",
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
                packages = site_packages.output(self.cache) / "site-packages"
                shutil.copytree(packages, context / "site-packages", copy_function=_link)
                self.build_image(
                    f"{name}:{tag}", context, services / "Containerfile", out,
                    "--build-arg", f"BASE={_reference(base, self.cache)}",
                    "--build-arg", f"SERVICE={service}",
                )  # fmt: skip

            made[f"image:{name}"] = Step(
                name=f"image:{name}",
                key=digest(tag, base.key, site_packages.key),
                seconds=15,
                build=build,
                needs=(base.name, site_packages.name),
            )
        return made

    @property
    def registry(self) -> Path:
        """The folder that the site's registry serves."""
        return self.cache / "registry"

    def unseeded(self, steps: dict[str, Step]) -> list[Step]:
        """Finished images that the registry's folder does not hold as they are now."""
        # Without a whole note all is pushed again; the registry takes only what it lacks.
        seeded = read_json(self.registry / "seeded.json")
        return [s for s in steps.values() if seeded.get(_reference(s, self.cache)) != s.key]

    def seed(self, registry: Path, steps: dict[str, Step], say: Callable[[str], None]) -> None:
        """Push what the registry's folder does not hold yet; `registry` is its program."""
        missing = self.unseeded(steps)
        if not missing:
            return
        self.registry.mkdir(parents=True, exist_ok=True)
        seeded = read_json(self.registry / "seeded.json")
        with _Registry(registry, self.registry) as address:
            for number, step in enumerate(missing, start=1):
                reference = _reference(step, self.cache)
                say(f"[{number}/{len(missing)}] seeding the site's registry: {reference}")
                run([*self.podman, "push", "--quiet", "--tls-verify=false"]
                    + [_stored(step, self.cache), f"docker://{address}/{reference}"])  # fmt: skip
                seeded[reference] = step.key
                write_json(self.registry / "seeded.json", seeded)


def _reference(step: Step, cache: Path) -> str:
    text = (step.output(cache) / "reference.json").read_text(encoding="utf-8")
    return str(json.loads(text))


def _stored(step: Step, cache: Path) -> str:
    """Return what the storage knows a step's image by."""
    note = step.output(cache) / "image.json"
    return str(json.loads(note.read_text("utf-8"))) if note.exists() else _reference(step, cache)


def _apt_line(packages: Sequence[str]) -> str:
    return (
        "RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y"
        f" --no-install-recommends {' '.join(packages)} >/dev/null"
        " && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin"
    )


def _link(source: str | Path, destination: str | Path) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


class _Registry:
    """CNCF distribution on a free loopback port while images are pushed."""

    def __init__(self, binary: Path, store: Path) -> None:
        self.binary = binary
        self.store = store

    def __enter__(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = self.store / "seed.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {json.dumps(str(self.store))}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n",
            encoding="utf-8",
        )
        self.process = subprocess.Popen(
            [self.binary, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2):
                    return f"127.0.0.1:{port}"
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.process.kill()
        raise LabError(f"the registry did not start on 127.0.0.1:{port}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
