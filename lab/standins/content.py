# SPDX-License-Identifier: Apache-2.0
"""What the stand-ins serve: apt repositories, an image and files, made from what was built."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab.bundle.steps import run
from lab.bundle.table import HERE
from lab.config import LabError

GPG = ["gpg", "--batch", "--quiet", "--yes", "--homedir"]


def newest(cache: Path, pattern: str) -> Path:
    """Return the newest finished step of this pattern.

    Raises:
        LabError: nothing was built yet.
    """
    steps = sorted((cache / "steps").glob(pattern), key=lambda path: path.stat().st_mtime)
    if not steps:
        raise LabError(f"the cache has no {pattern}: LAB_SOURCES=build make lab comes first")
    return steps[-1]


def make_key(folder: Path) -> str:
    """Return a key that signs the apt repositories; returns its fingerprint."""
    folder.mkdir(mode=0o700)
    run([*GPG, folder, "--passphrase", "", "--quick-generate-key", "Stand-in", "ed25519", "sign"])
    listed = run([*GPG, folder, "--with-colons", "--list-secret-keys"])
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def pin(fingerprint: str, target: Path) -> None:
    """Write upstream.yml with this fingerprint pinned in place of the publishers'."""
    known = yaml.safe_load((HERE / "upstream.yml").read_text(encoding="utf-8"))
    for repository in known["repositories"].values():
        repository["fingerprints"] = [fingerprint]
    target.write_text(yaml.safe_dump(known), encoding="utf-8")


def lay_packages(known: dict[str, Any], built: Path, site: Path, key: Path) -> None:
    """Lay out the apt repositories of upstream.yml (`known`) below `site`, a folder a host.

    `built` is the bundle's own apt repository; `key` the folder of the signing key.
    """
    for name, spec in known["repositories"].items():
        base = _below(site, spec["uri"])
        flat = spec["suite"] == "/"
        release = base if flat else base / "dists" / spec["suite"]
        index = release if flat else release / spec["components"] / "binary-amd64"
        index.mkdir(parents=True, exist_ok=True)
        (base / "pool" / name).mkdir(parents=True, exist_ok=True)
        for package, entry in known["packages"].items():
            if entry["repository"] != name:
                continue
            for deb in (built / "pool").glob(f"{package}_*.deb"):
                _link(deb, base / "pool" / name / deb.name)
                for companion in entry.get("with", []):
                    _empty_package(companion, deb.name.split("_")[1], base / "pool" / name)
        listed = run(["apt-ftparchive", "packages", f"pool/{name}"], cwd=base)
        (index / "Packages").write_text(listed, encoding="utf-8")
        options = ["-o", f"APT::FTPArchive::Release::Codename={spec['suite'].strip('/')}"]
        options += ["-o", f"APT::FTPArchive::Release::Components={spec['components']}"]
        options += ["-o", "APT::FTPArchive::Release::Architectures=amd64"]
        text = run(["apt-ftparchive", *options, "release", "."], cwd=release)
        (release / "Release").write_text(text, encoding="utf-8")
        run([*GPG, key, "--clearsign", "--output", "InRelease", "Release"], cwd=release)
        target = _below(site, spec["key_url"])
        target.parent.mkdir(parents=True, exist_ok=True)
        run([*GPG, key, "--armor", "--output", target, "--export"])


def lay_files(urls: dict[str, str], built: Path, site: Path) -> None:
    """Lay out files of releases; `urls` has their URLs by the names they have in `built`."""
    for name, url in urls.items():
        target = _below(site, url)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(built / name, target)


def add_image(store: Path, image: str, tag: str, program: Path, path: str) -> None:
    """Add an image that holds one program at `path` to a registry's folder."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(program, arcname=path.lstrip("/"))
    packed = gzip.compress(layer.getvalue(), compresslevel=1, mtime=0)
    kind = "application/vnd.oci.image"
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [path]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer.getvalue())]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": _described(config, f"{kind}.config.v1+json"),
            "layers": [_described(packed, f"{kind}.layer.v1.tar+gzip")],
        }
    ).encode()
    root = store / "docker/registry/v2"
    for content in (packed, config, manifest):
        value = _digest(content).removeprefix("sha256:")
        folder = root / "blobs/sha256" / value[:2] / value
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").write_bytes(content)
    link = root / "repositories" / image / "_manifests/tags" / tag / "current"
    link.mkdir(parents=True, exist_ok=True)
    (link / "link").write_text(_digest(manifest), encoding="ascii")


def _described(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _below(site: Path, url: str) -> Path:
    parts = urlsplit(url)
    return site / str(parts.hostname) / parts.path.strip("/")


def _empty_package(name: str, version: str, pool: Path) -> None:
    root = pool / f".{name}"
    (root / "DEBIAN").mkdir(parents=True)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "stand-in <noreply@example.invalid>",
        "Description": "what the publisher keeps apart",
    }
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    (root / "DEBIAN/control").write_text(text, encoding="utf-8")
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, pool])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())
