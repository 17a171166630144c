# SPDX-License-Identifier: Apache-2.0
"""Make Debian packages from the binaries, and a signed apt repository of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.bundle.steps import Step, digest, run
from lab.bundle.table import HERE

SECTION = "admin"
MAINTAINER = "baremetal.sonic authors <noreply@example.invalid>"

POSTINST = """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --now {units}
fi
"""


def steps(packages: dict[str, Any], sources: dict[str, Step], cache: Path) -> dict[str, Step]:
    """Return a step for each package; `sources` are the binaries' steps."""
    made = {}
    for name, spec in packages.items():
        needs = sorted({s for s in spec["files"].values() if s.startswith("go:")})
        inputs = [f"{target}={_key(source, sources)}" for target, source in spec["files"].items()]
        made[f"deb:{name}"] = Step(
            name=f"deb:{name}",
            key=digest(repr(sorted(spec.items())), *inputs, POSTINST, Path(__file__)),
            seconds=4,
            build=_builder(name, spec, sources, cache),
            needs=tuple(needs),
        )
    return made


def repository_step(debs: dict[str, Step], cache: Path) -> Step:
    """Return the apt repository of all the packages, signed with a key made for this cache."""

    def build(out: Path) -> None:
        pool = out / "pool"
        pool.mkdir()
        for step in debs.values():
            for deb in step.output(cache).glob("*.deb"):
                os.link(deb, pool / deb.name)
        index = run(["apt-ftparchive", "packages", "pool"], cwd=out)
        (out / "Packages").write_text(index, encoding="utf-8")
        run(["gzip", "-9n", "-k", "Packages"], cwd=out)
        release = run(
            ["apt-ftparchive", "-o", "APT::FTPArchive::Release::Origin=baremetal.sonic"]
            + ["release", "."],
            cwd=out,
        )
        (out / "Release").write_text(release, encoding="utf-8")
        gpg = _gpg(cache)
        run([*gpg, "--clearsign", "--output", "InRelease", "Release"], cwd=out)
        run([*gpg, "--armor", "--output", "key.asc", "--export"], cwd=out)

    return Step(
        name="apt-repository",
        key=digest(*sorted(step.key + name for name, step in debs.items()), Path(__file__)),
        seconds=8,
        build=build,
        needs=tuple(debs),
    )


def _key(source: str, sources: dict[str, Step]) -> str:
    if source.startswith("go:"):
        return sources[source].key
    return digest(_file(source))


def _file(source: str) -> Path:
    return Path(source.removeprefix("host:")) if source.startswith("host:") else HERE / source


def _builder(
    name: str, spec: dict[str, Any], sources: dict[str, Step], cache: Path
) -> Callable[[Path], None]:
    def build(out: Path) -> None:
        root = out / "root"
        for target, source in spec["files"].items():
            destination = root / target.lstrip("/")
            destination.parent.mkdir(parents=True, exist_ok=True)
            program = source.startswith(("go:", "host:"))
            if source.startswith("go:"):
                step = sources[source]
                shutil.copyfile(step.output(cache) / source.rsplit("/", 1)[1], destination)
            else:
                shutil.copyfile(_file(source), destination)
            destination.chmod(0o755 if program else 0o644)
        control = root / "DEBIAN"
        control.mkdir(mode=0o755)
        fields = {
            "Package": name,
            "Version": spec["version"],
            "Architecture": "amd64",
            "Section": SECTION,
            "Priority": "optional",
            "Maintainer": MAINTAINER,
            "Depends": ", ".join(spec.get("depends", [])),
            "Conflicts": ", ".join(spec.get("conflicts", [])),
            "Replaces": ", ".join(spec.get("conflicts", [])),
            "Description": spec["description"],
        }
        text = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        (control / "control").write_text(text, encoding="utf-8")
        if "units" in spec:
            script = control / "postinst"
            script.write_text(POSTINST.format(units=" ".join(spec["units"])), encoding="utf-8")
            script.chmod(0o755)
        run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, out],
            env=dict(os.environ) | {"SOURCE_DATE_EPOCH": "0"},
        )
        shutil.rmtree(root)

    return build


def _gpg(cache: Path) -> list[str]:
    home = cache / "gnupg"
    command = ["gpg", "--batch", "--quiet", "--yes", "--homedir", str(home)]
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # gpg writes its files before the key: after an interruption they are there without one.
    if not run([*command, "--list-secret-keys"]).strip():
        run(
            [*command, "--passphrase", "", "--quick-generate-key"]
            + ["baremetal.sonic bundle", "ed25519", "sign", "never"]
        )
    return command
