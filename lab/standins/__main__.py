# SPDX-License-Identifier: Apache-2.0
"""Run a command on a machine whose publishers are stand-ins: python -m lab.standins -- COMMAND.

The stand-ins serve what `LAB_SOURCES=build make lab` left in the cache. The command runs in a mount
namespace of its own, with /etc/hosts, the trusted authorities and the pinned fingerprints of
lab/bundle/upstream.yml replaced; the code that it runs is the same as everywhere.

Let it make a bundle (python -m lab bundle), and make the lab of that bundle outside: podman's
network namespaces are mounts, which end with the command.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from lab.bundle import publishers, table
from lab.bundle.table import HERE
from lab.config import LabError, cache_dir
from lab.standins import authority, content
from lab.standins.server import Content, Publishers

ADDRESS = "127.77.0.1"
SCRIPT = """
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""


def names() -> tuple[dict[str, str], set[str]]:
    """Return the registries (host -> name in images) and all hosts of the publishers."""
    known = table.upstream()
    images = [*table.artifacts()["images"], *(p["image"] for p in known["programs"].values())]
    owners = {image.partition("/")[0] for image in images}
    registries = {publishers.registry_host(owner): owner for owner in owners}
    urls = [r[part] for r in known["repositories"].values() for part in ("uri", "key_url")]
    urls += known["manifests"].values()
    return registries, {*registries, *(str(urlsplit(url).hostname) for url in urls)}


def prepare(folder: Path, cache: Path, missing: frozenset[str]) -> Content:
    """Lay out what is served below `folder`, from a bundle's cache.

    Raises:
        LabError: the cache lacks what was to be built first.
    """
    known = table.upstream()
    known["packages"] = {
        name: spec for name, spec in known["packages"].items() if f"deb:{name}" not in missing
    }
    site, store, key = folder / "site", folder / "store", folder / "gnupg"
    content.pin(content.make_key(key), folder / "upstream.yml")
    content.lay_packages(known, content.newest(cache, "apt-repository-*"), site, key)
    served = {table.artifacts()["manifests"][n]["name"]: u for n, u in known["manifests"].items()}
    if "manifests" not in missing:
        content.lay_files(served, content.newest(cache, "manifests-*"), site)
    program = known["programs"]["fake-gcs-server/fake-gcs-server"]
    built = content.newest(cache, "go-fake-gcs-server_*") / "fake-gcs-server"
    content.add_image(store, program["image"], program["tag"], built, program["path"])
    return Content([store, cache / "registry"], site, names()[0], missing)


def run(folder: Path, served: Content, command: list[str]) -> int:
    """Serve, and run the command in its namespace; returns its exit status."""
    hosts = sorted(names()[1])
    trusted, pair = authority.issue(hosts, folder)
    replaced = {
        folder / "hosts": Path("/etc/hosts"),
        folder / "authorities.pem": Path(publishers.AUTHORITIES),
        folder / "upstream.yml": HERE / "upstream.yml",
    }
    before = Path("/etc/hosts").read_text(encoding="utf-8")
    lines = "".join(f"{ADDRESS} {host}\n" for host in hosts)
    (folder / "hosts").write_text(f"{before}\n{lines}", encoding="utf-8")
    authorities = Path(publishers.AUTHORITIES).read_bytes() + trusted.read_bytes()
    (folder / "authorities.pem").write_bytes(authorities)
    mounts = [str(path) for pair_ in replaced.items() for path in pair_]
    with Publishers(served, (ADDRESS, 443), pair):
        return subprocess.run(
            ["unshare", "--mount", "sh", "-euc", SCRIPT, "sh", *mounts, "--", *command],
            env=dict(os.environ) | {"SSL_CERT_FILE": publishers.AUTHORITIES},
            check=False,
        ).returncode


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="lab.standins", description=__doc__)
    parser.add_argument("--missing", action="append", default=[], help="a part that is a 404")
    parser.add_argument(
        "--from", dest="cache", type=Path, default=cache_dir() / "bundle", help="what is served"
    )
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="standins-") as name:
        folder = Path(name)
        try:
            served = prepare(folder, options.cache, frozenset(options.missing))
            return run(folder, served, options.command)
        except LabError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
